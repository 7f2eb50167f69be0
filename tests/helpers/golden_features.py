"""Golden segment features: what every configuration of the laws gave at one commit, to compare later commits with.

    python tests/helpers/golden_features.py write      # at the first commit of a rearrangement
    python tests/helpers/golden_features.py compare    # at its last: prints the differences, fails unless all are 0

Two commits agree to the bit only on the same machine with the same libraries; `tests/laws/test_golden_features.py`
therefore allows a rounding difference. The random weights come from seeded initialisation, so that it is covered too.
"""

import itertools
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    ASTConfig,
    HubertConfig,
    ParakeetEncoderConfig,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2ConformerConfig,
    WavLMConfig,
    WhisperConfig,
)

from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "fixtures" / "golden_features.safetensors"
LENGTHS = (5000, 12345, 1600)  # samples
TINY = {
    **{"num_layers": 2, "d_model": 16, "num_heads": 2, "num_segments": 4, "feature_dim": 12, "n_mels": 20},
    **{"subsampling_channels": 6, "conv_kernel_size": 5, "ff_expansion_factor": 2},
}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
CONVOLUTIONS = {"conv_dim": [12] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
WHISPER = {
    **{"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "num_mel_bins": 20},
    **{"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "vocab_size": 8, "pad_token_id": 0},
    **{"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "max_source_positions": 100},  # 2 s
}
OTHER_ENCODERS = {
    "wav2vec2": lambda: Wav2Vec2Config(**SIZES, **CONVOLUTIONS, **LAYER_NORM),
    "wav2vec2, group norm": lambda: Wav2Vec2Config(**SIZES, **CONVOLUTIONS),
    "hubert": lambda: HubertConfig(**SIZES, **CONVOLUTIONS, **LAYER_NORM),
    "wavlm": lambda: WavLMConfig(**SIZES, **CONVOLUTIONS, **LAYER_NORM),
    "wav2vec2-bert": lambda: Wav2Vec2BertConfig(**SIZES),
    "wav2vec2-conformer": lambda: Wav2Vec2ConformerConfig(**SIZES, **CONVOLUTIONS),
    "whisper": lambda: WhisperConfig(**WHISPER),
    "parakeet": lambda: ParakeetEncoderConfig(**SIZES, subsampling_conv_channels=8),
    "ast": lambda: ASTConfig(**SIZES, max_length=208, num_mel_bins=36),
}
WINDOWS = [
    {},
    {"attention_window": 3},
    {"attention_window": [2, 0]},
    {"attention_window": [-1, 1]},
    {"attention_window": [7, 2], "attention_chunked": True},
    {"attention_window": [-1, 3], "attention_chunked": True},
    {"attention_window": 2, "global_attention": "shared"},
    {"attention_window": 2, "global_attention": "separate"},
]
CONVOLUTION_CHOICES = [
    {},
    {"causal_subsampling": True},
    {"conv_context": [4, 0]},
    {"conv_context": [0, 4]},
    {"conv_context": [1, 3]},
]


def architectures() -> dict[str, dict]:
    """The configurations of tests/laws, by a name that later commits keep."""
    grid = itertools.product(
        ["attention", "max", "avg", "learnable"],
        ["relative", "rotary", "none"],
        [1, 4, 8],
        [None, 3],
        ["batch", "layer"],
    )
    names = ("pooling_type", "position_embedding", "subsampling_factor", "attention_window", "conv_norm")
    choices = [dict(zip(names, values, strict=True)) for values in grid]
    choices += [a | b | {"subsampling_factor": 4} for a, b in itertools.product(WINDOWS, CONVOLUTION_CHOICES)]
    choices += [
        {"position_embedding": position} | {name: value}
        for position in ("relative", "rotary")
        for name, value in {
            **{"use_bias": False, "scale_input": True, "use_weighted_layer_sum": True, "normalize": "all_features"},
            **{"mag_power": 1.0, "use_temporal_encoding": False},
        }.items()
    ]
    choices += [{"subsampling": "striding", "subsampling_factor": factor} for factor in (2, 4, 8)]
    return {"; ".join(f"{name}={value}" for name, value in choice.items()) or "default": choice for choice in choices}


def tiny_config(choices: dict) -> AudioBranchConfig:
    if choices.get("subsampling_factor", 1) > 1:
        choices = {"subsampling": "dw_striding"} | choices
    return AudioBranchConfig(**(TINY | choices))


def make_model(model_class, config):
    """Seeded weights and BatchNorm statistics, in eval mode."""
    torch.manual_seed(0)
    model = model_class(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.3 * torch.randn(buffer.shape, generator=generator)
            elif name.endswith("running_var"):
                buffer *= 0.5 + torch.rand(buffer.shape, generator=generator)
    return model


def random_batch(lengths=LENGTHS):
    """Clips of coloured noise (B, L) and their mask (B, L)."""
    generator = torch.Generator().manual_seed(0)
    clips = [0.1 * torch.randn(length, generator=generator).cumsum(0).sin() for length in lengths]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True), mask.long()


def compute() -> dict[str, torch.Tensor]:
    """All golden outputs by name. Takes about a minute."""
    torch.set_num_threads(1)
    waveform, mask = random_batch()
    golden = {}
    for name, choices in architectures().items():
        model = make_model(AudioBranchModel, tiny_config(choices))
        with torch.no_grad():
            golden[name] = model(waveform, attention_mask=mask).segment_features
            model.encoder.packs_frames = False
            golden[f"{name}; padded path"] = model(waveform, attention_mask=mask).segment_features
    for conv_norm in ("batch", "layer"):  # dropout, SpecAugment and statistics draw the same numbers in the same order
        choices = {"conv_norm": conv_norm, "subsampling_factor": 4, "apply_spec_augment": True, "dropout": 0.1}
        model = make_model(AudioBranchForAudioClassification, tiny_config(choices | {"num_labels": 3})).train()
        torch.manual_seed(1)
        output = model(waveform, attention_mask=mask, labels=torch.tensor([0, 1, 2]))
        output.loss.backward()
        golden[f"training, {conv_norm} norm: logits"] = output.logits.detach()
        golden[f"training, {conv_norm} norm: gradient"] = model.audio_branch.encoder.subsampling.linear.weight.grad
        with torch.no_grad():
            golden[f"training, {conv_norm} norm: afterwards"] = model.eval()(waveform, attention_mask=mask).logits
    for preset in ("lightweight", "large"):
        model = make_model(AudioBranchModel, getattr(AudioBranchConfig, preset)(num_layers=2)).prepare_for_inference(
            measure=False
        )
        with torch.no_grad():
            golden[f"{preset}, prepared"] = model(waveform, attention_mask=mask).segment_features
    for name, make_config in OTHER_ENCODERS.items():
        config = AudioBranchConfig(encoder_config=make_config(), num_segments=4, feature_dim=12, num_heads=2)
        model = make_model(AudioBranchModel, config)
        extractor = AudioBranchFeatureExtractor.from_model(model)
        clips = [clip[:length].numpy() for clip, length in zip(waveform, LENGTHS, strict=True)]
        with torch.no_grad():
            features = extractor(clips, sampling_rate=16000, return_tensors="pt")
            golden[f"encoder {name}"] = model(**features).segment_features
    nemo = ROOT / "tests" / "fixtures" / "nemo"
    tensors = load_file(nemo / "waveforms.safetensors")
    mask = torch.arange(tensors["waveforms"].shape[1]) < tensors["lengths"][:, None]
    for archive in sorted(nemo.glob("*/model.nemo")):
        torch.manual_seed(0)
        model = AudioBranchModel.from_nemo(archive, num_segments=4, feature_dim=12)
        with torch.no_grad():
            golden[f"nemo {archive.parent.name}"] = model(tensors["waveforms"], attention_mask=mask).segment_features
    model = AudioBranchModel.from_pretrained(ROOT / "checkpoints" / "phrases").eval()
    recordings = sorted(path for path in (ROOT / "examples" / "audio").iterdir() if path.suffix in (".wav", ".flac"))
    golden["checkpoints/phrases"] = model.encode(recordings, show_progress=False).segment_features
    return {name: value.contiguous() for name, value in golden.items()}


def differences() -> dict[str, float]:
    """The largest difference of each output from the golden file, in parts of the output's largest number."""
    golden, now = load_file(GOLDEN), compute()
    if golden.keys() != now.keys():
        raise ValueError(f"The golden file has other outputs: {sorted(golden.keys() ^ now.keys())}.")
    return {name: ((now[name] - golden[name]).abs().max() / golden[name].abs().max()).item() for name in golden}


def main() -> int:
    if sys.argv[1:] == ["write"]:
        save_file(compute(), GOLDEN, metadata={"torch": torch.__version__})
        return 0
    if sys.argv[1:] != ["compare"]:
        print(__doc__)
        return 2
    different = {name: value for name, value in differences().items() if value != 0}
    for name, value in different.items():
        print(f"{value:.1e}  {name}")
    print(f"{len(different)} of {len(load_file(GOLDEN))} outputs differ.")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
