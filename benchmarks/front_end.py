"""Speed of the log-mel front end beside Transformers' feature extractors, in the same run.

python -m benchmarks.front_end                  # about a minute

"Least code" are the operations that these numbers take in PyTorch, one by one on a single clip, in place where they can
be, with no check, mask, batch or conversion of the input: what no front end of PyTorch's operations can go below.
"""

import functools
import statistics
from pathlib import Path

import torch
from rich.progress import track
from torch.nn import functional as F
from transformers import ParakeetFeatureExtractor, WhisperFeatureExtractor

from modeling_audio_branch import AudioBranchFeatureExtractor
from modeling_audio_branch.log_mel import STD_GUARD, LogMel

from .common import BATCHES, RATE, SPEED, compare, milliseconds, parse_arguments, report, timed

LOG_MEL = LogMel(RATE, n_mels=80, n_fft=512, hop_length=160, win_length=400)


@torch.inference_mode()
def least_code(clip: torch.Tensor, log_mel: LogMel, window: torch.Tensor) -> torch.Tensor:
    """The log-mel frames (T, 80) of a clip (L,), to rounding; the window has n_fft samples."""
    num_frames = len(clip) // log_mel.hop_length
    emphasised = torch.zeros(len(clip) + log_mel.n_fft)
    first = log_mel.n_fft // 2
    torch.sub(clip[1:], clip[:-1], alpha=log_mel.preemphasis, out=emphasised[first + 1 : first + len(clip)])
    emphasised[first] = clip[0]
    frames = emphasised.unfold(0, log_mel.n_fft, log_mel.hop_length)[:num_frames]
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window))
    squares = spectrum.mul_(spectrum)
    features = ((squares[..., 0] + squares[..., 1]) @ log_mel.mel_filters).add_(log_mel.log_zero_guard_value).log_()
    variance, mean = torch.var_mean(features, 0, keepdim=True)
    return features.sub_(mean).div_(variance.sqrt_().add_(STD_GUARD))


def main():
    arguments = parse_arguments(__doc__, repeats=31, output=Path("outputs/front_end.json"))

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
            if len(clips) == 1:
                least = functools.partial(
                    least_code, torch.from_numpy(clips[0]), LOG_MEL, F.pad(LOG_MEL.window, (56, 56))
                )
                difference = least() - ours(clips, **settings).input_features[0, :-1]
                if difference.abs().max() > 1e-3:
                    raise RuntimeError("The least code computes something else.")
                row["least_s"] = statistics.median(timed(least) for _ in range(3 * repeats))
            rows.append(row)
    columns = {
        "input": lambda row: row["input"],
        "peer": lambda row: row["peer"],
        **SPEED,
        "least code (ms)": lambda row: milliseconds("least_s")(row) if "least_s" in row else "",
    }
    report(f"Front end, {arguments.threads} threads", rows, columns, arguments.output)


if __name__ == "__main__":
    main()
