"""Two clips on the page: which of their segments are alike."""

from pathlib import Path

from ..modeling_audio_branch import AudioBranchPreTrainedModel
from ..plots import plot_segment_similarity, save_figure, segment_alignment, segment_similarity
from .segments import check_length
from .sentences import short_name


def compare_clips(model: AudioBranchPreTrainedModel, first: str, second: str, folder: Path) -> tuple[str, str]:
    """The path of the matrix of cosine similarities of all segments, and a sentence.

    Raises:
        ValueError, TypeError, OSError: One sentence if a clip can't be read, or is longer than a minute.
    """
    for file in (first, second):
        check_length(file, model.config.sample_rate)
    matrix = segment_similarity(model, first, [second])[0]  # (S, S)
    names = [short_name(file, 20) for file in (first, second)]
    figure = plot_segment_similarity(model, first, [second], names=names, align=True)
    save_figure(figure, folder / "comparison.png", 110)
    path = segment_alignment(matrix)
    sentence = (
        f"Mean cosine similarity of the segments in order: {matrix.diagonal().mean():.2f}; along the best alignment "
        f"(the band): {matrix[tuple(path.T)].mean():.2f}."
    )
    return str(folder / "comparison.png"), sentence
