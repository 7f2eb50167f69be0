"""Loads a repository as a stranger would, and compares it with its golden output.

Run by hub_upload.py in a fresh process, where it makes Audio Branch unimportable. Takes a request as JSON on its
standard input: the `repository` (an id or a folder), its `revision`, the path of the `golden` file, a `snippet` of
Python to run, and `is_classifier`. Prints, as the last line, what the snippet printed and how far the outputs are off,
as JSON.
"""

import contextlib
import io
import json
import sys

PACKAGE = ("modeling_audio_branch", "configuration_audio_branch", "feature_extraction", "hub_upload")


def compare(request: dict) -> float:
    """The largest difference from the golden output, as a part of its largest number; over all ways to load it."""
    import torch
    from safetensors.torch import load_file
    from transformers import (
        AutoConfig,
        AutoFeatureExtractor,
        AutoModel,
        AutoModelForAudioClassification,
        pipeline,
    )

    source, revision = request["repository"], request["revision"]
    trust = {"trust_remote_code": True} | ({"revision": revision} if revision else {})
    golden = load_file(request["golden"])
    config = AutoConfig.from_pretrained(source, **trust)
    extractor = AutoFeatureExtractor.from_pretrained(source, **trust)
    model = AutoModel.from_pretrained(source, **trust).eval()
    waveform, mask = golden["clips"], golden["mask"]
    clips = [clip[: int(length)].numpy() for clip, length in zip(waveform, mask.sum(1), strict=True)]
    features = extractor(clips, sampling_rate=config.sample_rate, return_tensors="pt")
    with torch.no_grad():
        outputs = [model(waveform, attention_mask=mask), model(**features)]
        got = [(out.segment_features, golden["segment_features"]) for out in outputs]
        if request["is_classifier"]:
            classifier = AutoModelForAudioClassification.from_pretrained(source, **trust).eval()
            got.append((classifier(waveform, attention_mask=mask).logits, golden["logits"]))
    embed = pipeline("audio-segment-embedding", model=source, device="cpu", **trust)
    made = embed(clips[0], sampling_rate=config.sample_rate)["segment_features"]
    got.append((torch.from_numpy(made), golden["segment_features"][0]))
    return max(((value.float() - right).abs().max() / right.abs().max()).item() for value, right in got)


def main():
    for name in PACKAGE:
        sys.modules[name] = None  # importing it fails, even where it is installed
    request = json.load(sys.stdin)
    printed = io.StringIO()
    difference = compare(request)
    with contextlib.redirect_stdout(printed):
        exec(compile(request["snippet"], "the card's snippet", "exec"), {})
    print(json.dumps({"difference": difference, "printed": printed.getvalue().splitlines()}))


if __name__ == "__main__":
    main()
