"""The encoders that ours is compared with, and ours with the same weights. All map (frames, mask) to (states, mask).

All have the geometry of FastConformer-Large: width 512, 8 heads, kernel 9. Parakeet and NeMo have 8x subsampling,
torchaudio has none.
"""

import torch
from torch import nn
from transformers import ParakeetEncoder, ParakeetEncoderConfig

from modeling_audio_branch import AudioBranchConfig, AudioBranchModel
from modeling_audio_branch.convert.nemo_weights import encoder_weights as from_nemo
from modeling_audio_branch.convert.parakeet import encoder_weights as from_parakeet

# Dropout is off in both: random masks would differ.
PARAKEET_DROPOUTS = ("layerdrop", "dropout", "activation_dropout", "attention_dropout")


def ours(layers: int, **settings) -> AudioBranchModel:
    """Our model with random weights."""
    return AudioBranchModel(AudioBranchConfig.large(num_layers=layers, dropout=0.0, **settings)).eval()


class Parakeet(nn.Module):
    """Transformers' `ParakeetEncoder`, with sdpa."""

    bins, frames_per_second = 80, 100

    def __init__(self, layers: int):
        super().__init__()
        geometry = {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048}
        dropout = dict.fromkeys(PARAKEET_DROPOUTS, 0.0)
        self.encoder = ParakeetEncoder(ParakeetEncoderConfig(num_hidden_layers=layers, **geometry, **dropout))

    def forward(self, frames, mask):
        output = self.encoder(frames, attention_mask=mask)
        return output.last_hidden_state, output.attention_mask.bool()

    def ours(self, layers, **settings):
        model = ours(layers, **settings)
        model.encoder.load_state_dict(from_parakeet(self.encoder.state_dict()))
        return model


class Nemo(nn.Module):
    """NeMo's `ConformerEncoder`: pip install "nemo_toolkit[asr]", in an environment of its own."""

    bins, frames_per_second = 80, 100

    def __init__(self, layers: int):
        super().__init__()
        from nemo.collections.asr.modules import ConformerEncoder

        geometry = {"feat_in": 80, "n_layers": layers, "d_model": 512, "n_heads": 8, "conv_kernel_size": 9}
        subsampling = {"subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": 256}
        dropout = dict.fromkeys(("dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att"), 0.0)
        self.encoder = ConformerEncoder(**geometry, **subsampling, **dropout)

    def forward(self, frames, mask):
        states, lengths = self.encoder(audio_signal=frames.transpose(1, 2), length=mask.sum(1))
        valid = torch.arange(states.shape[2], device=states.device) < lengths[:, None]
        return states.transpose(1, 2), valid

    def ours(self, layers, **settings):
        model = ours(layers, **settings)
        weights = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        model.encoder.load_state_dict(from_nemo(weights))
        return model


class Torchaudio(nn.Module):
    """torchaudio's `Conformer`: the layers alone, without positions.

    Its convolutions read the padding, so the frames of padded clips differ from ours.
    """

    bins, frames_per_second = 512, 12.5

    def __init__(self, layers: int):
        super().__init__()
        from torchaudio.models import Conformer

        self.encoder = Conformer(512, num_heads=8, ffn_dim=2048, num_layers=layers, depthwise_conv_kernel_size=9)

    def forward(self, frames, mask):
        lengths = mask.sum(1)  # the largest must be the number of frames
        return self.encoder(frames[:, : lengths.max()], lengths)[0], mask[:, : lengths.max()]

    def ours(self, layers, **settings):
        without = {"subsampling": "none", "subsampling_factor": 1, "position_embedding": "none", "scale_input": False}
        model = ours(layers, n_mels=512, **(without | settings))
        with torch.no_grad():  # torchaudio has no input layer: ours becomes the identity
            model.encoder.subsampling.linear.weight.copy_(torch.eye(512))
            model.encoder.subsampling.linear.bias.zero_()
        for layer, theirs in zip(model.encoder.layers, self.encoder.conformer_layers, strict=True):
            copy_torchaudio_layer(theirs, layer)
        return model


def copy_torchaudio_layer(source: nn.Module, target: nn.Module) -> None:
    """Copies the weights of torchaudio's `ConformerLayer` into ours."""
    pairs = {
        target.norm_feed_forward1: source.ffn1.sequential[0],
        target.feed_forward1.linear1: source.ffn1.sequential[1],
        target.feed_forward1.linear2: source.ffn1.sequential[4],
        target.norm_self_attn: source.self_attn_layer_norm,
        target.self_attn.o_proj: source.self_attn.out_proj,
        target.norm_conv: source.conv_module.layer_norm,
        target.conv.pointwise1: source.conv_module.sequential[0],
        target.conv.depthwise: source.conv_module.sequential[2],
        target.conv.norm: source.conv_module.sequential[3],
        target.conv.pointwise2: source.conv_module.sequential[5],
        target.norm_feed_forward2: source.ffn2.sequential[0],
        target.feed_forward2.linear1: source.ffn2.sequential[1],
        target.feed_forward2.linear2: source.ffn2.sequential[4],
        target.norm_out: source.final_layer_norm,
    }
    for ours_module, their_module in pairs.items():
        weights = their_module.state_dict()
        if isinstance(ours_module, nn.Linear):  # theirs may be a convolution over one frame
            weights["weight"] = weights["weight"].flatten(1)
        ours_module.load_state_dict(weights)
    attention = source.self_attn
    target.self_attn.qkv_proj.load_state_dict({"weight": attention.in_proj_weight, "bias": attention.in_proj_bias})


PEERS = {"parakeet": Parakeet, "nemo": Nemo, "torchaudio": Torchaudio}


def pair(peer: str, layers: int, device: str = "cpu", **settings) -> tuple[AudioBranchModel, nn.Module]:
    """Our model and the peer with the same random weights, which keep the power of the signal in the subsampling.

    Raises:
        SystemExit: The peer is unknown or not installed.
    """
    if peer not in PEERS:
        raise SystemExit(f"--peer {peer} is unknown; give one of {', '.join(PEERS)}.")
    torch.manual_seed(0)
    try:
        other = PEERS[peer](layers).eval()
    except ImportError as error:
        raise SystemExit(f"--peer {peer} is not installed ({error}); see benchmarks/peers.py.") from error
    for name, module in other.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and ("subsampling" in name or "pre_encode" in name):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    model = other.ours(layers, **settings)
    return model.to(device), other.to(device)
