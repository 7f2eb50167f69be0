"""Loads a repository where Audio Branch is not importable, and compares it with its golden output.

clean_room.py runs this source text in a fresh process. It takes a request as JSON on its standard input: the
`repository` (an id or a folder), its `revision`, the path of the `golden` file, a `snippet` of Python to run, and
`is_classifier`. It prints JSON as its last line: the `difference` of the outputs, and the lines that the snippet
`printed`.
"""

import contextlib
import io
import json
import os
import sys

BLOCKED_MODULES = ("modeling_audio_branch", "configuration_audio_branch", "feature_extraction", "hub_upload")


def largest_difference(request: dict) -> float:
    """The largest difference from the golden output, divided by its largest number, over all ways to load the model."""
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
        pairs = [(out.segment_features, golden["segment_features"]) for out in outputs]
        if request["is_classifier"]:
            classifier = AutoModelForAudioClassification.from_pretrained(source, **trust).eval()
            pairs.append((classifier(waveform, attention_mask=mask).logits, golden["logits"]))
    embed = pipeline("audio-segment-embedding", model=source, device="cpu", **trust)
    embedded = embed(clips[0], sampling_rate=config.sample_rate)["segment_features"]
    pairs.append((torch.from_numpy(embedded), golden["segment_features"][0]))
    if os.path.isfile(os.path.join(source, "handler.py")):  # of a folder; a repository on the Hub holds the same
        answered = endpoint_features(source, clips[0], config.sample_rate)
        pairs.append((torch.tensor(answered), golden["segment_features"][0]))
    return max(((got.float() - expected).abs().max() / expected.abs().max()).item() for got, expected in pairs)


def endpoint_features(folder: str, samples, rate: int) -> list:
    """What handler.py answers for samples (L,), sent as a float wav file, in the way of an Inference Endpoint."""
    import importlib.util

    import soundfile

    spec = importlib.util.spec_from_file_location("handler", os.path.join(folder, "handler.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    answer = module.EndpointHandler(folder)({"inputs": file.getvalue()})
    json.dumps(answer)  # as the endpoint does
    return answer["segment_features"]


def main():
    for name in BLOCKED_MODULES:
        sys.modules[name] = None  # importing it raises, even where it is installed
    request = json.load(sys.stdin)
    printed = io.StringIO()
    difference = largest_difference(request)
    with contextlib.redirect_stdout(printed):
        exec(compile(request["snippet"], "the card's snippet", "exec"), {})
    print(json.dumps({"difference": difference, "printed": printed.getvalue().splitlines()}))


if __name__ == "__main__":
    main()
