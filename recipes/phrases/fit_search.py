"""Measures what searching with a checkpoint needs (see `SearchSettings`), and writes its search.safetensors.

    python -m recipes.phrases.prepare
    python -m recipes.phrases.fit_search checkpoints/phrases

No recording of the test is used. Mean, deviation and components of the frames are those of 900 recordings of people.
For the calibration, each phrase of Kajongg's 8 speakers, who are the development set, is sought in recordings of the
others and in those 900. A logistic regression then says how probable it is that a hit of a score is the
same phrase.
"""

import random
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import torch
import typer
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.corpus import AudioIndex
from modeling_audio_branch.corpus.settings import FILE, SearchSettings

from ..debian_audio import KAJONGG, PACKAGES, install, kajongg_phrases
from .audio import SAMPLE_RATE, read_speech
from .transcripts import TRAINING_PACKAGES, transcripts

ATTENTION_WINDOW = 8  # encoder frames on each side; docs/searching.md says how it was chosen
RECORDINGS, TAPE_CLIPS, PAUSE_SECONDS = 900, 30, 0.4
TOP = 10


def write_tapes(folder: Path, name: str, clips: list[np.ndarray], clips_per_tape: int) -> list[list[float]]:
    """Writes clips one behind the other with pauses between them; returns where they start on each tape, in seconds."""
    pause = np.zeros(int(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
    starts = []
    for first in range(0, len(clips), clips_per_tape):
        group = clips[first : first + clips_per_tape]
        ends = np.cumsum([len(clip) + len(pause) for clip in group])
        starts.append([0.0, *(ends[:-1] / SAMPLE_RATE).tolist()])
        tape = np.concatenate([part for clip in group for part in (clip, pause)])
        soundfile.write(folder / f"{name}_{first:04d}.wav", 0.5 * tape, SAMPLE_RATE)
    return starts


def training_speech(generator: random.Random) -> list[np.ndarray]:
    """Recordings of people who play games and speak none of the test's prompts, trimmed."""
    clips = []
    for each in track(generator.sample(transcripts(PACKAGES), RECORDINGS), "Reading recordings"):
        try:
            clips.append(read_speech(each.path))
        except ValueError:  # a file without samples
            continue
    return clips


def measure_statistics(model: AudioBranchModel, tapes: Path, attention_window: int) -> SearchSettings:
    """Mean, deviation and components of the encoder frames of the recordings in a folder."""
    settings = SearchSettings(attention_window)
    index = AudioIndex(tapes / "none", model, settings)
    parts = [part for path in sorted(tapes.glob("*.wav")) for part in index.recording_frames(path)[0]]
    settings.measure(torch.cat(parts))
    return settings


def scored_hits(index: AudioIndex, phrases: dict, starts: dict) -> tuple[np.ndarray, np.ndarray]:
    """Score and log number of frames (hits, 2) of what is found for each speaker's phrases, and whether it is right.

    Args:
        index: Holds the speakers' tapes and others.
        phrases: (language, speaker) -> clips, in the same order for every speaker of a language.
        starts: (language, speaker) -> where each is on the speaker's tape, in seconds.
    """
    features, right = [], []
    for (language, speaker), clips in track(phrases.items(), "Searching"):
        others = [recording.file for recording in index.recordings()]
        others = [file for file in others if Path(file).name != f"{language}_{speaker}_0000.wav"]
        for number, clip in enumerate(clips):
            num_frames = len(index.phrase_frames(clip, SAMPLE_RATE))
            for hit in index.find(clip, TOP, SAMPLE_RATE, recordings=others):
                name = tuple(Path(hit.file).stem.rsplit("_", 1)[0].split("_"))
                said = np.searchsorted(starts.get(name, []), (hit.start + hit.end) / 2, side="right") - 1
                features.append([hit.score, np.log(num_frames)])
                right.append(name[0] == language and said == number)
    return np.array(features), np.array(right)


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint; search.safetensors is written there.")],
    attention_window: Annotated[int, typer.Option(help="Encoder frames on each side.")] = ATTENTION_WINDOW,
) -> None:
    """Measures what searching with a checkpoint needs, and writes its search.safetensors."""
    install([*TRAINING_PACKAGES, KAJONGG], PACKAGES)
    model, generator = AudioBranchModel.from_pretrained(checkpoint), random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "tapes")
        folder.mkdir()
        write_tapes(folder, "training", training_speech(generator), TAPE_CLIPS)
        settings = measure_statistics(model, folder, attention_window)
        phrases, starts = {}, {}
        for language, speakers in kajongg_phrases().items():
            for number, paths in enumerate(speakers):
                clips = [read_speech(path) for path in paths]
                phrases[language, str(number)] = clips
                (starts[language, str(number)],) = write_tapes(folder, f"{language}_{number}", clips, len(clips))
        index = AudioIndex(Path(temporary, "index"), model, settings)
        index.add(folder, show_progress=True)
        features, right = scored_hits(index, phrases, starts)
    fitted = LogisticRegression(C=1e6).fit(features, right)
    settings.calibration = torch.tensor([*fitted.intercept_, *fitted.coef_[0]], dtype=torch.float32)
    settings.save(checkpoint / FILE)
    first = right.reshape(-1, TOP)[:, 0].mean() if len(right) % TOP == 0 else float("nan")
    typer.echo(f"{checkpoint / FILE}: {len(right)} hits, {right.mean():.3f} right, the first {first:.3f}")
    typer.echo(f"calibration {settings.calibration.tolist()}")


if __name__ == "__main__":
    typer.run(main)
