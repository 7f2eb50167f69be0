"""Speed of the encoder beside another with the same weights, in the same run, on real speech.

    python -m benchmarks.encoder                    # 17 layers, ParakeetEncoder (sdpa): about ten minutes on two cores
    python -m benchmarks.encoder --peer torchaudio  # or nemo, where it is installed
    python -m benchmarks.encoder --device cuda      # kernels are counted by torch's profiler, too
    python -m benchmarks.encoder --layers 4 --repeats 5

Each input is run by the model as it is, after `prepare_for_inference()`, and in int8 (torch's dynamic quantisation of
all linear layers). Runs alternate; read the ratio (the median over pairs of neighbouring runs) and its quartiles. The
difference is the largest between the outputs; for int8, the cosine between their frames: the mean (and the least).
"Of GEMM rate" are the operations that the input needs, without padding, per second, ours and the peer's, over those of
a large matrix product on this machine: what is left to win is what is left to 1.
"""

import copy
import functools
import warnings
from pathlib import Path

import torch
from rich.progress import track

from .common import BATCHES, SPEED, compare, features, gemm_rate, kernels, parse_arguments, report, useful_flop
from .peers import pair

LONGER = {"1 clip of 60 s": [60.0], "1 clip of 60 s, window 128": [60.0]}


def quantized(model):
    """A copy with all linear layers in int8, activations scaled as they come."""
    from torch.ao.nn.quantized.dynamic import Linear as DynamicLinear
    from torch.ao.quantization import default_dynamic_qconfig

    from modeling_audio_branch.layers import Linear

    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, Linear):
                plain = torch.nn.Linear(child.in_features, child.out_features, child.bias is not None)
                plain.load_state_dict(child.state_dict())
                plain.qconfig = default_dynamic_qconfig
                setattr(module, name, DynamicLinear.from_float(plain))
    return model


def main():
    options = {"peer": "parakeet", "layers": 17, "repeats": 7, "device": "cpu"}
    arguments = parse_arguments(__doc__, **options, output=Path("outputs/encoder.json"))
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    rows, on_cpu = [], arguments.device == "cpu"
    with torch.no_grad():
        for name, seconds in track((BATCHES | LONGER).items(), "Measuring", transient=True):
            window = 128 if "window" in name else None
            model, peer = pair(arguments.peer, arguments.layers, arguments.device, attention_window=window)
            frames, mask = features(seconds, arguments.device, peer.bins, peer.frames_per_second)
            expected, valid = peer(frames, mask)
            for variant in ["as it is", "prepared", "int8"] if on_cpu else ["as it is", "compiled"]:
                if variant == "prepared":
                    model.prepare_for_inference()
                encoder = quantized(model).encoder if variant == "int8" else model.encoder
                if variant == "compiled":
                    encoder = torch.compile(encoder, mode="reduce-overhead")  # with CUDA graphs
                run, run_peer = (functools.partial(each, frames, mask) for each in (encoder, peer))
                row = {"input": name, "variant": variant} | compare(run, run_peer, arguments.repeats)
                states, other = run()[0][:, : valid.shape[1]][valid], expected[valid]
                row["difference"] = (states - other).abs().max().item()
                cosine = torch.cosine_similarity(states, other, dim=-1)
                row |= {"cosine": cosine.mean().item(), "cosine_least": cosine.min().item()}
                needed = useful_flop(model.config, seconds, peer.frames_per_second) / gemm_rate(arguments.device)
                row |= {f"{who}_of_gemm_rate": needed / row[f"{who}_s"] for who in ("ours", "peer")}
                if not on_cpu:
                    for who, each in {"ours": run, "peer": run_peer}.items():
                        row[f"{who}_kernels"], row[f"{who}_kernels_s"] = kernels(each)
                rows.append(row)
    columns = {
        "input": lambda row: row["input"],
        "variant": lambda row: row["variant"],
        **SPEED,
        "difference, cosine": difference,
        "of GEMM rate": lambda row: f"{row['ours_of_gemm_rate']:.2f}, {row['peer_of_gemm_rate']:.2f}",
    }
    if not on_cpu:
        columns["kernels, ours"] = lambda row: f"{row['ours_kernels']} ({1000 * row['ours_kernels_s']:.1f} ms)"
        columns["kernels, peer"] = lambda row: f"{row['peer_kernels']} ({1000 * row['peer_kernels_s']:.1f} ms)"
    title = f"Encoder, {arguments.layers} layers, beside {arguments.peer}, {arguments.threads} threads"
    report(title, rows, columns, arguments.output, layers=arguments.layers)


def difference(row) -> str:
    if "window" in row["input"]:
        return "the peer sees all frames"
    return (
        f"{row['cosine']:.4f} ({row['cosine_least']:.4f})" if row["variant"] == "int8" else f"{row['difference']:.0e}"
    )


if __name__ == "__main__":
    main()
