r"""Writes a folder of checkpoints: the weights in half precision, their results and a card.

    python -m recipes.phrases.train --start outputs/phrases --steps 60 --seconds 60 --learning-rate 3e-4 \
        --pooling avg --output outputs/poolings/avg    # likewise for other poolings, and with --num-segments 1
    python -m recipes.phrases.evaluate --no-dtw --output outputs/poolings.json outputs/poolings/*
    python -m recipes.phrases.ship

The folder holds no code: it loads where this package is imported. `audio-branch push` makes a repository of it that
loads anywhere, and keeps the weights, results, card and licence as they are here.
"""

import json
import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch.nn import functional as F

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error
from modeling_audio_branch.disk import DiskError, writing
from modeling_audio_branch.hub.repository import license_text

from ..debian_audio import kajongg_phrases
from ..emotion.resume import last_checkpoint
from .audio import read_speech
from .embedding import embed
from .evaluate import TRIMMED, evaluate, write_results
from .report import number_words_table, print_results, retrieval_table, robustness_table
from .results import PhraseResults, read_results
from .training_log import read_training, training_table

CARD_TEMPLATE = Path(__file__).with_name("card_template.md")
METHOD = "this model"  # as the results call it


def half_precision_state(model) -> dict[str, torch.Tensor]:
    """The state with parameters in half precision; buffers (windows, filters) keep theirs."""
    parameters = {name for name, _ in model.named_parameters()}
    return {name: value.half() if name in parameters else value for name, value in model.state_dict().items()}


def save_without_code(model, folder: Path) -> None:
    """Saves weights, settings and the files of sentence-transformers, without code and the settings that name it."""
    model.save_pretrained(folder, state_dict=half_precision_state(model))
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(folder)
    for path in folder.glob("*.py"):
        path.unlink()
    for path in (folder / "config.json", folder / "preprocessor_config.json"):
        settings = json.loads(path.read_text())
        settings = {name: value for name, value in settings.items() if name not in ("auto_map", "custom_pipelines")}
        (settings.get("encoder_config") or {}).pop("_name_or_path", None)  # a folder of this machine
        path.write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "model.safetensors").chmod(0o644)


def pooling_section(path: Path) -> str:
    """A table of the compared poolings if their results exist, else ""."""
    if not path.exists():
        return ""
    compared = [row for row in read_results(path).retrieval if "/" in row.method]  # checkpoints, not baselines
    table = retrieval_table([replace(row, method=Path(row.method).name) for row in compared])
    return (
        f"\nThe gain by segments, and the four poolings: this model, trained for 60 more steps with each:\n\n{table}\n"
    )


def render_card(
    template: Path, results: PhraseResults, training: str, poolings: str, parameters: int, steps: int, cosine: float
) -> str:
    """The card: its tables of results and of the training, the number of parameters, the steps, and the least cosine
    of the rounding.
    """
    trimmed = [
        replace(each, method=METHOD, condition=f"{each.condition}, {TRIMMED}")
        for each in results.robustness
        if each.method == f"{METHOD}, {TRIMMED}" and "silence" in each.condition
    ]
    return template.read_text(encoding="utf-8").format(
        parameters=parameters / 1e6,
        training=training,
        phrases=retrieval_table(results.retrieval),
        robustness=robustness_table(results.robustness + trimmed, METHOD),
        numbers=number_words_table(results.number_words),
        poolings=poolings,
        steps=steps,
        cosine=cosine,
    )


def rounding_cosine(rounded, model) -> float:
    """The least cosine of a segment's features by both models, over the development recordings."""
    paths = [path for speakers in kajongg_phrases().values() for speaker in speakers for path in speaker]
    clips = [read_speech(path) for path in paths]
    return F.cosine_similarity(embed(rounded, clips), embed(model, clips), dim=-1).min().item()


def main(
    source: Annotated[Path, typer.Option(help="Folder of the trained model")] = Path("outputs/phrases"),
    poolings: Annotated[Path, typer.Option(help="Results of other poolings")] = Path("outputs/poolings.json"),
    target: Annotated[Path, typer.Option(help="Folder to write or replace")] = Path("checkpoints/phrases"),
    template: Annotated[Path, typer.Option(help="The card without its figures")] = CARD_TEMPLATE,
    whisper: Annotated[list[str], typer.Option(help="FOLDER:LAYER of frozen Whisper encoders; -1: the last")] = [],  # noqa: B006
) -> None:
    """Writes the trained model, its results and its card to the folder that ships."""
    model = AudioBranchModel.from_pretrained(source).eval()
    model.config.apply_spec_augment = False  # left to whoever fine-tunes the model
    model.config.embedding_output = "sequence_embedding"  # one vector of a clip: its segments in order
    state = Path(last_checkpoint(source / "training")) / "trainer_state.json"
    steps = json.loads(state.read_text())["global_step"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with exit_on_error(DiskError), writing(target), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        complete = Path(folder) / "complete"  # replaces the target once everything is in it
        save_without_code(model, complete)
        results = evaluate({METHOD: complete}, whisper=whisper)
        print_results(results)
        write_results(results, METHOD, complete / "results.json")
        cosine = rounding_cosine(AudioBranchModel.from_pretrained(complete).eval(), model)
        cosine = math.floor(1e5 * cosine) / 1e5  # "at least", with five digits
        training = training_table(read_training(source))
        card = render_card(
            template, results, training, pooling_section(poolings), model.num_parameters(), steps, cosine
        )
        (complete / "README.md").write_text(card, encoding="utf-8")
        (complete / "LICENSE").write_text(license_text(), encoding="utf-8")  # the weights are under that of the code
        shutil.rmtree(target, ignore_errors=True)
        complete.rename(target)
    print(f"{target}: {model.num_parameters():,} parameters, cosine to float32 at least {cosine:.6f}")


if __name__ == "__main__":
    typer.run(main)
