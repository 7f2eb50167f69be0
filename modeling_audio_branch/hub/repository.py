"""The folder that becomes the repository: weights, configurations, code, card, licence, and a golden output."""

import importlib.metadata
import re
import shutil
from pathlib import Path

from safetensors.torch import save_file

from ..corpus.compression import FILE as ROTATION_FILE
from ..corpus.compression import read_rotation, save_rotation
from ..corpus.errors import CorpusError
from ..corpus.settings import FILE as SEARCH_FILE
from ..corpus.settings import read_settings
from . import clean_room
from .card import Statements, eval_results_yaml, task_of, write_card
from .checkpoint import CHECKPOINT_FILES, copy_weights
from .clean_room import Expectation
from .errors import UploadError
from .facts import golden_output, measure
from .licensing import write_licenses
from .snippet import usage_snippet, with_output
from .writing import temporary_folder

REQUIREMENTS = ["torch>=2.9,<2.15", "torchaudio>=2.9", "transformers>=5.23,<6", "safetensors", "soundfile>=0.13"]
HANDLER = Path(__file__).with_name("handler.py")
ONNX_FILES = ("model.onnx", "model_int8.onnx", "preprocess.json")
UPLOAD_ALLOWLIST = re.compile(
    "|".join(
        [CHECKPOINT_FILES.pattern, r"\.eval_results/[a-z0-9_-]+\.yaml", *(rf"onnx/{re.escape(n)}" for n in ONNX_FILES)]
    )
)
ALLOWED = [
    *("safetensors weights", "the configurations", "the model's code", "the card", "results.json", "the licences"),
    *(
        "requirements.txt",
        "the search settings",
        "the rotation",
        "handler.py",
        "the files of sentence-transformers",
        "onnx/",
    ),
]


def assemble(
    checkpoint: Path, model, extractor, folder: Path, repo_id: str, statements: Statements, endpoint: bool = False
) -> Expectation:
    """Writes the repository to an empty folder and verifies it in a clean process.

    Args:
        checkpoint: The folder with the weights, which are published as they are stored.
        model: The model in that folder.
        extractor: Its feature extractor.
        folder: Where to write.
        repo_id: USER/NAME on the Hub, for the card.
        statements: What the publisher and the checkpoint folder state.
        endpoint: Also write handler.py, for Inference Endpoints.

    Returns:
        What the published repository must give, too.

    Raises:
        UploadError: The folder does not load, or does not give the golden output.
    """
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    stored_dtype = copy_weights(checkpoint, folder)
    golden = golden_output(model)
    for name, value in golden.items():
        if not value.isfinite().all() or not value.any():
            raise UploadError(f"The model gives {name} that are all 0 or not finite; train it, or repair its weights.")
    facts = measure(model, repo_id, golden, stored_dtype)
    expected = Expectation(folder / "golden.safetensors", facts.tolerance, facts.is_classifier)
    save_file(golden, expected.golden, metadata={"tolerance": str(facts.tolerance)})
    (folder / "requirements.txt").write_text("\n".join(REQUIREMENTS) + "\n", encoding="utf-8")
    write_licenses(folder, statements.license, license_text())
    copy_corpus_settings(checkpoint, folder, model)
    if endpoint:
        shutil.copyfile(HANDLER, folder / HANDLER.name)
    if statements.results_file is not None:
        shutil.copyfile(statements.results_file, folder / "results.json")
    expected.printed = clean_room.verify_in_clean_process(str(folder), None, expected)
    card = write_card(facts, statements, with_output(usage_snippet(repo_id), expected.printed))
    (folder / "README.md").write_text(card, encoding="utf-8")
    if statements.results and (entries := eval_results_yaml(statements.results, task_of(facts))):
        (folder / ".eval_results").mkdir()
        (folder / ".eval_results" / "audio_branch.yaml").write_text(entries, encoding="utf-8")
    check_allowlist(folder)
    return expected


def copy_corpus_settings(checkpoint: Path, folder: Path, model) -> None:
    """Copies the search settings and the rotation that a checkpoint has; an UploadError if they don't fit the model."""
    try:
        if (checkpoint / SEARCH_FILE).is_file():
            read_settings(checkpoint / SEARCH_FILE, model.config.d_model).save(folder / SEARCH_FILE)
        if (checkpoint / ROTATION_FILE).is_file():
            save_rotation(read_rotation(checkpoint / ROTATION_FILE, model.config.feature_dim), folder)
    except CorpusError as error:
        raise UploadError(str(error)) from error


def add_onnx(model, folder: Path, repo_id: str) -> None:
    """Writes the model as ONNX to the subfolder `onnx`, in float32 and, where that keeps the numbers, in int8.

    Raises:
        UploadError: The model can't be exported, or the libraries are missing.
    """
    from ..export import export_model  # slow to import, and rarely needed
    from ..export.errors import ExportError, Int8Error

    source = "features" if model.config.encoder_config else "raw"
    with temporary_folder("onnx") as temporary:
        try:
            try:
                export_model(model, temporary / "onnx", source=source, int8=True, name=repo_id)
            except Int8Error as error:
                print(error)
                export_model(model, temporary / "onnx", source=source, name=repo_id)
        except (ExportError, ImportError) as error:
            raise UploadError(f"--onnx: {error}") from error
        (folder / "onnx").mkdir()
        for name in ONNX_FILES:
            if (temporary / "onnx" / name).is_file():
                shutil.copyfile(temporary / "onnx" / name, folder / "onnx" / name)


def license_text() -> str:
    """The Apache licence of the code, from the checkout or from the installed package."""
    checkout = Path(__file__).parents[2]
    if (checkout / "hub_upload.py").is_file():  # site-packages has none
        return (checkout / "LICENSE").read_text(encoding="utf-8")
    return importlib.metadata.distribution("audio-branch").read_text("licenses/LICENSE")


def check_allowlist(folder: Path) -> list[str]:
    """The names of the files in a folder. Raises an UploadError if one of them may not be uploaded."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    if outside := [name for name in names if not UPLOAD_ALLOWLIST.fullmatch(name) or (folder / name).is_symlink()]:
        raise UploadError(f"{', '.join(outside)} may not be published: only {', '.join(ALLOWED)} may.")
    return names
