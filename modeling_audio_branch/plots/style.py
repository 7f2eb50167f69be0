"""The look that all figures share, and how they are saved."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..hub.writing import replaced_file

INK, BLUE, ORANGE, GRAY = "#22303c", "#1f5f99", "#e07b28", "#a9b4bd"
COLORMAP = "Blues"
STYLE = {
    "text.parse_math": False,  # names of files and classes are shown as they are, "$" too
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.edgecolor": GRAY,
    "xtick.color": GRAY,
    "ytick.color": GRAY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}


def styled(plot: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorator: draws the figure that `plot` returns in the shared style, and leaves matplotlib's settings alone."""

    @functools.wraps(plot)
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            figure = plot(*args, **kwargs)
            figure.draw_without_rendering()  # ticks take their style when they are first drawn
        return figure

    return wrapper


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 120) -> None:
    """Writes a figure in the format of the file's suffix (PNG without one); creates missing folders.

    Raises:
        OSError, ValueError: The path cannot be written, or its suffix is no picture format.
    """
    path = Path(path)
    with replaced_file(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:] or "png")


def hide_frame(axes) -> None:
    """Removes ticks and border."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
