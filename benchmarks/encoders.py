"""How far a clip's features change when other clips are in the batch, for every encoder in the README's table.

    python -m benchmarks.encoders                  # about ten minutes on two cores, and 6 GB
    python -m benchmarks.encoders --layers 2       # a minute; the gaps are smaller

The encoders have the geometry of the checkpoint that is named and random weights, so nothing is downloaded. The clips
are the recordings in examples/audio. The gap is the largest difference of any number in any segment; the typical size
is the root mean square of these numbers.
"""

import gc
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
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
from modeling_audio_branch.hub.facts import frames_per_second

from .inputs import recordings
from .report import report

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER_SMALL = {"d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072}
ENCODERS = {
    "ours, lightweight()": AudioBranchConfig.lightweight,
    "ours, large() (FastConformer)": AudioBranchConfig.large,
    "parakeet-ctc-0.6b": ParakeetEncoderConfig,
    "w2v-bert-2.0": Wav2Vec2BertConfig,
    "wav2vec2-large-lv60": lambda: Wav2Vec2Config(**LARGE, **LAYER_NORM),
    "hubert-large-ll60k": lambda: HubertConfig(**LARGE, **LAYER_NORM),
    "wavlm-large": lambda: WavLMConfig(**LARGE, **LAYER_NORM),
    "whisper-small": lambda: WhisperConfig(**WHISPER_SMALL, decoder_layers=1, vocab_size=51865),
    "ast-finetuned-audioset": ASTConfig,
    "wav2vec2-base": Wav2Vec2Config,
    "hubert-base-ls960": HubertConfig,
    "wavlm-base": WavLMConfig,
    "wav2vec2-conformer-large": lambda: Wav2Vec2ConformerConfig(**LARGE, **LAYER_NORM),
}


@dataclass
class Row:
    encoder: str
    parameters: int
    frames_per_second: float
    gap: float
    size: float


def build(name: str, layers: int) -> AudioBranchModel:
    """A model with random weights; `layers` of 0 keeps the checkpoint's number."""
    torch.manual_seed(0)
    config = ENCODERS[name]()
    if layers:
        config.num_hidden_layers = layers
    if not isinstance(config, AudioBranchConfig):
        config = AudioBranchConfig(encoder_config=config)
    return AudioBranchModel(config).eval()


def measure(name: str, layers: int) -> Row:
    model, clips = build(name, layers), recordings()
    together = model.encode(clips, batch_size=len(clips), show_progress=False).segment_features
    alone = torch.stack([model.encode(clip).segment_features for clip in clips])
    return Row(
        encoder=name,
        parameters=sum(parameter.numel() for parameter in model.encoder.parameters()),
        frames_per_second=round(frames_per_second(model), 1),
        gap=(together - alone).abs().max().item(),
        size=alone.square().mean().sqrt().item(),
    )


def main(layers: int = 0, threads: int = torch.get_num_threads(), output: Path = Path("outputs/encoders.json")) -> None:
    """Measure how far a clip's features change when other clips are in the batch (--layers 0: all layers)."""
    torch.set_num_threads(threads)
    rows = []
    for name in track(ENCODERS, "Measuring", transient=True):
        rows.append(measure(name, layers))
        gc.collect()
    columns = {
        "encoder": lambda row: row.encoder,
        "parameters": lambda row: f"{row.parameters / 1e6:.1f} M",
        "frames/s": lambda row: str(row.frames_per_second),
        "gap": lambda row: f"{row.gap:.1e}",
        "typical size": lambda row: f"{row.size:.2f}",
    }
    title = "Largest change of a feature between a clip alone and the clip in a batch"
    report(title, rows, columns, output, layers=layers)


if __name__ == "__main__":
    typer.run(main)
