"""How a model is used for searching: settings that come with a checkpoint, as search.json.

D d_model.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers.utils import cached_file

from ..hub.errors import first_line
from .errors import CorpusError

FILE = "search.json"
ATTENTION_SECONDS = 0.2  # that a frame sees on each side, in recordings
MIN_DEVIATION = 1e-3


@dataclass
class SearchSettings:
    """What searching needs to know about a model.

    Args:
        attention_window: Encoder frames that a frame sees on each side.
        mean: (D,) of the encoder frames of speech in general.
        deviation: (D,) their standard deviation.
        calibration: What makes a score s of a phrase of n frames a probability, the logistic function of
            c[0] + c[1] s + c[2] log n; None if it was not measured.
    """

    attention_window: int
    mean: list[float] | None = None
    deviation: list[float] | None = None
    calibration: list[float] | None = None

    def check(self, width: int, source: str) -> "SearchSettings":
        """Raises a CorpusError unless all numbers are possible for frames of this width."""
        window, lists = self.attention_window, (self.mean, self.deviation, self.calibration)
        wrong = isinstance(window, bool) or not isinstance(window, int) or not 1 <= window < 2**31
        for values, length in zip(lists, (width, width, 3), strict=True):
            if values is not None and not _are_numbers(values, length):
                wrong = True
        if wrong or (self.mean is None) != (self.deviation is None):
            raise CorpusError(
                f"{source} has search settings that don't fit the model; give an attention_window from 1, mean and "
                f"deviation of {width} numbers, and a calibration of 3."
            )
        return self

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation (D,) of speech in general."""
        return torch.tensor(self.mean), torch.tensor(self.deviation).clamp(min=MIN_DEVIATION)

    def probability(self, score: float, num_frames: int) -> float | None:
        """The probability that what has this score is the same phrase; None without a calibration."""
        if self.calibration is None:
            return None
        logit = self.calibration[0] + self.calibration[1] * score + self.calibration[2] * math.log(num_frames)
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def _are_numbers(values, length):
    return (
        isinstance(values, list)
        and len(values) == length
        and all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
    )


def settings_of(model, name: str | None) -> SearchSettings:
    """The search.json of a checkpoint's folder or repository; without one, what its configuration tells.

    Raises:
        CorpusError: The file is wrong.
    """
    config = model.config
    path = None
    if name is not None:
        try:
            path = cached_file(name, FILE, _raise_exceptions_for_missing_entries=False)
        except OSError:  # no repository of this name that can be reached: the model is in memory
            path = None
    if path is None:
        window = max(1, round(ATTENTION_SECONDS * config.frame_rate))
        return SearchSettings(window)
    return read_settings(Path(path), config.d_model)


def read_settings(path: Path, width: int) -> SearchSettings:
    """The settings in a file.

    Raises:
        CorpusError: It holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        settings = SearchSettings(**values)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorpusError(f"{path} holds no search settings ({first_line(error)}).") from error
    return settings.check(width, str(path))
