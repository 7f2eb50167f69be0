"""Labelled speech for fine-tuning: RAVDESS, CREMA-D, folders, CSV files, data sets of the Hub; splits by speaker.

Every loader gives rows {"audio": path or bytes, "label": str, "speaker": str or None}.
"""

import csv
import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import soundfile
from rich.progress import track
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

EMOTIONS = dict(enumerate("neutral calm happy sad angry fearful disgust surprised".split(), start=1))  # of RAVDESS
CREMA_EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
# EmoBox (Ma et al. 2024): the actors of each of the 6 folds of RAVDESS.
EMOBOX_FOLDS = {
    **{1: (1, 11, 20, 21), 2: (4, 10, 12, 14), 3: (8, 9, 19, 23)},
    **{4: (3, 5, 7, 24), 5: (2, 15, 16, 18), 6: (6, 13, 17, 22)},
}
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class DataError(ValueError):
    """One sentence: what was found, what is needed, what to do."""


def ravdess(folder: Path) -> list[dict]:
    """RAVDESS speech, in the published layout: Actor_01/03-01-06-01-02-01-12.wav.

    The numbers are modality (03 is audio alone), channel (01 is speech), emotion, intensity, statement, repetition,
    actor. Songs and videos are passed over.

    Raises:
        DataError: An actor's folder is missing, or holds no speech.
    """
    rows = []
    for actor in range(1, 25):
        place = Path(folder) / f"Actor_{actor:02d}"
        if not place.is_dir():
            raise DataError(
                f"{place} is missing; RAVDESS has a folder for each of 24 actors: unpack the archive whole."
            )
        found = []
        for path in sorted(path for path in place.iterdir() if path.suffix.lower() == ".wav"):
            codes = path.stem.split("-")
            if len(codes) != 7 or not all(code.isdecimal() for code in codes) or int(codes[2]) not in EMOTIONS:
                raise DataError(f"{path} has no name of RAVDESS (03-01-06-01-02-01-12.wav); move it elsewhere.")
            if codes[0] != "03" or codes[1] != "01":
                continue
            if int(codes[6]) != actor:
                raise DataError(f"{path} is of actor {codes[6]}; it belongs in another folder.")
            found.append({"audio": path, "label": EMOTIONS[int(codes[2])], "speaker": f"{actor:02d}"})
        if not found:
            raise DataError(f"{place} holds no speech of RAVDESS (03-01-*.wav); unpack Audio_Speech_Actors_01-24.")
        rows += found
    return rows


def crema_d(folder: Path) -> list[dict]:
    """CREMA-D, in the published layout: AudioWAV/1001_DFA_ANG_XX.wav (actor, sentence, emotion, intensity)."""
    rows = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() == ".wav"):
        parts = path.stem.split("_")
        if len(parts) != 4 or parts[2] not in CREMA_EMOTIONS:
            raise DataError(f"{path} has no name of CREMA-D (1001_DFA_ANG_XX.wav); move it elsewhere.")
        rows.append({"audio": path, "label": CREMA_EMOTIONS[parts[2]], "speaker": parts[0]})
    if not rows:
        raise DataError(f"{folder} holds no wav files; give the folder AudioWAV of CREMA-D.")
    return rows


def audio_folder(folder: Path) -> list[dict]:
    """A folder for each label: happy/anna-01.wav. What stands before the first hyphen is the speaker."""
    rows = [
        {"audio": path, "label": path.parent.name, "speaker": path.stem.split("-")[0] if "-" in path.stem else None}
        for path in sorted(Path(folder).glob("*/*"))
        if path.suffix.lower() in AUDIO_SUFFIXES
    ]
    if not rows:
        raise DataError(f"{folder} holds no audio; it needs a folder for each label, with {', '.join(AUDIO_SUFFIXES)}.")
    return rows


def table(path: Path, audio="path", label="label", speaker: str | None = None) -> list[dict]:
    """A CSV file (UTF-8) with columns for the audio files, relative to it, for the labels and, if known, the speakers.

    Raises:
        DataError: It can't be read, a column is missing, or a cell is empty.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}); give a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8 ({error}); save it as one.") from error
    speaker = _check_columns(path, [name for name in (lines[0] if lines else []) if name], audio, label, speaker)
    rows = []
    for number, line in enumerate(lines, start=2):
        cells = {name: (line.get(name) or "").strip() for name in (audio, label, speaker)}
        if empty := [name for name in (audio, label) if not cells[name]]:
            raise DataError(f"{path}, line {number}, has no {empty[0]}; fill it in, or delete the line.")
        rows.append({"audio": path.parent / cells[audio], "label": cells[label], "speaker": cells[speaker] or None})
    return rows


def _check_columns(name, columns: list[str], audio: str, label: str, speaker: str | None) -> str:
    """The column of the speakers: the one that was asked for, or `speaker`, which may be missing."""
    needed = [audio, label] if speaker is None else [audio, label, speaker]
    if missing := [column for column in needed if column not in columns]:
        there = ", ".join(columns) or "no columns"
        raise DataError(f"{name} has no column {' or '.join(missing)}, but {there}; name yours.")
    return speaker or "speaker"


def hub_dataset(name: str, split: str, audio="audio", label="label", speaker: str | None = None) -> list[dict]:
    """A data set of the Hub. Its audio is not decoded by `datasets`, which would need FFmpeg.

    Raises:
        DataError: It can't be loaded, a column is missing, or a row has no audio or label.
    """
    from datasets import Audio, ClassLabel, load_dataset

    try:
        data = load_dataset(name, split=split)
    except (OSError, ValueError) as error:  # not there, no such split, no connection
        raise DataError(f"{name} can't be loaded: {' '.join(str(error).split())}") from error
    speaker = _check_columns(name, data.column_names, audio, label, speaker)
    data = data.cast_column(audio, Audio(decode=False))
    kind = data.features[label]
    rows = []
    for number, line in enumerate(data):
        if line[label] is None or line[label] == -1:  # how data sets say that there is none
            raise DataError(f"{name}, row {number}, has no {label}; filter such rows out, or use another split.")
        if line[audio] is None:
            raise DataError(f"{name}, row {number}, has no {audio}; filter such rows out.")
        text = kind.int2str(line[label]) if isinstance(kind, ClassLabel) else str(line[label]).strip()
        source = line[audio]["bytes"] if line[audio]["bytes"] is not None else line[audio]["path"]
        person = str(line.get(speaker) if line.get(speaker) is not None else "").strip() or None
        rows.append({"audio": source, "label": text, "speaker": person, "name": f"row {number}"})
    return rows


def usable(rows: list[dict]) -> tuple[list[dict], list[tuple[str, str]]]:
    """Rows that can be read, each once and with its `length` in seconds; and (name, reason) of the others.

    Every file is decoded once, so that none stops the training later. The same audio under two names, as in RAVDESS's
    copies, is told by its bytes.

    Raises:
        DataError: Fewer than two labels are left, or some rows have a speaker and others have none.
    """
    kept, left_out, seen = [], [], {}
    for row in track(rows, "Reading the recordings", transient=True):
        source = row["audio"]
        name = row.get("name") or str(source)
        try:
            data = source if isinstance(source, bytes) else Path(source).read_bytes()
            samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            left_out.append((name, f"can't be read: {error}"))
            continue
        if not len(samples):
            left_out.append((name, "holds no samples"))
            continue
        if not np.isfinite(samples).all():
            left_out.append((name, "holds samples that are no numbers"))
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest in seen:
            left_out.append((name, f"is the same audio as {seen[digest]}"))
            continue
        seen[digest] = name
        kept.append(row | {"length": len(samples) / rate})
    if len(labels := {row["label"] for row in kept}) < 2:
        raise DataError(f"The data has the labels {sorted(labels)}; a classifier needs at least two.")
    unknown = sum(row["speaker"] is None for row in kept)
    if 0 < unknown < len(kept):
        raise DataError(f"{unknown} of {len(kept)} recordings have no speaker; name them, or leave them out.")
    return kept, left_out


def count_folds(rows: list[dict]) -> int:
    """6, or fewer where there are fewer speakers; rows without a speaker count as one each."""
    return min(6, len(set(_groups(rows))))


def _groups(rows: list[dict]) -> list:
    return [place if row["speaker"] is None else row["speaker"] for place, row in enumerate(rows)]


def split_by_speaker(rows: list[dict], fold: int = 1, seed: int = 0, is_ravdess: bool = False) -> dict[str, list[dict]]:
    """`train`, `validation` and `test` rows of fold 1, 2, ..., no speaker in two of them.

    RAVDESS: the actors of EmoBox's fold are the test; the first man and woman of the following folds are the
    validation. Other data: the folds part the speakers, so that each is tested once; of the others, an eighth are the
    validation. `seed` draws both. Without speakers the rows themselves are drawn, with a loud warning.

    Raises:
        DataError: A speaker is in two splits, a label is missing from training, or there are too few speakers.
    """
    if is_ravdess:
        following = [actor for step in range(1, 6) for actor in EMOBOX_FOLDS[(fold + step - 1) % 6 + 1]]
        man, woman = (next(actor for actor in following if actor % 2 == odd) for odd in (1, 0))
        parts = {"test": set(EMOBOX_FOLDS[fold]), "validation": {man, woman}}
        of = {f"{actor:02d}": part for part, actors in parts.items() for actor in actors}
        splits = {"train": [], "validation": [], "test": []}
        for row in rows:
            splits[of.get(row["speaker"], "train")].append(row)
    else:
        groups = np.array(_groups(rows))
        if any(row["speaker"] is None for row in rows):
            warnings.warn(
                "THERE ARE NO SPEAKERS in this data: the same voice is in training and test, and the figures will be "
                "far too good. Name the column of the speakers.",
                stacklevel=2,
            )
        if (count := count_folds(rows)) < 3:
            raise DataError(f"The data has {count} speakers; a split by speaker needs at least 3.")
        folds = GroupKFold(count, shuffle=True, random_state=seed).split(rows, groups=groups)
        rest, test = [*folds][fold - 1]
        inner = GroupShuffleSplit(1, test_size=0.125, random_state=seed).split(rest, groups=groups[rest])
        train, validation = (rest[places] for places in next(inner))
        named = {"train": train, "validation": validation, "test": test}
        splits = {name: [rows[i] for i in places] for name, places in named.items()}
    check_splits(splits)
    return splits


def check_splits(splits: dict[str, list[dict]]) -> None:
    """Raises a DataError where a speaker is in two splits, or a split has a label that training has not."""
    of = {}
    for name, rows in splits.items():
        if not rows:
            raise DataError(f"The {name} split is empty; there are too few speakers.")
        for row in rows:
            if row["speaker"] is not None and of.setdefault(row["speaker"], name) != name:
                raise DataError(f"Speaker {row['speaker']} is in {of[row['speaker']]} and in {name}; split by speaker.")
    known = {row["label"] for row in splits["train"]}
    for name, rows in splits.items():
        if strange := {row["label"] for row in rows} - known:
            raise DataError(
                f"The {name} split has {', '.join(sorted(strange))}, and training has none; use another fold."
            )
        if name == "test" and (absent := known - {row["label"] for row in rows}):
            warnings.warn(
                f"The test split has no {', '.join(sorted(absent))}: that recall is not measured.", stacklevel=2
            )
