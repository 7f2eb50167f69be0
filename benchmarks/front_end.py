"""Speed of the log-mel front end beside Transformers' feature extractors, in the same run.

python -m benchmarks.front_end                  # about a minute
"""

from pathlib import Path

import torch
from rich.progress import track
from transformers import ParakeetFeatureExtractor, WhisperFeatureExtractor

from modeling_audio_branch import AudioBranchFeatureExtractor

from .common import BATCHES, RATE, SPEED, compare, parse_arguments, report


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
            rows.append(row)
    columns = {
        "input": lambda row: row["input"],
        "peer": lambda row: row["peer"],
        **SPEED,
    }
    report(f"Front end, {arguments.threads} threads", rows, columns, arguments.output)


if __name__ == "__main__":
    main()
