"""Errors of the disk: one sentence with the path, and nothing is left half-written."""

import errno
import os
import shutil
import tempfile

import pytest
import torch
from safetensors.torch import save_file

from helpers.full_disk import full_disk
from modeling_audio_branch.disk import TEMPORARY_REMEDY, DiskError, disk_problem, writing
from modeling_audio_branch.hub.writing import new_folder, replaced_file, temporary_folder


def write_text(path):
    path.write_text("x" * 5000)


def write_weights(path):
    save_file({"weight": torch.zeros(5000)}, path)


def copy_folder(path):
    source = path.parent.parent / "source"
    source.mkdir(exist_ok=True)
    write_text(source / "file")
    with full_disk(1000):
        shutil.copytree(source, path)


WRITERS = [write_text, write_weights, copy_folder]


@pytest.mark.parametrize("write", WRITERS)
def test_every_way_to_write_gives_one_sentence_with_the_path(write, tmp_path):
    (tmp_path / "to").mkdir()
    path = tmp_path / "to" / "written"
    with pytest.raises(DiskError) as error, writing(path):
        if write is copy_folder:
            write(path)
        else:
            with full_disk(1000):
                write(path)
    assert str(error.value) == (
        f"{path} cannot be written (File too large); free some space there, or give another path."
    )


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_all_problems_of_a_disk_are_known_by_their_number(name):
    number = getattr(errno, name)
    text = os.strerror(number)
    for error in (
        OSError(number, text),
        shutil.Error([("a", "b", f"[Errno {number}] {text}: 'a' -> 'b'")]),
        RuntimeError(f"Error while serializing: I/O error: {text} (os error {number})"),
    ):
        assert disk_problem(error) == text
        wrapped = ValueError("cannot be saved")
        wrapped.__cause__ = error
        assert disk_problem(wrapped) == text


@pytest.mark.parametrize("error", [FileNotFoundError(2, "x"), ValueError("[Errno 2] x"), KeyError("os error"), None])
def test_other_errors_are_not_about_the_disk_and_stay_what_they_are(error, tmp_path):
    assert disk_problem(error) is None
    if error is not None:
        with pytest.raises(type(error)) as raised, writing(tmp_path):
            raise error
        assert raised.value is error


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_after_an_error_a_new_folder_is_as_it_was(exists, error, tmp_path):
    folder = tmp_path / "a" / "b"
    if exists:
        folder.mkdir(parents=True)
    with pytest.raises(DiskError if isinstance(error, OSError) else type(error)), new_folder(folder):
        (folder / "inner").mkdir()
        (folder / "inner" / "file").touch()
        (folder / "link").symlink_to(tmp_path)
        raise error
    assert tmp_path.is_dir() and list(tmp_path.rglob("*")) == ([folder.parent, folder] if exists else [])
    with new_folder(folder):
        (folder / "file").touch()
    assert (folder / "file").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DiskError, match=r"file/x cannot be made \(Not a directory\)"),
        new_folder(tmp_path / "file" / "x"),
    ):
        pass


def test_a_replaced_file_is_the_old_one_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "new" / "results.json"
    with replaced_file(path) as written:
        written.write_text("old")
    with pytest.raises(DiskError, match="results.json cannot be written"), replaced_file(path) as written:
        with full_disk(10):
            written.write_text("x" * 100)
    assert path.read_text() == "old" and [each.name for each in path.parent.iterdir()] == ["results.json"]
    with pytest.raises(DiskError, match="old/x cannot be written"), replaced_file(path / "old" / "x"):
        pass


def test_a_temporary_folder_that_cannot_be_made_or_filled_names_tmpdir(monkeypatch):
    with pytest.raises(DiskError, match="cannot be written .*set TMPDIR") as error, temporary_folder("x") as folder:
        with full_disk(10), writing(folder, TEMPORARY_REMEDY):
            (folder / "file").write_text("x" * 100)
    assert str(folder) in str(error.value) and not folder.exists()

    def full(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(DiskError, match="No temporary folder can be made .*TMPDIR"), temporary_folder("x"):
        pass


def test_torchs_own_way_to_write_is_known_too(tmp_path):
    with pytest.raises(DiskError, match="cannot be written .a file there could not be written to its end.;"):
        with writing(tmp_path), full_disk(1000):
            torch.save(torch.zeros(5000), tmp_path / "state.pt")
