"""Trains and tests on each fold, and collects the predictions of all test clips."""

from pathlib import Path

import numpy as np
from accelerate import PartialState

from recipes.emotion.fold import train_fold
from recipes.emotion.recordings import DataError, Recording
from recipes.emotion.report import Evaluation
from recipes.emotion.resume import describe_run, start_or_continue
from recipes.emotion.settings import TrainingSettings
from recipes.emotion.splits import count_folds, emobox_split, speaker_split


def choose_folds(fold: int, recordings: list[Recording]) -> list[int]:
    """The fold that was asked for, or all folds for 0."""
    count = count_folds(recordings)
    if not 0 <= fold <= count:
        raise DataError(f"--fold {fold} was given; give 1 to {count}, or 0 for all.")
    return [fold] if fold else [*range(1, count + 1)]


def cross_validate(
    recordings: list[Recording],
    fold: int,
    seed: int,
    settings: TrainingSettings,
    output: Path,
    is_ravdess: bool = False,
) -> Evaluation:
    """Trains one model for each fold, saved to `output`/fold-N, and predicts the fold's test clips with it.

    Args:
        recordings: All recordings, of any speakers.
        fold: The fold to train, from 1; 0 means all folds, one after the other.
        seed: Of the splits and the training.
        settings: How each fold is trained.
        output: Folder of the models.
        is_ravdess: Use the folds of EmoBox, which name the actors of RAVDESS.

    Raises:
        DataError: A fold can't be split or trained, or `output` holds another run.
    """
    folds = choose_folds(fold, recordings)
    labels = sorted({recording.label for recording in recordings})
    # All folds are split before the first one is trained, since a fold may turn out to be impossible.
    splits = {
        fold: emobox_split(recordings, fold) if is_ravdess else speaker_split(recordings, fold, seed) for fold in folds
    }
    folders = {fold: output / f"fold-{fold}" for fold in folds}
    if PartialState().is_main_process:
        for fold in folds:
            run = describe_run(splits[fold], labels, seed, settings, settings.checkpoint)
            start_or_continue(folders[fold], run)
    predictions = [train_fold(splits[fold], labels, seed, settings, folders[fold]) for fold in folds]
    tested = [recording for fold in folds for recording in splits[fold].test]
    return Evaluation(
        protocol=describe_protocol(folds, is_ravdess, tested[0].speaker is not None),
        folds=folds,
        seed=seed,
        settings=settings,
        labels=labels,
        targets=[labels.index(recording.label) for recording in tested],
        predictions=np.concatenate(predictions),
        speakers=[recording.speaker for recording in tested],
    )


def describe_protocol(folds: list[int], is_ravdess: bool, are_speakers_known: bool) -> str:
    """How the clips were split and which epoch was chosen, for the report."""
    if is_ravdess:
        split = "EmoBox's folds of RAVDESS"
    elif are_speakers_known:
        split = "speakers split at random"
    else:
        split = "CLIPS split at random, speakers unknown"
    others = "speakers" if are_speakers_known else "clips"
    return f"{split}, fold {', '.join(map(str, folds))}; the best epoch on other {others}"
