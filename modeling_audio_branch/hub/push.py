"""Publishes a checkpoint on the Hugging Face Hub, and verifies what was published.

The folder is assembled anew (weights, configuration, code, card), checked against an allow-list, and loaded in a clean
process where Audio Branch is not importable, which must give the golden output. The command shows what it will send and
asks; it sends all of it as one commit; then it loads the published commit in the same way.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from huggingface_hub import HfApi
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..disk import TEMPORARY_REMEDY, DiskError, disk_problem, writing
from . import clean_room
from .card import Statements
from .checkpoint import check_checkpoint, load_checkpoint
from .clean_room import Expectation
from .errors import NETWORK_ERRORS, UploadError, explain
from .folder_card import read_card
from .licensing import weights_license
from .publish import changes, publish
from .repository import add_onnx, assemble, license_text
from .results import read_results
from .snippet import usage_snippet, with_output
from .space import check_space, write_space
from .target import Target, check_names, check_target, visibility
from .text import check_readable
from .writing import new_folder, temporary_folder

console = Console()


def push_checkpoint(
    checkpoint: Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    tag: str | None = None,
    pr: bool = False,
    dry_run: Path | None = None,
    metrics: Path | None = None,
    license: str | None = None,
    language: list[str] | None = None,
    yes: bool = False,
    multi_vector: bool = False,
    onnx: bool = False,
    endpoint: bool = False,
    space: Path | None = None,
) -> None:
    """What `audio-branch push` does; `modeling_audio_branch.cli.push` describes the arguments.

    Raises:
        UploadError: The checkpoint, an option or the Hub does not allow the upload.
        CardError: An option or the results cannot be written on the card.
    """
    _check_options(repo_id, license, language or [], revision, tag, pr)
    if dry_run is not None:
        _check_new_folder(dry_run, checkpoint)
    if space is not None:
        check_space(space, [checkpoint, *([dry_run] if dry_run else [])])
    left_out = check_checkpoint(checkpoint)
    statements = _read_statements(checkpoint, metrics, license, language or [], tag, yes)
    api = HfApi()
    target = Target(repo_id) if dry_run else check_target(api, repo_id, revision, tag, pr, private)
    with _disk_errors_in_a_sentence(), temporary_folder("hub_upload") as temporary:
        folder = temporary / "repository"
        with writing(temporary, TEMPORARY_REMEDY):
            expected = _load_and_assemble(checkpoint, folder, repo_id, statements, multi_vector, onnx, endpoint)
        if left_out:
            console.print(f"Left out: {', '.join(left_out)}.", markup=False)
        if dry_run is not None:
            _write_dry_run(folder, dry_run, target)
        else:
            _confirm(api, folder, target, statements.license.name, yes)
            commit, pr_url = publish(api, folder, target)
            _verify_and_tag(api, target, commit, expected)
        if space is not None:  # last, so that the command can be run again until all has gone well
            write_space(folder, space, repo_id, statements.license.name)
            console.print(f"{space}: a Space, to be tried by python app.py.", markup=False)
    if dry_run is not None:
        return
    console.print(f"Published and loaded back: {pr_url or f'{api.endpoint}/{repo_id}/tree/{commit}'}", markup=False)
    console.print("To use it, pinned:")
    pinned = with_output(usage_snippet(repo_id, commit), expected.printed)
    console.print(pinned, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _disk_errors_in_a_sentence() -> Iterator[None]:
    try:
        yield
    except DiskError as error:
        raise UploadError(str(error)) from error
    except OSError as error:  # from a print call: all other writing is inside writing(...)
        if (problem := disk_problem(error)) is None:
            raise
        raise UploadError(f"The standard output cannot be written ({problem}); give it another place.") from error


def _check_options(
    repo_id: str, license: str | None, language: list[str], revision: str | None, tag: str | None, pr: bool
) -> None:
    check_readable(**{"repo-id": repo_id, "license": license, "revision": revision, "tag": tag})
    for each in language:
        check_readable(language=each)
    check_names(repo_id, revision, tag)
    if pr and (revision or tag):
        raise UploadError("--pr proposes a change of the main branch; leave --revision and --tag out.")


def _check_new_folder(folder: Path, checkpoint: Path) -> None:
    """Raises an UploadError unless the folder is new or empty, and outside of the checkpoint."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UploadError(f"--dry-run {folder} exists already; give a new folder.")
    if checkpoint.resolve() in [folder.resolve(), *folder.resolve().parents]:
        raise UploadError(f"--dry-run {folder} is in the checkpoint; give a folder elsewhere.")


def _read_statements(
    checkpoint: Path, metrics: Path | None, license: str | None, language: list[str], tag: str | None, yes: bool
) -> Statements:
    """What the options and the checkpoint folder state. Asks if --license contradicts the folder."""

    def may_change(question: str) -> bool:
        if yes:
            console.print(f"{question} Yes (--yes).", markup=False)
        return yes or (sys.stdin.isatty() and typer.confirm(question))

    card = read_card(checkpoint / "README.md")
    own = checkpoint / "results.json"
    results_file = own if own.is_file() else None
    results = read_results(metrics or own) if metrics or results_file else None
    if metrics and results_file and results != read_results(own):
        raise UploadError(f"--metrics {metrics} has other results than {own}; leave --metrics out, or move {own} away.")
    weights = weights_license(checkpoint, card.metadata, license_text(), license, may_change)
    return Statements(weights, language, results, results_file, tag, card)


def _load_and_assemble(
    checkpoint: Path,
    folder: Path,
    repo_id: str,
    statements: Statements,
    multi_vector: bool,
    onnx: bool,
    endpoint: bool,
) -> Expectation:
    with console.status("Loading the checkpoint"):
        model, extractor = load_checkpoint(checkpoint)
    if not (checkpoint / "preprocessor_config.json").is_file():
        console.print("No preprocessor_config.json: the feature extractor is made from the model.")
    if multi_vector:
        model.config.embedding_output = "segment_features"
    with console.status("Assembling the repository, and loading it in a fresh process"):
        expected = assemble(checkpoint, model, extractor, folder, repo_id, statements, endpoint)
    if onnx:
        with console.status("Exporting to ONNX"):
            add_onnx(model, folder, repo_id)
    return expected


def _write_dry_run(folder: Path, dry_run: Path, target: Target) -> None:
    with new_folder(dry_run):
        shutil.copytree(folder, dry_run, dirs_exist_ok=True)
    title = f"{dry_run}: written, and loaded in a fresh process; nothing was sent"
    _show(folder, changes(folder, target), title)


def _confirm(api: HfApi, folder: Path, target: Target, license: str, yes: bool) -> None:
    """Shows what will be sent, and asks. Raises an UploadError if it must not be sent."""
    what = changes(folder, target)
    is_same = target.exists and set(what.values()) == {"same"}
    if target.is_pull_request and is_same:
        raise UploadError(f"{target.repo_id} holds all of this already; there is nothing to propose.")
    if target.tag_commit and not (is_same and target.tag_commit == target.branch_commit):
        raise UploadError(
            f"{target.repo_id} has a tag {target.tag} already, and tags do not move; choose another --tag."
        )
    where = "a pull request" if target.is_pull_request else f"branch {target.branch}"
    state = f"{visibility(target.private)}{'' if target.exists else ', new'}; weights under {license}"
    _show(folder, what, f"{api.endpoint}/{target.repo_id}, {where}; {state}")
    if not yes and not (sys.stdin.isatty() and typer.confirm("Send this?")):
        raise UploadError("Nothing was sent: answer y on a terminal, or give --yes.")


def _show(folder: Path, what: dict[str, str], title: str) -> None:
    """Prints the files that will be sent, their sizes, and what happens to those that are there."""
    table = Table(title=Text(title))
    for column in ("file", "bytes", "there"):
        table.add_column(column, justify="right" if column == "bytes" else "left")
    total = 0
    for name, change in what.items():
        size = 0 if change == "deleted" else (folder / name).stat().st_size
        total += size
        table.add_row(Text(name), f"{size:,}", change)
    table.add_row("all", f"{total:,}", style="bold")
    console.print(table)


def _verify_and_tag(api: HfApi, target: Target, commit: str, expected: Expectation) -> None:
    """Loads the published commit in a clean process, then tags it."""
    try:
        with console.status("Loading the published revision in a fresh process"):
            clean_room.verify_in_clean_process(target.repo_id, commit, expected, target.private)
        if target.tag and not target.tag_commit:
            api.create_tag(target.repo_id, tag=target.tag, revision=commit)
    except (UploadError, KeyboardInterrupt, *NETWORK_ERRORS) as error:
        if isinstance(error, UploadError):
            reason = str(error)
        elif isinstance(error, KeyboardInterrupt):
            reason = "this was interrupted before the end."
        else:
            reason = f"its tag may be missing: {explain(error, target.repo_id)}"
        raise UploadError(f"The commit {commit} is in {target.repo_id}, but {reason} Run the command again.") from error
