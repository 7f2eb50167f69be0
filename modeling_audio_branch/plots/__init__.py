"""Pictures of what the model makes of audio. They need matplotlib: pip install 'audio-branch[demo]'."""

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("Plots need matplotlib; install it with: pip install 'audio-branch[demo]'") from error

from .hit import plot_hit
from .probabilities import plot_probabilities
from .segments import plot_segments
from .similarity import plot_segment_similarity, segment_alignment, segment_similarity
from .style import save_figure, styled

__all__ = [
    "plot_hit",
    "plot_probabilities",
    "plot_segment_similarity",
    "plot_segments",
    "save_figure",
    "segment_alignment",
    "segment_similarity",
    "styled",
]
