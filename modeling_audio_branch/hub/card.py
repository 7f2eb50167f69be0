"""The model card, and the evaluation results that the Hub reads. The card's text is in card_template.md."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from .errors import CardError, first_line
from .facts import ModelFacts
from .folder_card import Card, merge, split_card
from .licensing import DEFAULT_LICENSE, WeightsLicense
from .results import Results
from .text import escape_markdown

TEMPLATE = Path(__file__).with_name("card_template.md")
TAGS = ["audio", "speech", "audio-embeddings", "conformer", "custom_code", "sentence-transformers"]


@dataclass
class Statements:
    """What the publisher and the checkpoint folder state about a model."""

    license: WeightsLicense = field(default_factory=lambda: WeightsLicense(DEFAULT_LICENSE))
    language: list[str] = field(default_factory=list)  # if given as an option
    results: Results | None = None
    results_file: Path | None = None  # results.json of the folder, which is published
    tag: str | None = None
    card: Card = field(default_factory=Card)  # README.md of the folder


def task_of(facts: ModelFacts) -> str:
    return "audio-classification" if facts.is_classifier else "feature-extraction"


def write_card(facts: ModelFacts, statements: Statements, snippet: str) -> str:
    """The text of README.md: the folder's own words, and the sections of the template that they leave open.

    Args:
        facts: What was measured of the model.
        statements: What the publisher states about it.
        snippet: Python code that uses the model, with what it printed.

    Raises:
        CardError: The folder's metadata cannot be read as that of a model.
    """
    results = statements.results
    data = card_metadata(facts, statements)
    base_model = data.base_model or []
    card = ModelCard.from_template(
        data,
        template_path=TEMPLATE,
        facts=facts,
        config=facts.config,
        snippet=snippet,
        tag=statements.tag,
        results=results,
        training_data=results.training_data if results else None,
        base_model=base_model if isinstance(base_model, str) else ", ".join(base_model),
        license=statements.license,
        versions=facts.versions | ((results.versions if results else None) or {}),
        escape=escape_markdown,
    )
    merged = merge(statements.card, split_card(card.text), has_results=results is not None)
    return f"---\n{data.to_yaml()}\n---\n\n{merged.text}"


def card_metadata(facts: ModelFacts, statements: Statements) -> ModelCardData:
    """The YAML block of the card, which the Hub reads: that of the folder's card, with what was measured and stated."""
    results, own = statements.results, dict(statements.card.metadata)
    language = statements.language or own.get("language") or (results.dataset.language if results else None)
    stated = {
        "library_name": "transformers",
        "pipeline_tag": task_of(facts),
        "license": statements.license.name,
        "language": _as_codes(language) or None,
        "tags": list(dict.fromkeys([*_as_list(own.get("tags")), *TAGS])),
    }
    if statements.license.name != own.get("license"):
        stated |= {"license_name": None, "license_link": None}
    if results is not None:
        training_data = results.training_data
        datasets = [training_data.id] if training_data and training_data.id else []
        own.pop("model-index", None)
        stated |= {
            "datasets": list(dict.fromkeys([*_as_list(own.get("datasets")), *datasets])) or None,
            "metrics": list(results.metrics),
            "base_model": own.get("base_model") or results.base_model,
            "eval_results": _eval_results(results, task_of(facts)),
        }
    try:
        return ModelCardData(**(own | stated | {"model_name": facts.name}))
    except (ValueError, TypeError, AttributeError) as error:
        raise CardError(
            f"The metadata of the folder's README.md is wrong ({first_line(error)}); correct it."
        ) from error


def _as_list(value: object) -> list:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _as_codes(languages: object) -> list[str]:
    """Language codes. YAML reads the code of Norwegian, no, as False."""
    return ["no" if each is False else str(each) for each in _as_list(languages)]


def _eval_results(results: Results, task: str) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=task,
            dataset_type=results.dataset.id or results.dataset.name,
            dataset_name=results.dataset.name,
            metric_type=name,
            metric_value=metric.value,
            metric_name=f"{name.replace('_', ' ')} ({results.protocol})",
        )
        for name, metric in results.metrics.items()
    ]


def eval_results_yaml(results: Results, task: str) -> str | None:
    """The text of `.eval_results/*.yaml`, which the Hub reads. None if the dataset is not on the Hub."""
    if not results.dataset.id:
        return None
    notes = f"{results.protocol}; {results.folds} folds; {results.interval}; {results.hardware}"
    entries = [
        EvalResultEntry(
            dataset_id=results.dataset.id,
            task_id=task,
            value=metric.value,
            date=results.date,
            notes=f"{name}, {metric.low} to {metric.high}; {notes}",
        )
        for name, metric in results.metrics.items()
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
