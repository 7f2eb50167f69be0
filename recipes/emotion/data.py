"""Loaders of labelled speech: RAVDESS, CREMA-D, a folder for each label, CSV files and data sets of the Hub."""

import csv
from pathlib import Path

from recipes.emotion.recordings import DataError, Recording

# The third number of a RAVDESS file name.
RAVDESS_EMOTIONS = dict(enumerate("neutral calm happy sad angry fearful disgust surprised".split(), start=1))
# The third part of a CREMA-D file name.
CREMA_D_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def load_recordings(
    kind: str,
    source: str,
    split: str = "train",
    audio: str | None = None,
    label: str = "label",
    speaker: str | None = None,
) -> list[Recording]:
    """Recordings of any supported kind of data.

    Args:
        kind: ravdess, crema-d, folder, csv or hub.
        source: The folder, the CSV file, or the name of the data set on the Hub.
        split: The split of a data set of the Hub.
        audio, label, speaker: Columns of a CSV file or a data set of the Hub. None means the default names: "path" or
            "audio", and "speaker" if there is such a column.

    Raises:
        DataError: `kind` is unknown, or the data can't be loaded.
    """
    if kind in FOLDER_LOADERS:
        return FOLDER_LOADERS[kind](Path(source))
    if kind == "csv":
        return load_csv(Path(source), audio or "path", label, speaker)
    if kind == "hub":
        return load_hub_dataset(source, split, audio or "audio", label, speaker)
    raise DataError(f"{kind!r} is not a supported kind of data; give {', '.join(FOLDER_LOADERS)}, csv or hub.")


def load_ravdess(folder: Path) -> list[Recording]:
    """RAVDESS speech, in the published layout: Actor_01/03-01-06-01-02-01-12.wav.

    The numbers are modality (03 is audio only), channel (01 is speech), emotion, intensity, statement, repetition and
    actor. Songs and videos are skipped.

    Raises:
        DataError: The folder of an actor is missing or contains no speech.
    """
    recordings = []
    for actor in range(1, 25):
        actor_folder = Path(folder) / f"Actor_{actor:02d}"
        if not actor_folder.is_dir():
            raise DataError(
                f"{actor_folder} is missing; RAVDESS has a folder for each of 24 actors: unpack the whole archive."
            )
        paths = _wav_files(actor_folder.iterdir())
        speech = [recording for path in paths if (recording := _ravdess_recording(path, actor))]
        if not speech:
            raise DataError(
                f"{actor_folder} contains no speech of RAVDESS (03-01-*.wav); unpack Audio_Speech_Actors_01-24."
            )
        recordings += speech
    return recordings


def _ravdess_recording(path: Path, actor: int) -> Recording | None:
    """A file in the folder of `actor`; None if it is a song or a video."""
    codes = path.stem.split("-")
    if len(codes) != 7 or not all(code.isdecimal() for code in codes) or int(codes[2]) not in RAVDESS_EMOTIONS:
        raise DataError(f"{path} has no file name of RAVDESS (03-01-06-01-02-01-12.wav); move it elsewhere.")
    modality, channel, emotion, *_, speaker = codes
    if modality != "03" or channel != "01":
        return None
    if int(speaker) != actor:
        raise DataError(f"{path} is a recording of actor {speaker}; move it to the folder of that actor.")
    return Recording(path, RAVDESS_EMOTIONS[int(emotion)], f"{actor:02d}")


def load_crema_d(folder: Path) -> list[Recording]:
    """CREMA-D, in the published layout: AudioWAV/1001_DFA_ANG_XX.wav (actor, sentence, emotion, intensity)."""
    recordings = []
    for path in _wav_files(Path(folder).rglob("*")):
        parts = path.stem.split("_")
        if len(parts) != 4 or parts[2] not in CREMA_D_EMOTIONS:
            raise DataError(f"{path} has no file name of CREMA-D (1001_DFA_ANG_XX.wav); move it elsewhere.")
        recordings.append(Recording(path, CREMA_D_EMOTIONS[parts[2]], parts[0]))
    if not recordings:
        raise DataError(f"{folder} contains no WAV files; give the folder AudioWAV of CREMA-D.")
    return recordings


def _wav_files(paths) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() == ".wav")


def load_folder(folder: Path) -> list[Recording]:
    """A folder for each label: happy/anna-01.wav. The part of the file name before the first hyphen is the speaker."""
    recordings = [
        Recording(path, path.parent.name, path.stem.split("-")[0] if "-" in path.stem else None)
        for path in sorted(Path(folder).glob("*/*"))
        if path.suffix.lower() in AUDIO_SUFFIXES
    ]
    if not recordings:
        raise DataError(
            f"{folder} contains no audio; give a folder with one subfolder of {', '.join(AUDIO_SUFFIXES)} files for "
            f"each label."
        )
    return recordings


def load_csv(path: Path, audio: str = "path", label: str = "label", speaker: str | None = None) -> list[Recording]:
    """A CSV file in UTF-8.

    Args:
        path: The file.
        audio: Column of the audio files, whose paths are relative to the CSV file.
        label: Column of the labels.
        speaker: Column of the speakers; None means "speaker" if there is such a column.

    Raises:
        DataError: The file can't be read, a column is missing, or a cell is empty.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}); give a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}); save it as one.") from error
    columns = [name for name in (lines[0] if lines else []) if name]
    speaker = _speaker_column(path, columns, audio, label, speaker)
    recordings = []
    for number, line in enumerate(lines, start=2):
        cells = {name: (line.get(name) or "").strip() for name in (audio, label, speaker)}
        if empty := [name for name in (audio, label) if not cells[name]]:
            raise DataError(f"{path}, line {number}, has no {empty[0]}; fill it in, or delete the line.")
        recordings.append(Recording(path.parent / cells[audio], cells[label], cells[speaker] or None))
    return recordings


def load_hub_dataset(
    name: str, split: str, audio: str = "audio", label: str = "label", speaker: str | None = None
) -> list[Recording]:
    """A data set of the Hub. `datasets` doesn't decode the audio, since that would need FFmpeg.

    Raises:
        DataError: The data set can't be loaded, a column is missing, or a row has no audio or no label.
    """
    from datasets import Audio, ClassLabel, load_dataset

    try:
        data = load_dataset(name, split=split)
    except (OSError, ValueError) as error:  # it doesn't exist, has no such split, or there is no connection
        raise DataError(f"{name} can't be loaded: {' '.join(str(error).split())}") from error
    speaker = _speaker_column(name, data.column_names, audio, label, speaker)
    data = data.cast_column(audio, Audio(decode=False))
    label_feature = data.features[label]
    recordings = []
    for number, row in enumerate(data):
        if row[label] is None or row[label] == -1:  # data sets mark a missing label in either way
            raise DataError(f"{name}, row {number}, has no {label}; filter such rows out, or use another split.")
        if row[audio] is None:
            raise DataError(f"{name}, row {number}, has no {audio}; filter such rows out.")
        is_class_label = isinstance(label_feature, ClassLabel)
        text = label_feature.int2str(row[label]) if is_class_label else str(row[label]).strip()
        source = row[audio]["bytes"] if row[audio]["bytes"] is not None else row[audio]["path"]
        person = row.get(speaker)
        person = None if person is None else str(person).strip() or None
        recordings.append(Recording(source, text, person, name=f"row {number}"))
    return recordings


def _speaker_column(source, columns: list[str], audio: str, label: str, speaker: str | None) -> str:
    """The column of the speakers. The default, "speaker", may be missing; any other column must exist."""
    needed = [audio, label] if speaker is None else [audio, label, speaker]
    if missing := [column for column in needed if column not in columns]:
        existing = ", ".join(columns) or "no columns"
        raise DataError(f"{source} has no column {' or '.join(missing)}, but {existing}; give the name of yours.")
    return speaker or "speaker"


FOLDER_LOADERS = {"ravdess": load_ravdess, "crema-d": load_crema_d, "folder": load_folder}
