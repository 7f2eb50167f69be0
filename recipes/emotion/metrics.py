"""Metrics of a speech classifier, with confidence intervals that respect that clips of one speaker are alike.

UA is the unweighted accuracy (the mean recall of the labels) and WA the weighted accuracy (the plain accuracy), as the
literature on speech emotion recognition calls them.
"""

import numpy as np
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from modeling_audio_branch.hub.results import Metric


def classification_metrics(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """UA, WA and macro-F1 over the labels that occur in `targets`; both arrays are label numbers (N,)."""
    _, recall, f1, _ = precision_recall_fscore_support(
        targets, predictions, labels=np.unique(targets), average="macro", zero_division=0
    )
    return {"UA": float(recall), "WA": float(accuracy_score(targets, predictions)), "macro-F1": float(f1)}


def bootstrap_ci(targets, predictions, speakers, draws: int = 1000, seed: int = 0) -> dict[str, Metric]:
    """`classification_metrics` with 95 % percentile intervals of a bootstrap that draws whole speakers.

    Args:
        targets, predictions: (N,) label numbers.
        speakers: (N,) who speaks. A clip whose speaker is None is drawn by itself.
        draws: Bootstrap samples.
        seed: Of the draws.
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    values = classification_metrics(targets, predictions)
    clips_of = {}
    for i, speaker in enumerate(speakers):
        clips_of.setdefault(i if speaker is None else speaker, []).append(i)
    groups = list(clips_of.values())
    if len(groups) < 2:  # every draw is the data itself
        return {name: Metric(value, value, value) for name, value in values.items()}

    def metrics_of_groups(drawn):
        clips = np.concatenate([groups[group] for group in drawn])
        return np.array([*classification_metrics(targets[clips], predictions[clips]).values()])

    interval = bootstrap(
        [np.arange(len(groups))],
        metrics_of_groups,
        vectorized=False,
        n_resamples=draws,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    # With few speakers the value itself can lie outside of the interval of the draws.
    return {
        name: Metric(value, float(min(low, value)), float(max(high, value)))
        for (name, value), low, high in zip(values.items(), interval.low, interval.high, strict=True)
    }


def correct_by_speaker(targets, predictions, speakers) -> dict[str, np.ndarray]:
    """Which clips of each speaker are right, by name. Clips whose speaker is None are left out."""
    is_correct = np.asarray(targets) == np.asarray(predictions)
    speakers = np.asarray(speakers, dtype=object)
    names = sorted({speaker for speaker in speakers if speaker is not None})
    return {name: is_correct[speakers == name] for name in names}


def accuracy_by_speaker(targets, predictions, speakers) -> dict[str, float]:
    """The accuracy for each speaker, by name. Clips whose speaker is None are not counted."""
    correct = correct_by_speaker(targets, predictions, speakers)
    return {name: float(each.mean()) for name, each in correct.items()}
