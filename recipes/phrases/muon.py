"""Muon for weight matrices and AdamW for all other parameters, as one optimizer for transformers' Trainer."""

import torch
from torch import nn

MATRIX_RATE = 4.0  # learning rate of the matrices, divided by that of the other parameters


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) steps along orthogonalized momentum.

    Its steps are as long as AdamW's (Liu et al. 2025, https://arxiv.org/abs/2502.16982).

    Args:
        model: Whose parameters are trained. Matrices are the weights of its linear layers.
        learning_rate: Of AdamW; that of Muon is `MATRIX_RATE` times as high.
        weight_decay: Of the weights; biases and norms have none.
    """

    def __init__(self, model: nn.Module, learning_rate: float, weight_decay: float):
        linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
        trained = [each for each in model.parameters() if each.requires_grad]
        matrices = [each for each in trained if id(each) in linear]
        others = [each for each in trained if id(each) not in linear]
        groups = [
            {"params": [each for each in others if each.ndim > 1], "weight_decay": weight_decay},
            {"params": [each for each in others if each.ndim < 2], "weight_decay": 0.0},
        ]
        self.parts = (
            torch.optim.Muon(
                matrices, lr=MATRIX_RATE * learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(groups, lr=learning_rate),
        )
        super().__init__(trained, {})
        self._take_groups()

    def _take_groups(self):
        """Shows the groups of both parts, so that a schedule which changes their learning rates reaches the parts."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._take_groups()
