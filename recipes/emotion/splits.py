"""Speaker-disjoint folds: no speaker is in more than one of training, validation and test."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from recipes.emotion.recordings import DataError, Recording

MAX_FOLDS = 6
VALIDATION_SHARE = 0.125  # of the speakers that are not in the test split
# The test actors of each fold of RAVDESS in EmoBox (Ma et al. 2024). Odd actors are men, even ones are women.
EMOBOX_FOLDS = {
    1: (1, 11, 20, 21),
    2: (4, 10, 12, 14),
    3: (8, 9, 19, 23),
    4: (3, 5, 7, 24),
    5: (2, 15, 16, 18),
    6: (6, 13, 17, 22),
}


@dataclass
class Splits:
    """The recordings of one fold."""

    train: list[Recording]
    validation: list[Recording]
    test: list[Recording]


def count_folds(recordings: list[Recording]) -> int:
    """Six, or the number of speakers if it is smaller. A recording without a speaker counts as a speaker."""
    return min(MAX_FOLDS, len(set(_speaker_groups(recordings))))


def _speaker_groups(recordings: list[Recording]) -> list:
    return [i if recording.speaker is None else recording.speaker for i, recording in enumerate(recordings)]


def emobox_split(recordings: list[Recording], fold: int) -> Splits:
    """EmoBox's fold 1 to 6 of RAVDESS. The first man and the first woman of the following folds are the validation."""
    following = [actor for step in range(1, 6) for actor in EMOBOX_FOLDS[(fold + step - 1) % 6 + 1]]
    man = next(actor for actor in following if actor % 2 == 1)
    woman = next(actor for actor in following if actor % 2 == 0)
    validation = {f"{actor:02d}" for actor in (man, woman)}
    test = {f"{actor:02d}" for actor in EMOBOX_FOLDS[fold]}
    splits = Splits(
        train=[recording for recording in recordings if recording.speaker not in validation | test],
        validation=[recording for recording in recordings if recording.speaker in validation],
        test=[recording for recording in recordings if recording.speaker in test],
    )
    check_splits(splits)
    return splits


def speaker_split(recordings: list[Recording], fold: int = 1, seed: int = 0) -> Splits:
    """Fold 1, 2, ... of any data: each speaker is tested in one fold, and an eighth of the others are the validation.

    `seed` draws both. If the data has no speakers, recordings are split in place of speakers, with a loud warning.

    Raises:
        DataError: There are fewer than 3 speakers, or the split is refused by `check_splits`.
    """
    if any(recording.speaker is None for recording in recordings):
        warnings.warn(
            "THERE ARE NO SPEAKERS in this data: the same voices are in training and test, and the results will be "
            "far too good. Give the column of the speakers.",
            stacklevel=2,
        )
    if (count := count_folds(recordings)) < 3:
        raise DataError(f"The data has {count} speakers; a split by speaker needs at least 3.")
    groups = np.array(_speaker_groups(recordings))
    folds = GroupKFold(count, shuffle=True, random_state=seed).split(recordings, groups=groups)
    others, test = [*folds][fold - 1]
    shuffle = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    train, validation = (others[part] for part in next(shuffle.split(others, groups=groups[others])))
    splits = Splits(*([recordings[i] for i in indices] for indices in (train, validation, test)))
    check_splits(splits)
    return splits


def check_splits(splits: Splits) -> None:
    """Refuses splits that can't be trained or measured.

    Raises:
        DataError: A split is empty, two splits share a speaker, or a split has a label that training has not.
    """
    split_of = {}
    for name, recordings in vars(splits).items():
        if not recordings:
            raise DataError(f"The {name} split is empty; give recordings of more speakers.")
        for speaker in (recording.speaker for recording in recordings if recording.speaker is not None):
            if split_of.setdefault(speaker, name) != name:
                raise DataError(f"Speaker {speaker} is in {split_of[speaker]} and in {name}; split by speaker.")
    known = {recording.label for recording in splits.train}
    for name, recordings in vars(splits).items():
        if unknown := {recording.label for recording in recordings} - known:
            raise DataError(
                f"The {name} split has {', '.join(sorted(unknown))}, and training has none; use another fold."
            )
    if absent := known - {recording.label for recording in splits.test}:
        warnings.warn(
            f"The test split has no {', '.join(sorted(absent))}: the recall of that label is not measured.",
            stacklevel=2,
        )
