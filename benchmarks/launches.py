"""Kernel launches of a forward pass, and how often the host waits, counted on a pretended GPU (no GPU is needed).

    python -m benchmarks.launches    # about a minute

Launches cost a GPU some microseconds each, whatever they compute; a wait costs all that could run ahead meanwhile. Each
input is given with the lengths of its clips (as `encode` does), and without, where one question to the device is left.
The peer is Transformers' ParakeetEncoder of the same size, from log-mel frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.progress import track

from modeling_audio_branch import AudioBranchConfig, AudioBranchModel

from .inputs import mixed_seconds
from .peers import Parakeet
from .pretended_cuda import Counts, move, pretended_cuda, to_device
from .report import report

INPUTS = {
    "1 clip of 0.5 s": [0.5],
    "1 clip of 3 s": [3.0],
    "8 clips of 3 s": [3.0] * 8,
    "16 clips of 1 to 15 s": mixed_seconds(16),
    "64 clips of 1 to 15 s": mixed_seconds(64),
    "256 clips of 1 to 15 s": mixed_seconds(256),
    "1 clip of 60 s": [60.0],
    "600 s, window 128": [600.0],
}
CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "phrases"


@dataclass
class Row:
    model: str
    input: str
    launches: int
    waits: int
    waits_without_lengths: int
    launches_from_audio: int
    waits_from_audio: int
    peer_launches: int | None


def models() -> dict[str, AudioBranchModel]:
    """The models by name, on the pretended GPU; `large` with a window beside it."""
    made = {
        "large": AudioBranchModel(AudioBranchConfig.large()),
        "large, window 128": AudioBranchModel(AudioBranchConfig.large(attention_window=128)),
        "lightweight": AudioBranchModel(AudioBranchConfig.lightweight()),
        "phrases": AudioBranchModel.from_pretrained(CHECKPOINT),
    }
    return {name: move(model.eval()) for name, model in made.items()}


def counted(run, shape: tuple, lengths: list[int], with_lengths: bool) -> Counts:
    """What a run asks for, given values of this shape (B, L, ...), of which each clip has as many as `lengths` says."""
    mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    values, mask = to_device(torch.zeros(shape)), to_device(mask)
    with pretended_cuda() as counts:
        run(values, mask, lengths) if with_lengths else run(values, mask)
    return counts


def count(model: AudioBranchModel, seconds: list[float]) -> tuple[Counts, Counts, Counts]:
    """Of the encoder alone with and without lengths, and of the model from raw audio with lengths."""
    config = model.config

    def encode(frames, mask, lengths=None):
        model.encoder(frames, mask, lengths=lengths)

    def run(audio, mask, lengths):
        model(audio, mask, lengths=lengths)

    samples = [int(each * config.sample_rate) for each in seconds]
    frames = [each // config.hop_length for each in samples]
    shape = (len(frames), 1 + max(frames), config.n_mels)  # the last frame is never valid
    from_frames = (counted(encode, shape, frames, each) for each in (True, False))
    return *from_frames, counted(run, (len(samples), max(samples)), samples, True)


def count_peer(peer: Parakeet, seconds: list[float]) -> Counts:
    """Of ParakeetEncoder, from log-mel frames."""
    frames = [int(each * peer.frames_per_second) for each in seconds]
    return counted(peer.encoder, (len(frames), 1 + max(frames), peer.bins), frames, with_lengths=False)


def rows() -> Iterator[Row]:
    made, peer = models(), Parakeet(17).eval()
    move(peer)
    for name, model in made.items():
        for text, seconds in INPUTS.items():
            if ("window" in text) != ("window" in name):
                continue
            given, without, from_audio = count(model, seconds)
            peer_launches = count_peer(peer, seconds).launches if name == "large" else None
            yield Row(
                model=name,
                input=text,
                launches=given.launches,
                waits=given.waits,
                waits_without_lengths=without.waits,
                launches_from_audio=from_audio.launches,
                waits_from_audio=from_audio.waits,
                peer_launches=peer_launches,
            )


def main(output: Path = Path("outputs/launches.json")) -> None:
    """Count launches and waits on a pretended GPU."""
    counts = list(track(rows(), "Counting", transient=True, total=len(INPUTS) * 3))
    columns = {
        "model": lambda row: row.model,
        "input": lambda row: row.input,
        "launches": lambda row: str(row.launches),
        "ParakeetEncoder": lambda row: str(row.peer_launches or "-"),
        "waits": lambda row: str(row.waits),
        "without lengths": lambda row: str(row.waits_without_lengths),
        "from audio": lambda row: f"{row.launches_from_audio}, {row.waits_from_audio} waits",
    }
    report("Launches and waits on a pretended GPU", counts, columns, output)


if __name__ == "__main__":
    typer.run(main)
