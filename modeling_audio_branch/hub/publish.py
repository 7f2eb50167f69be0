"""Uploads a folder to the Hub as one commit, and says after a failure what is there."""

import hashlib
import re
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from modeling_audio_branch import __version__

from .errors import NETWORK_ERRORS, UploadError, explain
from .repository import check_allowlist
from .target import Target, references

# Files in the repository that a new version keeps: those of git, and evaluation results of others.
KEPT_FILES = re.compile(r"\.gitattributes|\.eval_results/(?!audio_branch\.yaml).*")


def changes(folder: Path, target: Target) -> dict[str, str]:
    """What the commit does, by file name: `new`, `replaced`, `same`, or `deleted` (a file of an earlier version)."""
    states = {name: _state(folder / name, target.files.get(name)) for name in check_allowlist(folder)}
    deleted = [name for name in target.files if name not in states and not KEPT_FILES.fullmatch(name)]
    return states | dict.fromkeys(deleted, "deleted")


def _state(path: Path, hash_there: str | None) -> str:
    if hash_there is None:
        return "new"
    data = path.read_bytes()
    lfs_hash, git_hash = hashlib.sha256(data), hashlib.sha1(b"blob %d\0" % len(data) + data)
    return "same" if hash_there in (lfs_hash.hexdigest(), git_hash.hexdigest()) else "replaced"


def publish(api: HfApi, folder: Path, target: Target) -> tuple[str, str | None]:
    """Uploads a folder as one commit. Creates the repository and the branch if they are missing.

    Returns:
        The commit's hash, and the address of the pull request if the commit is one.

    Raises:
        UploadError: Its message says what is on the Hub now.
    """
    operations = [
        CommitOperationDelete(path_in_repo=name)
        if change == "deleted"
        else CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
        for name, change in changes(folder, target).items()
    ]
    try:
        if not target.exists:
            api.create_repo(target.repo_id, private=target.private)
        if target.branch != "main" and target.branch_commit is None:
            api.create_branch(target.repo_id, branch=target.branch)
        commit = api.create_commit(
            target.repo_id,
            operations,
            commit_message=f"Audio Branch {__version__}",
            revision=target.revision,
            create_pr=target.is_pull_request,
            # The Hub refuses the commit if somebody else changed the branch in the meantime.
            parent_commit=None if target.is_pull_request else target.head,
        )
    except (*NETWORK_ERRORS, RuntimeError, ValueError) as error:  # RuntimeError: weights; ValueError: card's metadata
        raise UploadError(f"{explain(error, target.repo_id)} {describe_state(api, target)}") from error
    except KeyboardInterrupt as error:
        raise UploadError(f"Interrupted. {describe_state(api, target)}") from error
    return commit.oid, commit.pr_url


def describe_state(api: HfApi, target: Target) -> str:
    """Says after a failure what has changed on the Hub. The commit may be there although its answer was lost."""
    repo_id = target.repo_id
    retry = "a commit is made whole or not at all, so run the command again."
    try:
        if not api.repo_exists(repo_id):
            return f"Nothing was changed there; {retry}"
        branches, _, pull_requests = references(api, repo_id)
        if new := [each for each in pull_requests if each not in target.pull_requests]:
            return f"The pull request {new[-1]} of {repo_id} was opened in the meantime; look at it before another try."
        commit = branches.get(target.branch)
        if not target.exists:
            files = api.list_repo_files(repo_id, revision=commit) if commit else []
            if "config.json" not in files:
                return f"The empty repository {repo_id} was created there, and nothing was sent; {retry}"
        elif commit == target.branch_commit:
            return f"Nothing was changed there; {retry}"
        elif target.branch_commit is None and commit == target.head:
            return f"The branch {target.branch} was created there, and nothing was sent; {retry}"
        return f"The commit {commit} is in {repo_id} now, from this command or from somebody else; {retry}"
    except NETWORK_ERRORS:
        return f"The state of the repository is not known, because the Hub cannot be reached; {retry}"
