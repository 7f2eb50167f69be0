"""The model card, and the evaluation results that the Hub reads. The card's text is in card_template.md."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from .facts import ModelFacts
from .results import Results
from .text import escape_markdown

TEMPLATE = Path(__file__).with_name("card_template.md")
TAGS = ["audio", "speech", "audio-embeddings", "conformer", "custom_code"]


@dataclass
class Statements:
    """What the publisher states about a model."""

    license: str = "apache-2.0"  # of the weights, as the Hub names it
    language: list[str] = field(default_factory=list)
    results: Results | None = None
    tag: str | None = None


def task_of(facts: ModelFacts) -> str:
    return "audio-classification" if facts.is_classifier else "feature-extraction"


def write_card(facts: ModelFacts, statements: Statements, snippet: str) -> str:
    """The text of README.md.

    Args:
        facts: What was measured of the model.
        statements: What the publisher states about it.
        snippet: Python code that uses the model, with what it printed.
    """
    results = statements.results
    base_model = (results.base_model if results else None) or []
    card = ModelCard.from_template(
        card_metadata(facts, statements),
        template_path=TEMPLATE,
        facts=facts,
        config=facts.config,
        snippet=snippet,
        tag=statements.tag,
        results=results,
        training_data=results.training_data if results else None,
        base_model=base_model if isinstance(base_model, str) else ", ".join(base_model),
        weights_license=statements.license,
        versions=facts.versions | ((results.versions if results else None) or {}),
        escape=escape_markdown,
    )
    return f"{card}\n"


def card_metadata(facts: ModelFacts, statements: Statements) -> ModelCardData:
    """The YAML block of the card, which the Hub reads."""
    results = statements.results
    language = statements.language or (results.dataset.language if results else None)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=task_of(facts),
        license=statements.license,
        language=language or None,
        tags=TAGS,
        model_name=facts.name,
    )
    if results is not None:
        training_data = results.training_data
        data.datasets = [training_data.id] if training_data and training_data.id else None
        data.metrics = list(results.metrics)
        data.base_model = results.base_model
        data.eval_results = [
            EvalResult(
                task_type=task_of(facts),
                dataset_type=results.dataset.id or results.dataset.name,
                dataset_name=results.dataset.name,
                metric_type=name,
                metric_value=metric.value,
                metric_name=f"{name.replace('_', ' ')} ({results.protocol})",
            )
            for name, metric in results.metrics.items()
        ]
    return data


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
