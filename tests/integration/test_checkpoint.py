"""The checkpoints that ship: their weights, their cards, their results, and what they are for."""

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import typer
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoFeatureExtractor, AutoModel
from typer.testing import CliRunner

from helpers.fresh_process import run_fresh
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.hub.folder_card import read_card
from modeling_audio_branch.hub.push import push_checkpoint
from modeling_audio_branch.sentence_transformers_files import FILES
from recipes.phrases.report import number_words_percent, number_words_table, retrieval_table
from recipes.phrases.results import percent_to_json, read_results
from recipes.phrases.ship import CARD_TEMPLATE, METHOD, render_card

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "checkpoints"
PHRASES = ROOT / "examples" / "phrases"
TEMPLATES = {"phrases": "card_template.md", "phrases_whisper": "card_template_whisper.md"}


@pytest.fixture(scope="module", params=TEMPLATES)
def folder(request):
    return CHECKPOINTS / request.param


@pytest.fixture(scope="module")
def model(folder):
    return AudioBranchModel.from_pretrained(folder)


def test_the_checkpoint_is_small_has_no_code_and_says_its_licence(folder, model):
    names = {path.name for path in folder.iterdir()}
    parts = {"model.safetensors", "config.json", "preprocessor_config.json", "README.md", "LICENSE", "results.json"}
    searching = {"search.safetensors", "rotation.safetensors"} if folder.name == "phrases" else set()
    assert names == parts | searching | {*FILES}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 16e6
    assert model.num_parameters() < 8e6 and model.dtype == torch.float32
    metadata = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert metadata["license"] == "apache-2.0"
    assert "Apache License\n                           Version 2.0" in (folder / "LICENSE").read_text()


def test_the_documented_results_are_those_that_were_measured(folder):
    results = json.loads((folder / "results.json").read_text())
    measured = read_results(folder / "results.json")
    card = (folder / "README.md").read_text()
    documented = "\n".join(path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))
    assert retrieval_table(measured.retrieval) in card and number_words_table(measured.number_words) in card
    for name, metric in results["metrics"].items():
        assert metric["low"] <= metric["value"] <= metric["high"]
        if "R@5" not in name:
            assert f"{metric['value']:.1f} ({metric['low']:.1f} to {metric['high']:.1f})" in documented, name


def test_the_results_are_read_and_written_as_they_are(folder):
    results = json.loads((folder / "results.json").read_text())
    measured = read_results(folder / "results.json")
    assert measured.to_json() == {name: results[name] for name in ("phrases", "number_words", "robustness")}
    pooled = percent_to_json(number_words_percent(measured.number_words, METHOD))
    assert pooled == pytest.approx(results["metrics"]["number words"], abs=1e-4)


def test_the_card_is_the_template_with_the_results(folder, model):
    card = (folder / "README.md").read_text()
    measured = read_results(folder / "results.json")
    poolings = card.split(number_words_table(measured.number_words) + "\n")[1].split("\nCommand: ")[0]
    training = "| step |" + card.split("| step |")[1].split("\n\n")[0]
    steps = int(re.search(r"for (\d+) steps", card).group(1))
    template = CARD_TEMPLATE.with_name(TEMPLATES[folder.name])
    cosine = float(re.search(r"is at\s+least (\d\.\d+)", card).group(1))
    assert render_card(template, measured, training, poolings, model.num_parameters(), steps, cosine) == card
    assert 0.9999 < cosine <= 1


def test_the_card_names_a_licence_for_each_source_of_its_speech(folder):
    card = (folder / "README.md").read_text()
    whisper = "Whisper base" if folder.name == "phrases" else "Whisper tiny.en"
    for source in ("CLDR", "num2words", "Django", "espeak-ng", "Kokoro-82M", "flite", whisper):
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {source}"))
        assert row.count("|") == 4, row


def test_it_finds_the_phrase_of_a_speaker_it_never_heard(model):
    files = [PHRASES / f"{name}.flac" for name in ("carlo_marked_urgent", "paola_marked_urgent", "paola_leave_message")]
    features = F.normalize(model.encode(files, show_progress=False).segment_features, dim=-1)  # (3, 8, 512)
    same, other = (features[0] * features[1:]).sum(-1).mean(-1).tolist()
    assert same > other + 0.2
    reversed_order = (features[0] * features[1].flip(0)).sum(-1).mean().item()
    assert same > reversed_order + 0.2  # by the order of its segments


def test_it_loads_through_the_auto_classes(folder, model):
    inputs = AutoFeatureExtractor.from_pretrained(folder)(PHRASES / "paola_leave_message.flac", return_tensors="pt")
    with torch.no_grad():
        features = AutoModel.from_pretrained(folder)(**inputs).segment_features
        expected = model(**inputs).segment_features
    assert torch.equal(features, expected)


def test_the_repository_made_of_it_loads_where_the_package_is_not(folder, tmp_path):
    metrics = folder / "results.json"
    push_checkpoint(folder, "user/phrases", dry_run=tmp_path / "out", license="apache-2.0", metrics=metrics)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Licence of the weights: apache-2.0" in card and "R@1 it" in card


@pytest.fixture(scope="module")
def published(folder, tmp_path_factory):
    """The repository that a dry run makes of the checkpoint, without any other option."""
    out = tmp_path_factory.mktemp("published") / "out"
    push_checkpoint(folder, "user/phrases", dry_run=out)
    return out


def test_publishing_keeps_the_weights_results_languages_and_licence(folder, published):
    had, sent = (load_file(each / "model.safetensors") for each in (folder, published))
    assert had.keys() == sent.keys()
    assert all(had[name].dtype == sent[name].dtype and torch.equal(had[name], sent[name]) for name in had)
    assert (published / "model.safetensors").stat().st_size < 16e6
    assert (published / "results.json").read_bytes() == (folder / "results.json").read_bytes()
    assert (published / "LICENSE").read_bytes() == (folder / "LICENSE").read_bytes()
    assert not (published / "LICENSE-CODE").exists()  # the code is under the same
    data = ModelCard.load(published / "README.md").data
    assert data.language == read_card(folder / "README.md").metadata["language"] and data.license == "apache-2.0"
    measured = {result.metric_type: result.metric_value for result in data.eval_results}
    assert measured["R@1 it"] == json.loads((folder / "results.json").read_text())["metrics"]["R@1 it"]["value"]


def test_publishing_keeps_the_cards_own_words_and_adds_the_verified_snippet(folder, published):
    own, card = read_card(folder / "README.md"), read_card(published / "README.md")
    titles = [section.title for section in card.sections]
    assert own.sections and card.intro == own.intro
    for section in own.sections:
        assert section.is_generated or section in card.sections
    assert len(titles) == len({*titles})
    assert {"Results", "How it was made", "Training data and licence", "Limits"} <= {*titles}
    text = (published / "README.md").read_text()
    assert "There are none" not in text and "not evaluated" not in text and f'checkpoints/{folder.name}")' not in text
    assert 'repo = "user/phrases"' in text and "print(out.segment_features.shape)  # torch.Size([2, 8, 512])" in text
    assert "stored as float16, computed with in float32" in text


def test_whispers_terms_go_with_its_weights(folder, published):
    for card in (folder / "README.md", published / "README.md"):
        terms = " ".join(card.read_text().replace(">", "").split())
        assert (folder.name == "phrases") != ("Copyright (c) 2022 OpenAI Permission is hereby granted" in terms), card


def test_publishing_what_was_published_changes_nothing(published, tmp_path):
    push_checkpoint(published, "user/phrases", dry_run=tmp_path / "again")
    for path in published.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_picture_of_two_speakers_is_drawn(tmp_path):
    spec = importlib.util.spec_from_file_location("same_phrase", ROOT / "examples" / "same_phrase.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    app = typer.Typer()
    app.command()(example.main)
    picture = tmp_path / "new" / "picture.png"
    done = CliRunner().invoke(app, ["--output", str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG") and "www.voip.ammdomus.it" in done.stdout
    similarity = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("carlo")]
    assert similarity[0] > similarity[1]
    for arguments, sentence in ((["a.wav"], "give three"), (["a.wav"] * 3, "a.wav")):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code != 0 and sentence in done.stderr and "Traceback" not in done.stderr
        assert isinstance(done.exception, SystemExit)


def test_the_card_and_the_page_say_how_the_folder_loads_without_code(folder, tmp_path):
    """AutoModel finds no code in the folder: the package must be imported first, as its card says."""
    sentence = "so `AutoModel` loads it only after `import modeling_audio_branch`"
    for page in (folder / "README.md", ROOT / "docs" / "checkpoint.md"):
        assert sentence in " ".join(page.read_text().split()), page
    code = f"""
    from transformers import AutoModel
    try:
        AutoModel.from_pretrained({str(folder)!r}, trust_remote_code=True)
    except ValueError as error:
        print(error)
    """
    assert "audio_branch" in run_fresh(code, tmp_path)
    imported = f"""
    import modeling_audio_branch
    from transformers import AutoModel
    print(type(AutoModel.from_pretrained({str(folder)!r})).__name__)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(imported)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "AudioBranchModel", done.stderr
