"""A phrase in a longer recording on the page."""

from dataclasses import dataclass
from pathlib import Path

from ..corpus import AudioIndex, write_cutouts
from ..hub.writing import temporary_folder
from ..modeling_audio_branch import AudioBranchPreTrainedModel
from ..plots import plot_hit, save_figure
from .segments import check_length

TOP = 5
MAX_RECORDING_SECONDS = 1800


@dataclass
class PhraseHits:
    """Where a phrase was found.

    Args:
        names: Of the hits, with time and score, the best first.
        sounds: The path of a wav file of each.
        picture: Path of the figure of the best hit; None without any.
        sentence: How many there are.
    """

    names: list[str]
    sounds: list[str]
    picture: str | None
    sentence: str


def find_phrase(model: AudioBranchPreTrainedModel, phrase: str, recording: str, folder: Path) -> PhraseHits:
    """Seeks a phrase, by anybody, in a recording.

    Raises:
        ValueError, TypeError, OSError: One sentence if a file can't be read, the phrase is not of 0.2 to 20 s, or the
            model can't search, or the recording is longer than half an hour.
    """
    check_length(recording, model.config.sample_rate, MAX_RECORDING_SECONDS)
    with temporary_folder("audio-branch-index") as temporary:
        index = AudioIndex(temporary / "index", model.base_model)
        index.add([recording])
        hits = index.find(phrase, TOP)
        if not hits:
            return PhraseHits([], [], None, "The phrase was not found; give a longer recording, or another phrase.")
        save_figure(plot_hit(index, phrase, hits[0]), folder / "hit.png", 110)
    sounds = [str(path) for path in write_cutouts(hits, folder)]
    names = [_name(rank, hit) for rank, hit in enumerate(hits, 1)]
    count = f"{len(hits)} places" if len(hits) > 1 else "One place"
    return PhraseHits(names, sounds, str(folder / "hit.png"), f"{count}, the best first; choose one to hear it.")


def _name(rank, hit):
    chance = "" if hit.probability is None else f", probability {hit.probability:.0%}"
    minutes, seconds = divmod(hit.start, 60)
    return f"{rank}. at {int(minutes)}:{seconds:05.2f}, {hit.end - hit.start:.2f} s, score {hit.score:.2f}{chance}"
