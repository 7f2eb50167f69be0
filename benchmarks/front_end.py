"""Speed of the log-mel front end beside Transformers' feature extractors, in the same run.

python -m benchmarks.front_end                  # about a minute

"Arithmetic alone" is the time of the FFT, the power, the mel filters and the logarithm of all valid frames, without
what cuts the frames, checks the input and normalises the output.
"""

import statistics
from pathlib import Path

import torch
from rich.progress import track
from transformers import ParakeetFeatureExtractor, WhisperFeatureExtractor

from modeling_audio_branch import AudioBranchFeatureExtractor
from modeling_audio_branch.log_mel import LogMel

from .common import BATCHES, RATE, SPEED, compare, milliseconds, parse_arguments, report, timed

LOG_MEL = LogMel(RATE, n_mels=80, n_fft=512, hop_length=160, win_length=400)


def arithmetic(clips) -> float:
    """Seconds of the operations that no front end with these numbers can leave out."""
    log_mel, frames = LOG_MEL, torch.cat([torch.from_numpy(clip).unfold(0, 512, 160) for clip in clips])
    window = torch.hann_window(512)
    chunks = frames.split(1024)  # which fit in a cache

    def run():
        for chunk in chunks:
            spectrum = torch.view_as_real(torch.fft.rfft(chunk * window))
            squares = spectrum * spectrum
            ((squares[..., 0] + squares[..., 1]) @ log_mel.mel_filters + log_mel.log_guard).log()

    return timed(run)


def main():
    arguments = parse_arguments(__doc__, repeats=15, output=Path("outputs/front_end.json"))

    ours, rows = AudioBranchFeatureExtractor(), []
    peers = {"Parakeet": ParakeetFeatureExtractor(), "Whisper": WhisperFeatureExtractor()}
    generator = torch.Generator().manual_seed(0)
    for name, seconds in track((BATCHES | {"1 file of 10 min": [600.0]}).items(), "Measuring", transient=True):
        clips = [(0.1 * torch.randn(int(each * RATE), generator=generator)).numpy() for each in seconds]
        settings = {"sampling_rate": RATE, "return_tensors": "pt"}
        for peer_name, peer in peers.items():
            if peer_name == "Whisper" and max(seconds) > 30:
                continue  # it would cut the file at 30 s
            row = {"input": name, "peer": peer_name}
            repeats = arguments.repeats if max(seconds) < 30 else max(3, arguments.repeats // 3)
            row |= compare(lambda: ours(clips, **settings), lambda: peer(clips, **settings), repeats)  # noqa: B023
            row["arithmetic_s"] = statistics.median(arithmetic(clips) for _ in range(3 * repeats))
            rows.append(row)
    columns = {
        "input": lambda row: row["input"],
        "peer": lambda row: row["peer"],
        **SPEED,
        "arithmetic alone (ms)": milliseconds("arithmetic_s"),
    }
    report(f"Front end, {arguments.threads} threads", rows, columns, arguments.output)


if __name__ == "__main__":
    main()
