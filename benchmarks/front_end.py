"""Speed of the log-mel front end compared with Transformers' feature extractors, in the same run.

python -m benchmarks.front_end                  # about a minute

"Minimal code" is the time of the operations that these numbers take in PyTorch: one by one on a single clip, in place
where possible, with no check, mask, batch or conversion of the input. No front end that uses them is faster.
"""

import functools
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.progress import track
from torch.nn import functional as F
from transformers import ParakeetFeatureExtractor, WhisperFeatureExtractor

from modeling_audio_branch import AudioBranchFeatureExtractor
from modeling_audio_branch.configuration_audio_branch import LogMelSettings
from modeling_audio_branch.log_mel import STD_GUARD, LogMel

from .inputs import BATCHES, SAMPLE_RATE
from .measuring import Speed, compare, timed
from .report import SPEED_COLUMNS, report

INPUTS = BATCHES | {"1 file of 10 min": [600.0]}
LOG_MEL = LogMel(SAMPLE_RATE, n_mels=80, settings=LogMelSettings())
CALL = {"sampling_rate": SAMPLE_RATE, "return_tensors": "pt"}
WHISPER_SECONDS = 30  # Whisper's extractor cuts longer clips
MAX_DIFFERENCE = 1e-3


@dataclass
class Row:
    input: str
    peer: str
    speed: Speed
    minimal_s: float | None


@torch.inference_mode()
def minimal_log_mel(clip: torch.Tensor, log_mel: LogMel, window: torch.Tensor) -> torch.Tensor:
    """The log-mel frames (T, 80) of a clip (L,), equal up to rounding; the window has n_fft samples."""
    settings = log_mel.settings
    num_frames = len(clip) // settings.hop_length
    emphasised = torch.zeros(len(clip) + settings.n_fft)
    first = settings.n_fft // 2
    torch.sub(clip[1:], clip[:-1], alpha=settings.preemphasis, out=emphasised[first + 1 : first + len(clip)])
    emphasised[first] = clip[0]
    frames = emphasised.unfold(0, settings.n_fft, settings.hop_length)[:num_frames]
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window))
    squares = spectrum.mul_(spectrum)
    features = ((squares[..., 0] + squares[..., 1]) @ log_mel.mel_filters).add_(settings.log_zero_guard_value).log_()
    variance, mean = torch.var_mean(features, 0, keepdim=True)
    return features.sub_(mean).div_(variance.sqrt_().add_(STD_GUARD))


def time_minimal_code(clip: torch.Tensor, expected: torch.Tensor, repeats: int) -> float:
    """Median seconds of the minimal code on a clip (L,); raises a RuntimeError unless it gives `expected` (T, 80)."""
    padding = (LOG_MEL.settings.n_fft - LOG_MEL.settings.win_length) // 2
    run = functools.partial(minimal_log_mel, clip, LOG_MEL, F.pad(LOG_MEL.window, (padding, padding)))
    difference = (run() - expected).abs().max().item()
    if difference > MAX_DIFFERENCE:
        raise RuntimeError(f"The minimal code differs by {difference:.1e}, more than {MAX_DIFFERENCE}; correct it.")
    return statistics.median(timed(run) for _ in range(repeats))


def measure(name: str, repeats: int, generator: torch.Generator) -> list[Row]:
    """One row per peer on random clips of these lengths."""
    clips = [(0.1 * torch.randn(int(each * SAMPLE_RATE), generator=generator)).numpy() for each in INPUTS[name]]
    longest = max(INPUTS[name])
    if longest >= WHISPER_SECONDS:
        repeats = max(3, repeats // 3)
    ours = functools.partial(AudioBranchFeatureExtractor(), clips, **CALL)
    minimal_s = None
    if len(clips) == 1:
        minimal_s = time_minimal_code(torch.from_numpy(clips[0]), ours().input_features[0, :-1], 3 * repeats)
    peers = {"Parakeet": ParakeetFeatureExtractor()}
    if longest <= WHISPER_SECONDS:
        peers["Whisper"] = WhisperFeatureExtractor()
    return [
        Row(name, peer_name, compare(ours, functools.partial(peer, clips, **CALL), repeats), minimal_s)
        for peer_name, peer in peers.items()
    ]


def main(
    repeats: int = 31,
    threads: int = torch.get_num_threads(),
    output: Path = Path("outputs/front_end.json"),
) -> None:
    """Measure the speed of the log-mel front end compared with Transformers' feature extractors."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for name in track(INPUTS, "Measuring", transient=True):
        rows += measure(name, repeats, generator)
    columns = {
        "input": lambda row: row.input,
        "peer": lambda row: row.peer,
        **SPEED_COLUMNS,
        "minimal code (ms)": lambda row: "" if row.minimal_s is None else f"{1000 * row.minimal_s:.1f}",
    }
    report(f"Front end, {threads} threads", rows, columns, output)


if __name__ == "__main__":
    typer.run(main)
