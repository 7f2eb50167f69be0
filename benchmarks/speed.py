"""Speed of the front end and the encoder beside Hugging Face's Parakeet, at the same geometry, in the same run.

    python -m benchmarks.speed                     # 4 layers, about a minute
    python -m benchmarks.speed --layers 17 --repeats 9

Runs of ours and of the peer alternate, after a warm-up. Machines are noisy: read the ratio (the median over pairs of
neighbouring runs) and its quartiles, not the milliseconds. Weights are random; they don't change the speed.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from transformers import ParakeetEncoder, ParakeetEncoderConfig, ParakeetFeatureExtractor

from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel

RATE = 16000


def mixed_lengths(count: int, seed: int = 0) -> list[int]:
    """Lengths in samples as recordings have them: log-normal, 1 to 15 s."""
    seconds = torch.empty(count).log_normal_(1.3, 0.6, generator=torch.Generator().manual_seed(seed))
    return (seconds.clamp(1, 15) * RATE).long().tolist()


def batches() -> dict[str, list[torch.Tensor]]:
    lengths = {
        "1 clip of 3 s": [3 * RATE],
        "8 clips of 3 s": 8 * [3 * RATE],
        "16 clips of 1 to 15 s": mixed_lengths(16),
    }
    generator = torch.Generator().manual_seed(0)
    return {name: [0.1 * torch.randn(n, generator=generator) for n in each] for name, each in lengths.items()}


def compare(ours, peer, repeats: int) -> dict[str, float]:
    """Median seconds of both and of their ratio, with its quartiles, over alternating runs."""
    times = {ours: [], peer: []}
    for repeat in range(-1, repeats):  # -1 warms up
        for run in (ours, peer) if repeat % 2 else (peer, ours):
            start = time.perf_counter()
            run()
            if repeat >= 0:
                times[run].append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(times[ours], times[peer], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = {"ours_s": statistics.median(times[ours]), "peer_s": statistics.median(times[peer])}
    return medians | {"ratio": middle, "ratio_low": low, "ratio_high": high}


def front_end_runs(clips):
    extractor, peer = AudioBranchFeatureExtractor(), ParakeetFeatureExtractor()
    arrays = [clip.numpy() for clip in clips]
    return (
        lambda: extractor(arrays, sampling_rate=RATE, return_tensors="pt"),
        lambda: peer(arrays, sampling_rate=RATE, return_tensors="pt"),
    )


def encoder_runs(clips, layers):
    config = AudioBranchConfig.large(num_layers=layers)
    model = AudioBranchModel(config).eval()
    peer_config = ParakeetEncoderConfig(
        hidden_size=config.d_model,
        num_hidden_layers=layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.ff_expansion_factor * config.d_model,
        num_mel_bins=config.n_mels,
    )
    peer = ParakeetEncoder(peer_config).eval()
    inputs = AudioBranchFeatureExtractor()([clip.numpy() for clip in clips], sampling_rate=RATE, return_tensors="pt")
    return lambda: model.encoder(inputs["input_features"], inputs["attention_mask"].bool()), lambda: peer(**inputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4, help="layers of the encoder (17 is FastConformer-Large)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("outputs/speed.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    results = []
    parts = {"front end": front_end_runs, "encoder": lambda clips: encoder_runs(clips, arguments.layers)}
    with torch.no_grad(), Progress(transient=True) as progress:
        task = progress.add_task("Measuring", total=len(parts) * len(batches()))
        for part, make_runs in parts.items():
            for name, clips in batches().items():
                results.append({"part": part, "input": name} | compare(*make_runs(clips), arguments.repeats))
                progress.advance(task)

    table = Table(title=f"Against Hugging Face's Parakeet, {arguments.layers} layers, {arguments.threads} threads")
    for column in ("part", "input", "ours (ms)", "peer (ms)", "times as fast", "quartiles"):
        table.add_column(column, justify="left" if column in ("part", "input") else "right")
    for row in results:
        milliseconds = [f"{1000 * row[name]:.1f}" for name in ("ours_s", "peer_s")]
        spread = f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
        table.add_row(row["part"], row["input"], *milliseconds, f"{row['ratio']:.2f}", spread)
    Console().print(table)
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    hardware = {"machine": platform.machine(), "processor": platform.processor(), "threads": arguments.threads}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(
        json.dumps({"layers": arguments.layers, **hardware, **versions, "results": results}, indent=2)
    )
    print(f"Written to {arguments.output}")


if __name__ == "__main__":
    main()
