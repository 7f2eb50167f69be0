"""Errors of publishing. Each message is one sentence: what was given, what is allowed, what to do."""

from huggingface_hub.errors import HfHubHTTPError

from ..disk import disk_problem

# A server that answers with an error, and a server that does not answer. huggingface_hub 1 uses httpx, 2 uses httpx2.
NETWORK_ERRORS = (OSError, *HfHubHTTPError.__bases__)
CONFLICTS = (409, 412)  # HTTP status codes


class UploadError(Exception):
    """The checkpoint, the options or the Hub do not allow this upload."""


class CardError(ValueError):
    """The results or the options cannot be written on a model card."""


def explain(error: Exception, repo_id: str) -> str:
    """Describes an error of the Hub or of the network in one sentence that never contains the token."""
    if problem := disk_problem(error):
        return f"The disk of this machine cannot be written ({problem}); free some space, or set TMPDIR and HF_HOME."
    while isinstance(error, RuntimeError) and error.__cause__ is not None:  # wraps what happened to a large file
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return "The Hub does not accept the token; run `hf auth login` again, or set HF_TOKEN to a valid one."
    if status == 403:
        return f"The token may not write to {repo_id}; use a token with write permission for it."
    if status in CONFLICTS:
        return f"{repo_id} was changed by somebody else in the meantime."
    if status is not None:
        return f"The Hub answered with an error ({status})."
    if isinstance(error, ValueError):
        return f"The Hub does not accept the card's metadata ({' '.join(str(error).split())})."
    return f"The connection to the Hub was lost ({type(error).__name__})."


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class name if it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
