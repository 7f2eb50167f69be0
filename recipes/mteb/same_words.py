"""The task "same words, another speaker": a phrase by one speaker, sought among all phrases of another.

    pip install '.[mteb]' av
    python -m recipes.mteb.same_words                                  # ours and MFCCs
    python -m recipes.mteb.same_words --whisper FOLDER:LAYER           # and frozen Whisper; may be repeated

The recordings are those of `recipes.phrases.evaluate`: prompts of the asterisk telephone exchange by two speakers each
in Italian, French and Spanish, from Debian's packages (CC BY, CC BY-SA, BSD, GPL-2, by speaker), trimmed to their
speech. No internet but Debian's archive is needed. Subset `ita-1` is asked by the first speaker, `ita-2` by the second.
"""

import io
from pathlib import Path
from typing import Annotated

import mteb
import numpy as np
import soundfile
import typer
from datasets import Audio, Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from rich.console import Console
from rich.table import Table

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.cli.common import exit_on_error

from ..debian_audio import PACKAGES, install
from ..phrases.asterisk import SPEAKER_PAIRS
from ..phrases.audio import SAMPLE_RATE
from ..phrases.retrieval import load_pairs
from .baselines import mfcc_encoder, whisper_encoder
from .encoder import audio_branch_encoder

LANGUAGES = {"ita": "it", "fra": "fr", "spa": "es"}


class SameWordsAnotherSpeaker(AbsTaskRetrieval):
    """Audio to audio retrieval. There is one right recording for each query: the same prompt by the other speaker."""

    ignore_identical_ids = True
    metadata = TaskMetadata(
        name="SameWordsAnotherSpeaker",
        description="A phrase by one speaker, sought among all phrases of another speaker of the language.",
        reference="https://packages.debian.org/source/sid/asterisk-core-sounds",
        dataset={"path": "debian/asterisk-core-sounds", "revision": "1.6.1"},
        type="Any2AnyRetrieval",
        category="a2a",
        modalities=["audio"],
        eval_splits=["test"],
        eval_langs={f"{name}-{speaker}": [f"{name}-Latn"] for name in LANGUAGES for speaker in (1, 2)},
        main_score="hit_rate_at_1",
        date=("2005-01-01", "2020-12-31"),
        domains=["Spoken"],
        task_subtypes=["Duplicate Detection"],
        license="multiple",
        annotations_creators="derived",
        dialect=[],
        sample_creation="found",
        bibtex_citation="",
    )

    def load_data(self, **kwargs) -> None:
        """Reads the recordings from Debian's packages, which are downloaded once to data/."""
        if self.data_loaded:
            return
        self.dataset = {}
        for name, language in LANGUAGES.items():
            install(list(SPEAKER_PAIRS[language]), PACKAGES)
            first, second = map(audio_dataset, load_pairs(language))
            for speaker, (queries, corpus) in enumerate([(first, second), (second, first)], start=1):
                relevant = {f"q{row}": {f"d{row}": 1} for row in range(len(queries))}
                self.dataset[f"{name}-{speaker}"] = {
                    "test": {
                        "queries": queries.add_column("id", list(relevant)),
                        "corpus": corpus.add_column("id", [f"d{row}" for row in range(len(corpus))]),
                        "relevant_docs": relevant,
                        "top_ranked": None,
                    }
                }
        self.data_loaded = True


def audio_dataset(clips: list[np.ndarray]) -> Dataset:
    """Clips at 8 kHz as wav files in the column "audio"."""
    return Dataset.from_dict({"audio": [{"bytes": wav(clip), "path": None} for clip in clips]}).cast_column(
        "audio", Audio()
    )


def wav(clip: np.ndarray) -> bytes:
    """A wav file of float32 samples, so that nothing is rounded."""
    file = io.BytesIO()
    soundfile.write(file, clip, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def main(
    checkpoint: Annotated[list[Path], typer.Option(help="Folder of a checkpoint; may be repeated.")] = [  # noqa: B006
        Path("checkpoints/phrases")
    ],
    whisper: Annotated[
        list[str] | None, typer.Option(help="FOLDER:LAYER of a Whisper in Transformers' format; may be repeated.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Clips that MTEB decodes at a time.")] = 32,
    output: Annotated[Path, typer.Option(help="Folder of MTEB's results, which are not computed twice.")] = Path(
        "outputs/mteb"
    ),
) -> None:
    """Runs the task for checkpoints and baselines, and prints recall at 1 in percent."""
    with exit_on_error():
        baselines = [mfcc_encoder(), *map(whisper_encoder, whisper or [])]
    encoders = [
        audio_branch_encoder(AudioBranchModel.from_pretrained(path).eval(), f"audio-branch/{path.name}")
        for path in checkpoint
    ]
    encoders += baselines
    task, cache = SameWordsAnotherSpeaker(), mteb.ResultCache(output)
    table = Table(title="Same words, another speaker: recall at 1, percent", box=None)
    for column in ("model", "dim", *LANGUAGES, "mean"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for encoder in encoders:
        result = mteb.evaluate(encoder, task, cache=cache, encode_kwargs={"batch_size": batch_size})
        scores = {row["hf_subset"]: row["main_score"] for row in result.task_results[0].scores["test"]}
        means = [50 * (scores[f"{name}-1"] + scores[f"{name}-2"]) for name in LANGUAGES]
        meta = encoder.mteb_model_meta
        table.add_row(meta.name, str(meta.embed_dim), *(f"{each:.1f}" for each in [*means, np.mean(means)]))
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
