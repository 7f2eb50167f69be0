"""How a model is used for searching: what comes with a checkpoint as search.safetensors.

D d_model, C components.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from transformers.utils import cached_file

from ..hub.errors import first_line
from ..hub.writing import replaced_file
from ..streaming import is_limited
from .errors import CorpusError

FILE = "search.safetensors"
ATTENTION_SECONDS = 0.2  # that a frame sees on each side, of a model with full attention
COMPONENTS = 32  # of frames that are kept: more find no more
MIN_DEVIATION = 1e-3


@dataclass
class SearchSettings:
    """What searching needs to know about a model.

    Args:
        attention_window: Encoder frames that a frame sees on each side.
        mean: (D,) of the encoder frames of speech in general; None: of the first recording of an index.
        deviation: (D,) their standard deviation.
        components: (D, C) the leading principal components of the frames over mean and deviation.
        calibration: (3,) what makes a score s of a phrase of n frames a probability, the logistic function of
            c[0] + c[1] s + c[2] log n; None if it was not measured.
    """

    attention_window: int
    mean: torch.Tensor | None = None
    deviation: torch.Tensor | None = None
    components: torch.Tensor | None = None
    calibration: torch.Tensor | None = None

    @property
    def is_measured(self) -> bool:
        """Whether mean, deviation and components are known."""
        return self.mean is not None

    def measure(self, frames: torch.Tensor) -> None:
        """Takes mean, deviation and components from encoder frames (T, D)."""
        self.deviation, self.mean = torch.std_mean(frames, dim=0, correction=0)
        self.deviation = self.deviation.clamp(min=MIN_DEVIATION)
        standardised = (frames - self.mean) / self.deviation
        _, directions = torch.linalg.eigh((standardised.T @ standardised).double())  # the largest come last
        self.components = directions.flip(1)[:, :COMPONENTS].float().contiguous()

    def project(self, frames: torch.Tensor, mean=None, deviation=None) -> torch.Tensor:
        """Encoder frames (T, D) over mean and deviation (those of speech in general by default) to (T, C)."""
        mean, deviation = (self.mean, self.deviation) if mean is None else (mean, deviation)
        return ((frames - mean) / deviation) @ self.components

    def probability(self, score: float, num_frames: int) -> float | None:
        """The probability that what has this score is the same phrase; None without a calibration."""
        if self.calibration is None:
            return None
        constant, slope, by_length = self.calibration.tolist()
        logit = constant + slope * score + by_length * math.log(num_frames)
        return round(1 / (1 + math.exp(-max(-50.0, min(50.0, logit)))), 4)

    def check(self, width: int, source: str) -> "SearchSettings":
        """Raises a CorpusError unless all are possible for frames of this width."""
        window = self.attention_window
        wrong = isinstance(window, bool) or not isinstance(window, int) or not 1 <= window < 2**31
        shapes = {"mean": (width,), "deviation": (width,), "components": (width, None), "calibration": (3,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None:
                fits = value.ndim == len(shape) and all(b in (None, a) for a, b in zip(value.shape, shape, strict=True))
                wrong |= not fits or value.dtype != torch.float32 or not value.isfinite().all()
        measured = [getattr(self, name) is not None for name in ("mean", "deviation", "components")]
        if wrong or len(set(measured)) > 1 or (self.is_measured and self.deviation.min() < MIN_DEVIATION):
            raise CorpusError(
                f"{source} holds search settings that don't fit the model; give an attention_window from 1, and mean, "
                f"deviation and components of {width} finite numbers."
            )
        return self

    def save(self, path: Path) -> None:
        """Writes them as safetensors.

        Raises:
            DiskError: The file can't be written.
        """
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["attention_window"] = torch.tensor([self.attention_window])
        with replaced_file(path) as file:
            file.write_bytes(save({name: value for name, value in values.items() if value is not None}))


def read_settings(path: Path, width: int | None = None) -> SearchSettings:
    """The settings in a file, checked for frames of a width if it is given.

    Raises:
        CorpusError: It holds something else.
    """
    try:
        values = load_file(path)
        settings = SearchSettings(int(values.pop("attention_window").item()), **values)
        if width is None:
            width = len(settings.mean) if settings.is_measured else 0
        return settings.check(width, str(path))
    except CorpusError:
        raise
    except Exception as error:  # safetensors has no class of its own that all its errors belong to
        raise CorpusError(f"{path} holds no search settings ({first_line(error):.100}).") from error


def settings_of(model, name: str | None) -> SearchSettings:
    """The search.safetensors of a checkpoint's folder or repository; without one, what its configuration tells.

    Raises:
        CorpusError: The file is wrong.
    """
    try:
        path = name and cached_file(name, FILE, _raise_exceptions_for_missing_entries=False)
    except OSError:  # no repository of this name can be reached: the model is in memory
        path = None
    if not path:
        own = max(model.config.attention_context) if is_limited(model.config) else 0
        return SearchSettings(own or max(1, round(ATTENTION_SECONDS * model.config.frame_rate)))
    return read_settings(Path(path), model.config.d_model)
