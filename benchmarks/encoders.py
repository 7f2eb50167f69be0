"""How far a clip's features move when other clips are in the batch, for every encoder in the README's table.

    python -m benchmarks.encoders                  # about ten minutes on two cores, and 6 GB
    python -m benchmarks.encoders --layers 2       # a minute; the gaps are smaller

Encoders have the geometry of the checkpoint that is named, and random weights, which nobody has to download. The clips
are the recordings of examples/audio; the gap is the largest difference of any number in any segment, of which the
typical size is given beside it.
"""

import gc
from pathlib import Path

import torch
from rich.progress import track
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

from modeling_audio_branch import AudioBranchConfig, AudioBranchModel

from .common import AUDIO, parse_arguments, report

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER_SMALL = {"d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072}
ENCODERS = {
    "ours, lightweight()": lambda: None,
    "ours, large() (FastConformer)": lambda: None,
    "parakeet-ctc-0.6b": lambda: ParakeetEncoderConfig(),
    "w2v-bert-2.0": lambda: Wav2Vec2BertConfig(),
    "wav2vec2-large-lv60": lambda: Wav2Vec2Config(**LARGE, **LAYER_NORM),
    "hubert-large-ll60k": lambda: HubertConfig(**LARGE, **LAYER_NORM),
    "wavlm-large": lambda: WavLMConfig(**LARGE, **LAYER_NORM),
    "whisper-small": lambda: WhisperConfig(**WHISPER_SMALL, decoder_layers=1, vocab_size=51865),
    "ast-finetuned-audioset": lambda: ASTConfig(),
    "wav2vec2-base": lambda: Wav2Vec2Config(),
    "hubert-base-ls960": lambda: HubertConfig(),
    "wavlm-base": lambda: WavLMConfig(),
    "wav2vec2-conformer-large": lambda: Wav2Vec2ConformerConfig(**LARGE, **LAYER_NORM),
}


def build(name: str, layers: int | None) -> AudioBranchModel:
    torch.manual_seed(0)
    if name.startswith("ours"):
        preset = AudioBranchConfig.large if "large" in name else AudioBranchConfig.lightweight
        return AudioBranchModel(preset(**({"num_layers": layers} if layers else {}))).eval()
    config = ENCODERS[name]()
    if layers:
        config.num_hidden_layers = layers
    return AudioBranchModel(AudioBranchConfig(encoder_config=config)).eval()


def measure(name: str, layers: int | None) -> dict:
    model = build(name, layers)
    clips = sorted(path for path in AUDIO.iterdir() if path.suffix in (".wav", ".flac"))
    together = model.encode(clips, batch_size=len(clips), show_progress=False).segment_features
    alone = torch.stack([model.encode(clip).segment_features for clip in clips])
    seconds = 1.6  # whole frames of every encoder
    noise = torch.randn(1, int(2 * seconds * model.config.sample_rate), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        once, twice = (int(model(part).attention_mask.sum()) for part in (noise.chunk(2, dim=1)[0], noise))
    return {
        "encoder": name,
        "parameters": sum(parameter.numel() for parameter in model.encoder.parameters()),
        "frames_per_second": round((twice - once) / seconds, 1),
        "gap": (together - alone).abs().max().item(),
        "size": alone.square().mean().sqrt().item(),
    }


def main():
    arguments = parse_arguments(__doc__, layers=0, output=Path("outputs/encoders.json"))
    results = []
    for name in track(ENCODERS, "Measuring", transient=True):
        results.append(measure(name, arguments.layers))
        gc.collect()
    columns = {
        "encoder": lambda row: row["encoder"],
        "parameters": lambda row: f"{row['parameters'] / 1e6:.1f} M",
        "frames/s": lambda row: str(row["frames_per_second"]),
        "gap": lambda row: f"{row['gap']:.1e}",
        "typical size": lambda row: f"{row['size']:.2f}",
    }
    title = "Largest change of a feature between a clip alone and the clip in a batch"
    report(title, results, columns, arguments.output, layers=arguments.layers)


if __name__ == "__main__":
    main()
