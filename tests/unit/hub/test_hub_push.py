"""The whole command in this process, mostly without its clean processes: branches, tags, repetition, refusals."""

import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress

import pytest
import torch
from rich.console import Console

from helpers.full_disk import full_disk
from helpers.loopback_hub import Fault
from helpers.models import make_model, tiny_config
from helpers.publishing import RESULTS, save_checkpoint
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.hub import clean_room, push, repository
from modeling_audio_branch.hub.errors import CardError, UploadError
from modeling_audio_branch.hub.push import push_checkpoint


def test_a_revision_and_a_pull_request_leave_the_main_branch_alone(checkpoint, hub, tmp_path, no_clean_room):
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    repository = hub.repositories["alice/tiny"]
    main = repository.refs["refs/heads/main"]
    push_checkpoint(save_checkpoint(tmp_path / "two", num_segments=2), "alice/tiny", revision="two", yes=True)
    push_checkpoint(save_checkpoint(tmp_path / "three", num_segments=3), "alice/tiny", pr=True, yes=True)
    assert repository.refs["refs/heads/main"] == main
    segments = {ref: json.loads(repository.files(ref)["config.json"])["num_segments"] for ref in repository.refs}
    assert segments == {"refs/heads/main": 4, "refs/heads/two": 2, "refs/pr/1": 3}


def test_the_same_again_makes_no_commit(checkpoint, hub, no_clean_room):
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    before = dict(hub.repositories["alice/tiny"].refs)
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    assert hub.repositories["alice/tiny"].refs == before


def test_a_later_version_takes_away_files_of_an_earlier_one(checkpoint, hub, no_clean_room):
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    repository = hub.repositories["alice/tiny"]
    repository.commit("refs/heads/main", repository.files() | {"outdated.py": b"pass"}, "an earlier version")
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    assert "outdated.py" not in repository.files() and "config.json" in repository.files()


def test_what_is_replaced_and_deleted_is_shown_and_results_of_others_stay(checkpoint, hub, no_clean_room, capsys):
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    repository = hub.repositories["alice/tiny"]
    theirs = {"README.md": b"by hand", "outdated.py": b"pass", ".eval_results/theirs.yaml": b"- {}"}
    repository.commit("refs/heads/main", repository.files() | theirs, "by hand")
    capsys.readouterr()
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    shown = {line.split()[1]: line.split()[-2] for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert shown["README.md"] == "replaced" and shown["outdated.py"] == "deleted" and shown["config.json"] == "same"
    assert ".eval_results/theirs.yaml" in repository.files() and "outdated.py" not in repository.files()


def test_an_existing_tag_and_a_missing_answer_send_nothing(checkpoint, hub, no_clean_room):
    push_checkpoint(checkpoint, "alice/tiny", tag="v1", yes=True)
    before = dict(hub.repositories["alice/tiny"].refs)
    push_checkpoint(checkpoint, "alice/tiny", tag="v1", yes=True)  # the very same: the tag is where it belongs
    with pytest.raises(UploadError, match="has a tag v1 already"):
        push_checkpoint(checkpoint, "alice/tiny", tag="v1", license="mit", yes=True)
    with pytest.raises(UploadError, match="--yes"):
        push_checkpoint(checkpoint, "alice/new")
    assert hub.repositories["alice/tiny"].refs == before and "alice/new" not in hub.repositories


def test_a_lost_answer_about_the_tag_can_be_repeated(checkpoint, hub, no_clean_room):
    hub.faults.append(Fault("POST", "/tag/", "lose"))
    with pytest.raises(UploadError, match="tag may be missing"):
        push_checkpoint(checkpoint, "alice/tiny", tag="v1", yes=True)
    push_checkpoint(checkpoint, "alice/tiny", tag="v1", yes=True)


def test_a_publication_that_does_not_load_back_is_reported_with_its_commit(checkpoint, hub, monkeypatch):
    def fail_on_the_hub(repository, revision, *_):
        if revision:
            raise UploadError(f"{repository} does not load in a fresh process.")
        return ["torch.Size([2, 4, 12])"] * 4

    monkeypatch.setattr(clean_room, "verify_in_clean_process", fail_on_the_hub)
    with pytest.raises(UploadError, match=r"The commit \w{40} is in alice/tiny, but alice/tiny does not load"):
        push_checkpoint(checkpoint, "alice/tiny", tag="v1", yes=True)
    assert "refs/tags/v1" not in hub.repositories["alice/tiny"].refs


def test_a_dry_run_needs_a_place_of_its_own(checkpoint, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in (checkpoint / "out", tmp_path / "file", tmp_path / "link"):
        with pytest.raises(UploadError, match="--dry-run"):
            push_checkpoint(checkpoint, "alice/tiny", dry_run=place)
    assert not (checkpoint / "out").exists()


def test_a_model_without_output_is_refused(tmp_path, no_clean_room):
    model = make_model(AudioBranchModel, tiny_config())
    with torch.no_grad():
        for parameter in model.projection.parameters():
            parameter.zero_()
    model.save_pretrained(tmp_path / "dead")
    with pytest.raises(UploadError, match="segment_features that are all 0 or not finite"):
        push_checkpoint(tmp_path / "dead", "alice/tiny", dry_run=tmp_path / "out")


def test_card_fields_that_are_no_text_are_refused(checkpoint, tmp_path):
    license = b"mit\xff".decode("utf-8", "surrogateescape")
    with pytest.raises(CardError, match="--license .* not readable UTF-8"):
        push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "out", license=license)
    (tmp_path / "results.json").write_bytes(json.dumps(RESULTS).replace("RAVDESS", "RAVDÄSS").encode("latin-1"))
    with pytest.raises(CardError, match="not UTF-8"):
        push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "out", metrics=tmp_path / "results.json")
    assert not (tmp_path / "out").exists()


def test_results_that_contradict_those_of_the_folder_are_refused(checkpoint, tmp_path, no_clean_room):
    folder, other = tmp_path / "folder", tmp_path / "other.json"
    shutil.copytree(checkpoint, folder)
    for path in (folder / "results.json", other):
        path.write_text(json.dumps(RESULTS))
    push_checkpoint(folder, "alice/tiny", dry_run=tmp_path / "out", metrics=other)
    other.write_text(json.dumps(RESULTS | {"folds": 5}))
    with pytest.raises(UploadError, match="has other results than .*results.json; leave --metrics out, or move"):
        push_checkpoint(folder, "alice/tiny", dry_run=tmp_path / "other", metrics=other)
    (folder / "results.json").write_text("{}")
    with pytest.raises(CardError, match="results.json lacks dataset"):
        push_checkpoint(folder, "alice/tiny", dry_run=tmp_path / "other")


@pytest.mark.parametrize("answer", ["y", "n", "no terminal", "--yes"])
def test_another_licence_than_the_folders_is_asked_about(
    answer, checkpoint, tmp_path, no_clean_room, monkeypatch, capsys
):
    folder, out = tmp_path / "folder", tmp_path / "out"
    shutil.copytree(checkpoint, folder)
    (folder / "README.md").write_text("---\nlicense: gpl-2.0\n---\n# Mine\n")
    asked = []

    def confirm(question):
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: answer in "yn", raising=False)
    options = {"dry_run": out, "license": "mit", "yes": answer == "--yes"}
    if answer in ("y", "--yes"):
        push_checkpoint(folder, "alice/tiny", **options)
        assert "license: mit" in (out / "README.md").read_text()
    else:
        with pytest.raises(UploadError, match="--license mit was given, but .*README.md says gpl-2.0; leave"):
            push_checkpoint(folder, "alice/tiny", **options)
        assert not out.exists()
    assert len(asked) == (answer in "yn")
    assert ("Publish the weights under mit? Yes (--yes)." in " ".join(capsys.readouterr().out.split())) == (
        answer == "--yes"
    )


@pytest.mark.parametrize("largest_file", [0, 100, 3000, 12_000, 20_000, 50_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(largest_file, checkpoint, tmp_path, no_clean_room, monkeypatch):
    """Whatever file is the first that does not fit."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(UploadError) as error, full_disk(largest_file):
        push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "new" / "out")
    assert f"{temporary}" in str(error.value) and "cannot be written (File too large); free some space" in str(
        error.value
    )
    assert "\n" not in str(error.value)
    assert not os.listdir(temporary) and not (tmp_path / "new").exists()


def test_a_dry_run_on_a_full_disk_leaves_nothing(checkpoint, tmp_path, no_clean_room, monkeypatch):
    copytree = shutil.copytree

    def copy_to_a_full_disk(*arguments, **options):
        with full_disk(3000):
            copytree(*arguments, **options)

    monkeypatch.setattr(shutil, "copytree", copy_to_a_full_disk)
    with pytest.raises(UploadError, match=r"new/out cannot be written \(File too large\); free some space"):
        push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_output_that_cannot_be_written_is_one_sentence(checkpoint, tmp_path, no_clean_room, monkeypatch):
    file = open("/dev/full", "w")  # closing it fails, too
    monkeypatch.setattr(push, "console", Console(file=file))
    with pytest.raises(UploadError, match="standard output cannot be written .No space left on device.; give it"):
        push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "out")
    with suppress(OSError):
        file.close()


def test_an_endpoint_and_a_space_are_written_and_the_endpoint_is_verified(checkpoint, tmp_path, monkeypatch):
    repository_folder, space = tmp_path / "repository", tmp_path / "space"
    push_checkpoint(checkpoint, "alice/tiny", dry_run=repository_folder, endpoint=True, space=space)
    assert (repository_folder / "handler.py").read_bytes() == repository.HANDLER.read_bytes()
    assert (space / "checkpoint/handler.py").is_file() and (space / "app.py").is_file()

    wrong = tmp_path / "handler.py"
    code = repository.HANDLER.read_text()
    assert "output[name].tolist()" in code
    wrong.write_text(code.replace("output[name].tolist()", "(2 * output[name]).tolist()"))
    monkeypatch.setattr(repository, "HANDLER", wrong)
    with pytest.raises(UploadError, match="output differs"):
        push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "another", endpoint=True)
    with pytest.raises(UploadError, match="--space .* exists already"):
        push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "another", space=space)
