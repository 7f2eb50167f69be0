"""What several commands share: errors of one sentence, and loading any Audio Branch checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification
from transformers.utils import logging

from ..hub.errors import first_line
from ..modeling_audio_branch import AudioBranchPreTrainedModel

CHECKOUT_CHECKPOINT = Path(__file__).parents[2] / "checkpoints" / "phrases"
MODEL_HELP = "Folder or Hub repository of a checkpoint; in a checkout, checkpoints/phrases if left out."
TRUST_HELP = "Run the code that comes with the checkpoint."


@contextmanager
def exit_on_error(*kinds: type[Exception]) -> Iterator[None]:
    """Turns an error that bad input causes into one line on stderr and the exit code 1. `kinds` limits it to these."""
    kinds = kinds or (OSError, ValueError, TypeError, ImportError)
    try:
        yield
    except kinds as error:
        typer.echo(first_line(error), err=True)
        raise typer.Exit(1) from None


def load_model(name: str | None, trust_remote_code: bool) -> AudioBranchPreTrainedModel:
    """The model of a checkpoint, in eval mode: a classifier if it was saved as one, else an [`AudioBranchModel`].

    Args:
        name: Folder or Hub repository; None is the checkpoint of the checkout.
        trust_remote_code: Run the code that comes with the checkpoint.

    Raises:
        ValueError: One sentence if the model cannot be loaded or is no Audio Branch model.
    """
    name = name or default_checkpoint()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
        is_classifier = any("AudioClassification" in each for each in config.architectures or ())
        auto_class = AutoModelForAudioClassification if is_classifier else AutoModel
        model = auto_class.from_pretrained(name, trust_remote_code=trust_remote_code)
    except Exception as error:  # a folder from anywhere may be wrong in any way
        raise ValueError(f"The model {name!r} cannot be loaded: {first_line(error)}") from error
    if config.model_type != "audio_branch":
        raise ValueError(f"The model {name!r} is a {type(model).__name__}; give a checkpoint of Audio Branch.")
    return model


def default_checkpoint() -> str:
    """The checkpoint of the checkout; a ValueError where the package is installed without one."""
    if not CHECKOUT_CHECKPOINT.is_dir():
        raise ValueError("No model was given, and the installed package has none; give a folder or a Hub repository.")
    return str(CHECKOUT_CHECKPOINT)
