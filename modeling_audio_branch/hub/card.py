"""The README of a published model, written from what was run. Not shipped with checkpoints; see hub_upload.py.

`results.json` (what `--metrics` takes) is one object:

    {
      "dataset": {"name": "RAVDESS speech", "license": "cc-by-nc-sa-4.0", "language": ["en"], "id": "user/name"},
      "protocol": "6 speaker-disjoint folds (EmoBox), one actor pair of training as validation",
      "folds": 6,
      "interval": "95 % bootstrap, clustered by speaker",
      "hardware": "2 CPU cores",
      "metrics": {"unweighted_accuracy": {"value": 0.71, "low": 0.66, "high": 0.75}},
      "training_data": {"name": "RAVDESS speech", "license": "cc-by-nc-sa-4.0", "id": "user/name"},
      "base_model": "nvidia/parakeet-ctc-0.6b", "date": "2026-11-23", "versions": {"torch": "2.14.1"}, "seeds": [0]
    }

`id` (of a dataset on the Hub), `language` and all in the last two lines may be left out.
"""

import datetime
import json
import math
import re
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

REQUIRED = ("dataset", "protocol", "folds", "interval", "hardware", "metrics")
TAGS = ["audio", "speech", "audio-embeddings", "conformer", "custom_code"]

CARD = """---
{metadata}
---

# {name}

{what} Raw audio to a few segment embeddings, by Audio Branch. {exactness}

    raw audio (batch, samples) at {rate} Hz → {encoder} → {segments} segments (batch, {segments}, {width})

## Use

`pip install -r requirements.txt`. This was run in a fresh process before the upload, and printed what is behind `#`:

```python
{snippet}
```

- Pin what you run, since it runs this repository's code: {pin}
- Without remote code: install the audio-branch package (`pip install .` in a checkout of Audio Branch), `import
  modeling_audio_branch`, and leave `trust_remote_code` out.
- `golden.safetensors` holds two clips and their outputs: on your machine, `model(clips, attention_mask=mask)` must give
  the same to {tolerance} of the largest number.

## What goes in, what comes out

Clips of any length, mono, at {rate} Hz (files and arrays of another rate are resampled). {frames:.4g} encoder frames
per second; {parameters:,} parameters, stored as {dtype}.

| output of `model(...)` | shape | |
| --- | --- | --- |
| `segment_features` | (batch, {segments}, {width}) | the embeddings; segments tile the clip |
| `segment_times` | (batch, {segments}, 2) | start and end in seconds |
| `segment_mask` | (batch, {segments}) | 0 only for a clip without a frame |
| `pooler_output` | (batch, {width}) | mean of the segments |
{labels}
## Results

{results}

## Training data and licence

{training}

## Limits

- Not for judging individuals: not for hiring, policing, insurance, proctoring, diagnosis or lie detection. Labels such
  as an emotion describe how speech was acted or heard, not what anyone feels.
- Speech unlike that of training (other languages, ages, microphones, noise) gives other numbers: measure on your own.
- Segments cut each clip into {segments} equal parts; they are not words or speakers.

## Versions

{versions}

## Citation

```bibtex
@software{{audio_branch,
  title = {{Audio Branch: segment embeddings of audio that never depend on the batch}},
  year = {{2026}},
  note = {{Conformer: Gulati et al. 2020, arXiv:2005.08100; FastConformer: Rekesh et al. 2023, arXiv:2305.05084}}
}}
```
"""


class CardError(ValueError):
    """One sentence about what a card can't be written from."""


def read_results(path: Path) -> dict:
    """The results in `results.json`, checked.

    Raises:
        CardError: It can't be read, is no UTF-8, no JSON object, or lacks what a figure needs to be believed.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(f"{path} can't be read ({error.strerror}); give the results.json of an evaluation.") from error
    except UnicodeDecodeError as error:
        raise CardError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except ValueError as error:
        raise CardError(f"{path} is not JSON ({error}); give the results.json of an evaluation.") from error
    if not isinstance(results, dict):
        raise CardError(f"{path} holds a {type(results).__name__}; give one object with {', '.join(REQUIRED)}.")
    if missing := [name for name in REQUIRED if not results.get(name)]:
        raise CardError(f"{path} lacks {', '.join(missing)}: a figure without them can't be believed; add them.")
    try:
        _check_results(results)
    except (TypeError, ValueError, HFValidationError) as error:
        raise CardError(f"{path}: {error}") from error
    return results


def _check_results(results):
    texts = {name: results[name] for name in ("protocol", "interval", "hardware")}
    for part in ("dataset", "training_data"):
        about = results.get(part, {"name": "none", "license": "none"})
        if not isinstance(about, dict) or not about.keys() >= {"name", "license"}:
            raise ValueError(f"{part} has no name and license; add them.")
        texts |= {f"{part}'s name": about["name"], f"{part}'s license": about["license"]}
        if about.get("id") is not None:
            validate_repo_id(about["id"])
    base = results.get("base_model") or []
    for repository in [base] if isinstance(base, str) else base:
        validate_repo_id(repository)
    texts |= {f"version of {name}": version for name, version in dict(results.get("versions") or {}).items()}
    texts |= {f"language {code!r}": code for code in list(results["dataset"].get("language") or [])}
    for name, text in texts.items():
        if not isinstance(text, str) or not is_text(text):
            raise ValueError(f"the {name} is {text!a}; give readable text.")
    if results.get("date") is not None:
        datetime.date.fromisoformat(results["date"])
    if any(not isinstance(seed, int) for seed in list(results.get("seeds") or [])) or not isinstance(
        results["folds"], int
    ):
        raise ValueError("seeds and folds are no whole numbers.")
    for name, metric in dict(results["metrics"]).items():
        if not re.fullmatch(r"[A-Za-z0-9_@ .-]+", name):
            raise ValueError(f"a metric is named {name!a}; give letters, digits, _, @, - and dots.")
        numbers = [metric.get(key) for key in ("value", "low", "high")] if isinstance(metric, dict) else [None]
        if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in numbers):
            raise ValueError(f"{name} has not the numbers value, low and high; add them.")
        value, low, high = numbers
        if not all(abs(each) < 1e300 and math.isfinite(each) for each in numbers) or not low <= value <= high:
            raise ValueError(f"{name} is {value!s:.20}, outside its interval from {low!s:.20} to {high!s:.20}.")


def is_text(text: str) -> bool:
    return text.isprintable() and bool(text.strip())  # what is no UTF-8 is not printable


def plain(text) -> str:
    """Text that Markdown leaves as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))


def check_text(**fields: str | None) -> None:
    """Raises a CardError where the terminal handed over bytes that are no UTF-8, or control characters."""
    for name, text in fields.items():
        if text is not None and not is_text(text):
            raise CardError(f"--{name} is {ascii(text)}, which is not readable UTF-8 text; give letters.")


def metadata(name: str, config, is_classifier: bool, license: str, language: list[str], results: dict | None) -> str:
    """The card's YAML: what the Hub reads."""
    task = "audio-classification" if is_classifier else "feature-extraction"
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        license=license,
        language=language or None,
        tags=TAGS,
        model_name=name,
    )
    if results is not None:
        dataset, trained_on = results["dataset"], results.get("training_data") or {}
        data.datasets = [trained_on["id"]] if trained_on.get("id") else None
        data.metrics = list(results["metrics"])
        data.base_model = results.get("base_model")
        data.eval_results = [
            EvalResult(
                task_type=task,
                dataset_type=dataset.get("id") or dataset["name"],
                dataset_name=dataset["name"],
                metric_type=metric,
                metric_value=numbers["value"],
                metric_name=f"{metric.replace('_', ' ')} ({results['protocol']})",
            )
            for metric, numbers in results["metrics"].items()
        ]
    return data.to_yaml()


def eval_results_yaml(results: dict, task: str) -> str | None:
    """`.eval_results/*.yaml`, as the Hub reads it; None for a dataset that is not on the Hub."""
    if not (dataset := results["dataset"].get("id")):
        return None
    notes = f"{results['protocol']}; {results['folds']} folds; {results['interval']}; {results['hardware']}"
    entries = [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=task,
            value=numbers["value"],
            date=results.get("date"),
            notes=f"{metric}, {numbers['low']} to {numbers['high']}; {notes}",
        )
        for metric, numbers in results["metrics"].items()
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)


def results_section(results: dict | None) -> str:
    if results is None:
        return "There are none: this model was not evaluated by who published it. Don't rely on it before you do."
    texts = {name: plain(results[name]) for name in ("protocol", "folds", "interval", "hardware")}
    rows = [
        f"| {plain(name.replace('_', ' '))} | {numbers['value']:.4g} | {numbers['low']:.4g} to {numbers['high']:.4g} |"
        for name, numbers in results["metrics"].items()
    ]
    table = "\n".join(["| metric | value | interval |", "| --- | --- | --- |", *rows])
    seeds = f"; seeds {', '.join(map(str, results['seeds']))}" if results.get("seeds") else ""
    return (
        f"On {plain(results['dataset']['name'])}. Protocol: {texts['protocol']}. Folds: {texts['folds']}. Interval: "
        f"{texts['interval']}. Hardware: {texts['hardware']}{seeds}.\n\n{table}"
    )


def write_card(facts: dict, license: str, language: list[str], results: dict | None, tag: str | None) -> str:
    """The README: `facts` are what hub_upload.py measured of the model."""
    language = language or ((results or {}).get("dataset") or {}).get("language") or []
    config = facts["config"]
    trained_on, base = (results or {}).get("training_data"), (results or {}).get("base_model")
    data = "Not stated by who published it."
    if trained_on:
        data = f"{plain(trained_on['name'])}, whose licence is {plain(trained_on['license'])}."
    if base:
        names = plain(base if isinstance(base, str) else ", ".join(base))
        data += f" The weights began as those of {names}, whose licence holds too."
    if facts["is_classifier"]:
        names = ", ".join(plain(config.id2label[index]) for index in sorted(config.id2label))
        labels = f"\n`AutoModelForAudioClassification` gives `logits` (batch, {config.num_labels}) for: {names}.\n"
        what = f"A classifier of audio ({config.num_labels} labels)."
    else:
        labels, what = "", "An encoder of audio."
    gap = f"(a clip alone and in a padded batch: {facts['gap']:.0e} apart, measured before the upload)"
    if facts["gap"] <= facts["tolerance"]:
        exactness = f"A clip's numbers don't depend on what else is in the batch {gap}."
    else:
        exactness = f"**This encoder looks at the padding** {gap}: use `model.encode(clips, exact=True)`."
    versions = facts["versions"] | ((results or {}).get("versions") or {})
    pin = "`revision=` takes a commit's hash (under Files and versions)"
    return CARD.format(
        metadata=metadata(facts["name"], config, facts["is_classifier"], license, language, results),
        name=facts["name"],
        what=what,
        exactness=exactness,
        rate=config.sample_rate,
        encoder=facts["encoder"],
        segments=config.num_segments,
        width=config.feature_dim,
        snippet=facts["snippet"],
        pin=pin + (f', or the tag `revision="{tag}"`.' if tag else "."),
        tolerance=facts["tolerance"],
        frames=facts["frames_per_second"],
        parameters=facts["parameters"],
        dtype=facts["dtype"],
        labels=labels,
        results=results_section(results),
        training=f"{data} Licence of the weights: {license}. The code is Apache-2.0 (see LICENSE).",
        versions=", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
    )
