"""What is measured of a model before the upload: its golden output, and the facts that its card states."""

import platform
from dataclasses import dataclass

import torch
import transformers

from modeling_audio_branch import AudioBranchConfig, __version__

# Of the golden output's largest number, on another machine.
FLOAT32_TOLERANCE, HALF_TOLERANCE = 1e-4, 5e-2


@dataclass
class ModelFacts:
    config: AudioBranchConfig
    repo_id: str
    is_classifier: bool
    encoder: str  # model type of the encoder, in words
    max_seconds: float | None  # of the longest clip that is taken; None: any
    frames_per_second: float
    parameters: int
    dtype: str  # in which the model computes
    stored_dtype: str  # of most numbers in its files
    padding_gap: float  # largest difference between a clip's features alone and in a padded batch
    tolerance: float
    versions: dict[str, str]

    @property
    def name(self) -> str:
        return self.repo_id.split("/")[-1]


def golden_output(model) -> dict[str, torch.Tensor]:
    """The model's outputs for one batch of two clips, a rising tone with noise of 1 s and of 0.6 s.

    Returns:
        `clips` (2, sample_rate), their `mask`, `segment_features` (2, S, D), and of a classifier also `logits`.
    """
    rate = model.config.sample_rate
    generator = torch.Generator().manual_seed(0)
    seconds = torch.arange(rate) / rate
    tone = 0.2 * torch.sin(2 * torch.pi * (200 + 1500 * seconds) * seconds)
    clips = tone + 0.02 * torch.randn(2, rate, generator=generator)
    mask = torch.ones(2, rate, dtype=torch.int8)
    mask[1, int(0.6 * rate) :] = 0
    clips = clips * mask
    with torch.no_grad():
        out = model.base_model(clips, attention_mask=mask)
        golden = {"clips": clips, "mask": mask, "segment_features": out.segment_features.float()}
        if model.base_model is not model:
            golden["logits"] = model(clips, attention_mask=mask).logits.float()
    return {name: value.contiguous() for name, value in golden.items()}


def measure(
    model, repo_id: str, golden: dict[str, torch.Tensor], stored_dtype: torch.dtype | None = None
) -> ModelFacts:
    """Measures what the card states about a model. By default its weights are stored as they are in memory."""
    is_half = model.dtype in (torch.float16, torch.bfloat16)
    most = model.base_model.front_end.max_samples
    return ModelFacts(
        config=model.config,
        repo_id=repo_id,
        is_classifier=model.base_model is not model,
        encoder=_encoder_name(model.config),
        max_seconds=None if most is None else most / model.config.sample_rate,
        frames_per_second=frames_per_second(model),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        stored_dtype=str(stored_dtype or model.dtype).removeprefix("torch."),
        padding_gap=_padding_gap(model, golden),
        tolerance=HALF_TOLERANCE if is_half else FLOAT32_TOLERANCE,
        versions={
            "audio-branch": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "Python": platform.python_version(),
        },
    )


def _encoder_name(config: AudioBranchConfig) -> str:
    encoder = config.encoder_config
    if not encoder:
        return f"{config.num_layers}-layer Conformer"
    return (encoder if isinstance(encoder, dict) else encoder.to_dict())["model_type"]


@torch.no_grad()
def frames_per_second(model) -> float:
    """The difference in frames between 6.4 s and 3.2 s of noise, which are whole frames of every encoder.

    It is less noise for an encoder that takes no clips of 6.4 s.
    """
    rate, most = model.config.sample_rate, model.base_model.front_end.max_samples
    samples = int(6.4 * rate) if most is None else min(int(6.4 * rate), most)
    seconds = samples / 2 / rate
    noise = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    noise = noise.to(model.device)
    once, twice = (int(model.base_model(part).attention_mask.sum()) for part in (noise.chunk(2, 1)[0], noise))
    return (twice - once) / seconds


def _padding_gap(model, golden: dict[str, torch.Tensor]) -> float:
    """The largest difference between the golden output's second clip alone and in its padded batch."""
    length = int(golden["mask"][1].sum())
    with torch.no_grad():
        alone = model.base_model(golden["clips"][1:, :length]).segment_features.float()
    return (alone - golden["segment_features"][1:]).abs().max().item()
