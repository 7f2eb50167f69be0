"""Labelled recordings, and the check that each of them can be read before the training begins."""

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile
from rich.progress import track

from modeling_audio_branch.audio_input import load_audio


class DataError(ValueError):
    """The data or the options can't be used. The message says what was given, what is allowed and what to do."""


@dataclass
class Recording:
    """A labelled clip of speech.

    Args:
        audio: The path of an audio file, or the bytes of one.
        label: What is to be predicted, such as an emotion.
        speaker: Who speaks; None if that is unknown.
        name: What messages call the recording; by default its path.
        seconds: The duration, known once the file was decoded.
    """

    audio: Path | bytes
    label: str
    speaker: str | None = None
    name: str = ""
    seconds: float | None = None

    def __post_init__(self):
        self.name = self.name or str(self.audio)


def drop_unusable(recordings: list[Recording]) -> tuple[list[Recording], list[tuple[str, str]]]:
    """Decodes every recording once, so that an unreadable file is found before the training and not during it.

    Duplicates, such as the copies in some distributions of RAVDESS, are found by the hash of the file's bytes.

    Returns:
        The usable recordings with their duration in seconds, and (name, reason) of each recording that is left out.

    Raises:
        DataError: Fewer than two labels are left, or only some of the recordings have a speaker.
    """
    usable, left_out, names_by_hash = [], [], {}
    for recording in track(recordings, "Reading the recordings", transient=True):
        try:
            data, seconds = _read(recording.audio)
        except DataError as reason:
            left_out.append((recording.name, str(reason)))
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest in names_by_hash:
            left_out.append((recording.name, f"is the same audio as {names_by_hash[digest]}"))
            continue
        names_by_hash[digest] = recording.name
        usable.append(replace(recording, seconds=seconds))
    if len(labels := {recording.label for recording in usable}) < 2:
        raise DataError(f"The data has the labels {sorted(labels)}; give recordings of at least two labels.")
    unknown = sum(recording.speaker is None for recording in usable)
    if 0 < unknown < len(usable):
        raise DataError(f"{unknown} of {len(usable)} recordings have no speaker; name them, or leave them out.")
    return usable, left_out


def _read(audio: Path | bytes) -> tuple[bytes, float]:
    """An audio file's bytes and its duration in seconds; a DataError with the reason if it can't be used."""
    try:
        data = audio if isinstance(audio, bytes) else Path(audio).read_bytes()
        rate = soundfile.info(io.BytesIO(data)).samplerate
        samples = load_audio(data, rate)  # as training reads it
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        raise DataError(f"can't be read: {error}") from error
    return data, len(samples) / rate
