"""results.json: what a card needs, and what is refused in one sentence."""

import json

import pytest

from helpers.publishing import RESULTS
from modeling_audio_branch.hub.errors import CardError
from modeling_audio_branch.hub.results import Dataset, Metric, read_results


def test_optional_keys_are_read_and_other_keys_are_ignored(tmp_path):
    optional = {"base_model": ["a/b", "c/d"], "date": "2026-11-23", "versions": {"torch": "2.14.1"}, "seeds": [0, 1]}
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | optional | {"confusion": [[1, 2]]}))
    results = read_results(tmp_path / "results.json")
    assert {name: getattr(results, name) for name in optional} == optional
    assert results.dataset == Dataset("RAVDESS speech", "cc-by-nc-sa-4.0", ["en"], "alice/ravdess")
    assert (
        results.metrics == {"unweighted_accuracy": Metric(0.71, 0.66, 0.75)} and results.training_data.language is None
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"protocol": ""}, "lacks protocol"),
        ({"metrics": {"accuracy": 0.7}}, "accuracy lacks the numbers value, low and high"),
        (
            {"metrics": {"accuracy": {"value": True, "low": 0, "high": 1}}},
            "accuracy lacks the numbers value, low and high",
        ),
        ({"metrics": {"accuracy": {"value": 0.9, "low": 0.1, "high": 0.5}}}, "outside its interval"),
        ({"metrics": [0.7]}, r"metrics is \[0.7\]; give one object"),
        ({"dataset": {"name": "x"}}, "dataset has no name and license"),
        ({"protocol": "\ud800"}, "protocol is .* readable text"),
        ({"hardware": "\x1b[31m"}, "hardware is .* readable text"),
        ({"versions": ["a"]}, "results.json: versions is"),
        ({"versions": {"torch": "\n"}}, "results.json: versions is"),
        ({"seeds": 3}, "results.json: seeds is 3; give a list of whole numbers"),
        ({"folds": "six"}, "folds is 'six'; give a whole number"),
        ({"dataset": {"name": "x", "license": None}}, "dataset's license is None"),
        ({"dataset": {"name": "x", "license": "mit", "language": ["\n"]}}, "dataset's language is"),
        ({"dataset": {"name": "x", "license": "mit", "id": "not an id!!"}}, "not an id"),
        ({"metrics": {"accuracy": {"value": 10**400, "low": 0, "high": 10**401}}}, "outside its interval"),
        ({"metrics": {"accuracy": {"value": float("inf"), "low": 0, "high": float("inf")}}}, "outside its interval"),
        ({"metrics": {"a|b\n# Injected": {"value": 1, "low": 0, "high": 1}}}, "a metric is named"),
        ({"base_model": {"a": "b"}, "date": "yesterday"}, "results.json: "),
        ({"base_model": "no id!!"}, "results.json: base_model is 'no id!!'"),
        ({"date": "yesterday"}, "results.json: date is 'yesterday'"),
        ({"date": "x" * 10**5}, "results.json: date is 'xxx"),
        ({"metrics": {"|" * 10**5: {"value": 1, "low": 0, "high": 1}}}, "a metric is named"),
    ],
)
def test_results_without_protocol_or_interval_are_refused(change, sentence, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | change))
    with pytest.raises(CardError, match=sentence) as error:
        read_results(tmp_path / "results.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_results_of_many_levels_are_refused(tmp_path):
    (tmp_path / "results.json").write_text("[" * 10**5)
    with pytest.raises(CardError, match="is not JSON that can be read"):
        read_results(tmp_path / "results.json")
