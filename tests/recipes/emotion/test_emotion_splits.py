"""recipes/emotion/splits.py: no speaker is in two splits, and each is tested once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.emotion.data import load_ravdess
from recipes.emotion.recordings import DataError, Recording
from recipes.emotion.splits import EMOBOX_FOLDS, Splits, check_splits, count_folds, emobox_split, speaker_split


def speakers_of(splits: Splits) -> dict[str, set[str]]:
    return {name: {recording.speaker for recording in recordings} for name, recordings in vars(splits).items()}


def test_the_folds_of_emobox_test_every_actor_once_and_no_actor_is_in_two_splits(ravdess):
    recordings = load_ravdess(ravdess)
    tested = []
    for fold in EMOBOX_FOLDS:
        splits = emobox_split(recordings, fold)
        speakers = speakers_of(splits)
        assert speakers["test"] == {f"{actor:02d}" for actor in EMOBOX_FOLDS[fold]}
        assert sorted(int(each) % 2 for each in speakers["validation"]) == [0, 1]  # odd actors are men
        assert not (speakers["train"] & speakers["test"] or speakers["train"] & speakers["validation"])
        assert not speakers["test"] & speakers["validation"]
        assert sum(map(len, vars(splits).values())) == len(recordings)
        tested += [*speakers["test"]]
    assert sorted(tested) == [f"{actor:02d}" for actor in range(1, 25)]


@given(st.lists(st.sampled_from("abcdefghij"), min_size=30, max_size=60), st.integers(0, 3))
def test_every_speaker_of_other_data_is_tested_once_and_none_is_in_two_splits(speakers, seed):
    recordings = [Recording(b"", "x", speaker) for speaker in speakers]
    if count_folds(recordings) < 3:
        with pytest.raises(DataError, match="at least 3"):
            speaker_split(recordings)
        return
    tested = []
    for fold in range(1, count_folds(recordings) + 1):
        parts = speakers_of(speaker_split(recordings, fold, seed))
        assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(set(speakers))
        tested += parts["test"]
    assert sorted(tested) == sorted(set(speakers))


def test_data_without_speakers_warns_loudly_and_bad_splits_are_refused():
    recordings = [Recording(b"", "xy"[i % 2]) for i in range(40)]
    with pytest.warns(UserWarning, match="THERE ARE NO SPEAKERS"):
        speaker_split(recordings)
    with pytest.raises(DataError, match="1 speakers"):
        speaker_split([replace(recording, speaker="anna") for recording in recordings])
    anna, ben, cleo = (Recording(b"", "x", name) for name in ("anna", "ben", "cleo"))
    with pytest.raises(DataError, match="Speaker anna is in train and in test"):
        check_splits(Splits([anna], [cleo], [anna]))
    with pytest.raises(DataError, match="test split has y, and training has none"):
        check_splits(Splits([anna], [cleo], [replace(ben, label="y")]))
    with pytest.warns(UserWarning, match="test split has no y"):
        check_splits(Splits([anna, Recording(b"", "y", "dora")], [cleo], [ben]))
