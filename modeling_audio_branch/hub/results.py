"""results.json: the results of an evaluation, as `audio-branch push --metrics` reads them and the card shows them.

It is one JSON object:

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

`id` (of a dataset on the Hub), `language` and everything in the last two lines are optional. Other keys are ignored.
"""

import datetime
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from huggingface_hub.dataclasses import strict, validated_field
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError
from huggingface_hub.utils import validate_repo_id

from .errors import CardError
from .text import is_readable

REQUIRED = ("dataset", "protocol", "folds", "interval", "hardware", "metrics")


def _check_text(value: str | list[str] | dict[str, str] | None) -> None:
    texts = [value] if isinstance(value, str) else [*value, *value.values()] if isinstance(value, dict) else value or []
    if not all(map(is_readable, texts)):
        raise ValueError("not readable")


def _check_repositories(value: str | list[str] | None) -> None:
    for repository in [value] if isinstance(value, str) else value or []:
        validate_repo_id(repository)


def _check_date(value: str | None) -> None:
    if value is not None:
        datetime.date.fromisoformat(value)


def _checked(expected: str, validator: Callable = lambda _: None, **default):
    """A field of a strict dataclass. `expected` completes the sentence "... is 3; give ..." about a wrong value."""
    return validated_field(validator, metadata={"expected": expected}, **default)


@strict
@dataclass
class Dataset:
    name: str = _checked("readable text", _check_text)
    license: str = _checked("readable text", _check_text)
    language: str | list[str] | None = _checked("language codes as readable text", _check_text, default=None)
    id: str | None = _checked("the dataset's USER/NAME on the Hub", _check_repositories, default=None)


@strict
@dataclass
class Metric:
    """A value with its confidence interval."""

    value: int | float
    low: int | float
    high: int | float

    def validate_interval(self):
        is_finite = all(abs(each) < 1e300 and math.isfinite(each) for each in (self.value, self.low, self.high))
        if not is_finite or not self.low <= self.value <= self.high:
            raise ValueError(
                f"is {self.value!s:.20}, outside its interval from {self.low!s:.20} to {self.high!s:.20}; "
                f"give three finite numbers, low <= value <= high."
            )


@strict
@dataclass
class Results:
    dataset: Dataset
    protocol: str = _checked("readable text", _check_text)
    folds: int = _checked("a whole number")
    interval: str = _checked("readable text", _check_text)
    hardware: str = _checked("readable text", _check_text)
    metrics: dict[str, Metric] = _checked("one object of metrics by name")
    training_data: Dataset | None = None
    base_model: str | list[str] | None = _checked("USER/NAME, or a list of them", _check_repositories, default=None)
    date: str | None = _checked("a date such as 2026-11-23", _check_date, default=None)
    versions: dict[str, str] | None = _checked("names and versions as readable text", _check_text, default=None)
    seeds: list[int] | None = _checked("a list of whole numbers", default=None)


def read_results(path: Path) -> Results:
    """Reads and checks results.json.

    Raises:
        CardError: The file is not readable, not UTF-8, not a JSON object, lacks a required key, or has a wrong value.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(f"{path} cannot be read ({error.strerror}); give the results.json of an evaluation.") from error
    except UnicodeDecodeError as error:
        raise CardError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise CardError(
            f"{path} is not JSON that can be read ({error}); give the results.json of an evaluation."
        ) from error
    if not isinstance(data, dict):
        raise CardError(f"{path} holds a {type(data).__name__}; give one object with {', '.join(REQUIRED)}.")
    if missing := [name for name in REQUIRED if not data.get(name)]:
        raise CardError(f"{path} lacks {', '.join(missing)}; add them, since readers need them to trust a result.")
    try:
        return _parse_results(data)
    except ValueError as error:
        raise CardError(f"{path}: {error}") from error


def _parse_results(data: dict) -> Results:
    parsed = {part: _parse_dataset(part, data[part]) for part in ("dataset", "training_data") if part in data}
    if isinstance(data["metrics"], dict):
        parsed["metrics"] = {name: _parse_metric(name, numbers) for name, numbers in data["metrics"].items()}
    return _build(Results, data | parsed)


def _parse_dataset(part: str, data: object) -> Dataset:
    if not isinstance(data, dict) or not data.keys() >= {"name", "license"}:
        raise ValueError(f"{part} has no name and license; add them.")
    return _build(Dataset, data, f"{part}'s ")


def _parse_metric(name: str, numbers: object) -> Metric:
    if not re.fullmatch(r"[A-Za-z0-9_@ .-]+", name):
        raise ValueError(f"a metric is named {name!a:.100}; give letters, digits, _, @, - and dots.")
    numbers = numbers if isinstance(numbers, dict) else {}
    try:
        return Metric(*(numbers.get(key) for key in ("value", "low", "high")))
    except StrictDataclassFieldValidationError as error:
        raise ValueError(f"{name} lacks the numbers value, low and high; add them.") from error
    except StrictDataclassClassValidationError as error:
        raise ValueError(f"{name} {error.__cause__}") from error


def _build(strict_class: type, data: dict, owner: str = ""):
    """A strict dataclass from a JSON object. Its errors become one sentence each (a ValueError)."""
    known = {each.name: each for each in fields(strict_class)}
    try:
        return strict_class(**{name: value for name, value in data.items() if name in known})
    except StrictDataclassFieldValidationError as error:
        name = re.match(r"Validation error for field '(\w+)'", str(error)).group(1)  # the error has no attribute for it
        raise ValueError(f"{owner}{name} is {data[name]!a:.100}; give {known[name].metadata['expected']}.") from error
