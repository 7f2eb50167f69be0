"""Golden segment features: what every configuration of the laws gave at one commit, to compare later commits with.

    cd tests && python -m helpers.golden_features write  # at the first commit of a rearrangement
    cd tests && python -m helpers.golden_features compare    # at its last: fails unless all differences are 0

Two commits give equal bits only on the same machine with the same libraries; `tests/laws/test_golden_features.py`
therefore allows a rounding difference. The random weights come from seeded initialisation, so that it is covered too.
"""

import itertools
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from helpers.encoders import ENCODERS, SMALL
from helpers.models import make_model, pad, random_clips, tiny_config
from helpers.strategies import CONVOLUTION_CHOICES, POOLINGS, WINDOWS
from modeling_audio_branch import (
    AudioBranchConfig,
    AudioBranchFeatureExtractor,
    AudioBranchForAudioClassification,
    AudioBranchModel,
)

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "fixtures" / "golden_features.safetensors"
LENGTHS = (5000, 12345, 1600)  # samples
OTHER_ENCODERS = (
    *("wav2vec2", "wav2vec2, group norm", "hubert", "wavlm", "wav2vec2-bert"),
    *("wav2vec2-conformer", "whisper", "parakeet", "ast"),
)


def architectures() -> dict[str, dict]:
    """The configurations of tests/laws, by a name that later commits keep."""
    grid = itertools.product(
        POOLINGS,
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


def compute() -> dict[str, torch.Tensor]:
    """All golden outputs by name. Takes about a minute."""
    torch.set_num_threads(1)
    clips = random_clips(LENGTHS)
    waveform, mask = pad(clips)
    golden = {}
    for name, choices in architectures().items():
        model = make_model(AudioBranchModel, tiny_config(**choices))
        with torch.no_grad():
            golden[name] = model(waveform, attention_mask=mask).segment_features
            model.encoder.packs_frames = False
            golden[f"{name}; padded path"] = model(waveform, attention_mask=mask).segment_features
    for conv_norm in ("batch", "layer"):  # dropout, SpecAugment and statistics draw the same numbers in the same order
        choices = {"conv_norm": conv_norm, "subsampling_factor": 4, "apply_spec_augment": True, "dropout": 0.1}
        model = make_model(AudioBranchForAudioClassification, tiny_config(**choices, num_labels=3)).train()
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
    for name in OTHER_ENCODERS:
        config = AudioBranchConfig(encoder_config=ENCODERS[name](), **SMALL)
        model = make_model(AudioBranchModel, config)
        extractor = AudioBranchFeatureExtractor.from_model(model)
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
