"""Where on the Hub the upload goes, and what is there now. Nothing here changes the Hub."""

import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from .errors import NETWORK_ERRORS, UploadError, explain
from .repository import UPLOAD_ALLOWLIST

# The name of a branch or tag, which must differ from a full reference and from a commit's hash.
REFERENCE = re.compile(r"(?!refs/|[0-9a-f]{40}$)[A-Za-z0-9]([A-Za-z0-9_-]|[./](?=[A-Za-z0-9_]))*")


@dataclass
class Target:
    """The upload's destination, and the state of it that `check_target` saw."""

    repo_id: str
    revision: str | None = None  # branch to upload to; None: main
    tag: str | None = None  # for the new commit
    is_pull_request: bool = False
    private: bool = False
    exists: bool = False
    branch_commit: str | None = None  # None: the branch is missing
    head: str | None = None  # the new commit's parent
    tag_commit: str | None = None  # None: the tag is missing
    pull_requests: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # name -> hash, as git or git-lfs computes it

    @property
    def branch(self) -> str:
        return self.revision or "main"


def check_names(repo_id: str, revision: str | None, tag: str | None) -> None:
    """Raises an UploadError about a name that a repository, a branch or a tag cannot have."""
    try:
        validate_repo_id(repo_id)
        _, _ = repo_id.split("/")
    except (HFValidationError, ValueError) as error:
        raise UploadError(
            f"--repo-id {repo_id!r} is not valid; give USER/NAME of letters, digits, single - and dots, and _."
        ) from error
    for option, name in {"--revision": revision, "--tag": tag}.items():
        if name is not None and not REFERENCE.fullmatch(name):
            raise UploadError(f"{option} {name!r} is not valid; use letters, digits, _, -, dots and slashes.")


def check_target(
    api: HfApi,
    repo_id: str,
    revision: str | None = None,
    tag: str | None = None,
    pr: bool = False,
    private: bool | None = None,
) -> Target:
    """Reads the state of the destination.

    Raises:
        UploadError: The token is missing, wrong or has no rights, or the repository has other contents.
    """
    _check_token()
    target = Target(repo_id, revision, tag, is_pull_request=pr, private=bool(private))
    try:
        _check_rights(api, target)
        try:
            is_private = bool(api.model_info(repo_id).private)
        except RepositoryNotFoundError:
            if pr:
                raise UploadError(f"{repo_id} does not exist, so --pr has nothing to go to; leave --pr out.") from None
            return target
        if private is not None and private != is_private:
            raise UploadError(
                f"{repo_id} is {visibility(is_private)}, and this command does not change that; do it in its "
                f"settings, or leave --{visibility(private)} out."
            )
        target.exists, target.private = True, is_private
        _read_references(api, target)
        _read_files(api, target)
        _check_contents(api, target)
    except NETWORK_ERRORS as error:
        raise UploadError(f"{explain(error, repo_id)} Nothing was changed.") from error
    return target


def visibility(private: bool) -> str:
    return "private" if private else "public"


def references(api: HfApi, repo_id: str) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The commits of the branches and of the tags by name, and the references of the pull requests."""
    refs = api.list_repo_refs(repo_id, include_pull_requests=True)
    branches, tags = ({ref.name: ref.target_commit for ref in kind} for kind in (refs.branches, refs.tags))
    return branches, tags, sorted(ref.ref for ref in refs.pull_requests or [])


def _check_token() -> None:
    token = get_token()
    if not token:
        raise UploadError("There is no token for the Hub; run `hf auth login`, or set HF_TOKEN to one that may write.")
    if constants.HF_HUB_OFFLINE:
        raise UploadError("HF_HUB_OFFLINE is set, and publishing needs the Hub; unset it.")
    if not token.isascii():
        raise UploadError("The Hub does not accept the token (it has letters that no token has); set HF_TOKEN anew.")


def _check_rights(api: HfApi, target: Target) -> None:
    user = api.whoami()
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UploadError("The token may only read; set HF_TOKEN to one with write permission.")
    namespace = target.repo_id.split("/")[0]
    namespaces = [user["name"], *(each["name"] for each in user.get("orgs", []))]
    if namespace not in namespaces and not target.is_pull_request:
        raise UploadError(
            f"{user['name']} cannot write to {namespace}/; give a --repo-id that begins with "
            f"{' or '.join(f'{each}/' for each in namespaces)}, or --pr for a pull request."
        )


def _read_references(api: HfApi, target: Target) -> None:
    branches, tags, target.pull_requests = references(api, target.repo_id)
    if target.revision in tags:
        raise UploadError(f"{target.repo_id} has a tag {target.revision}; give --revision a branch.")
    target.branch_commit, target.tag_commit = branches.get(target.branch), tags.get(target.tag)
    target.head = target.branch_commit or branches.get("main")


def _read_files(api: HfApi, target: Target) -> None:
    if target.head:
        for file in api.list_repo_tree(target.repo_id, revision=target.head, recursive=True):
            if isinstance(file, RepoFile):
                target.files[file.path] = file.lfs.sha256 if file.lfs else file.blob_id


def _check_contents(api: HfApi, target: Target) -> None:
    """Raises an UploadError if the repository holds anything but an Audio Branch model."""
    contents = [name for name in target.files if name not in (".gitattributes", "README.md", "LICENSE")]
    others = [name for name in contents if not UPLOAD_ALLOWLIST.fullmatch(name)]
    if others or (contents and not _is_audio_branch(api, target)):
        listed = ", ".join((others or contents)[:5])
        raise UploadError(
            f"{target.repo_id} holds other contents ({listed}); choose another --repo-id, or delete them there."
        )


def _is_audio_branch(api: HfApi, target: Target) -> bool:
    if "config.json" not in target.files:
        return False
    with tempfile.TemporaryDirectory() as cache:
        path = api.hf_hub_download(target.repo_id, "config.json", revision=target.head, cache_dir=cache)
        try:
            return json.loads(Path(path).read_text(encoding="utf-8"))["model_type"] == "audio_branch"
        except (ValueError, TypeError, KeyError):
            return False
