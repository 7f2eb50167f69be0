"""The figures of the emotion recipe: what they show is what was counted."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modeling_audio_branch.plots.style import save_figure
from recipes.emotion.figures import (
    MANY_CLASSES,
    MAX_NAME_LENGTH,
    MAX_NAMES,
    block_order,
    commonest_confusions,
    plot_accuracies,
    plot_confusion,
    short_name,
    wilson_interval,
)

short_names = st.text("abc", min_size=1, max_size=MAX_NAME_LENGTH)  # drawn as they are
matrices = st.integers(1, 20).flatmap(lambda size: arrays(np.int64, (size, size), elements=st.integers(0, 9)))


@given(matrices)
def test_the_order_of_the_classes_loses_none(confusion):
    assert sorted(block_order(confusion)) == list(range(len(confusion)))


def test_classes_that_are_confused_become_neighbours():
    confusion = np.diag([8] * 20)
    for i in range(20):  # classes i, i + 5, i + 10 and i + 15 are one block
        confusion[i, [(i + 5) % 20, (i + 10) % 20, (i + 15) % 20]] = 3
    order = block_order(confusion)
    assert sorted({tuple(sorted(order[at : at + 4])) for at in range(0, 20, 4)}) == [
        (i, i + 5, i + 10, i + 15) for i in range(5)
    ]


@given(matrices)
def test_the_commonest_confusions_are_the_largest_cells_off_the_diagonal(confusion):
    labels = [f"class {i}" for i in range(len(confusion))]
    found = commonest_confusions(confusion, labels)
    off = confusion.copy()
    np.fill_diagonal(off, 0)
    assert [clips for *_, clips, _ in found] == [count for count in sorted(off.ravel(), reverse=True)[:10] if count]
    for true, predicted, clips, share in found:
        row = confusion[labels.index(true)]
        assert row[labels.index(predicted)] == clips and share == clips / row.sum()
    assert len({(true, predicted) for true, predicted, *_ in found}) == len(found)


@given(st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_value_and_shrinks_with_more_clips(counts):
    correct, total = counts
    metric, more = wilson_interval(correct, total), wilson_interval(10 * correct, 10 * total)
    assert 0 <= metric.low <= metric.value == correct / total <= metric.high <= 1
    assert more.high - more.low < metric.high - metric.low


@pytest.mark.parametrize("size", [2, 8, MANY_CLASSES, MANY_CLASSES + 1, 42])
def test_empty_cells_are_blank_and_only_small_matrices_have_numbers(size):
    generator = np.random.default_rng(0)
    confusion = generator.integers(0, 3, (size, size)) + np.diag([5] * size)
    figure = plot_confusion(confusion, [f"class {i}" for i in range(size)])
    axes = figure.axes[0]
    written = sorted(int(text.get_text()) for text in axes.texts)
    assert written == (sorted(confusion[confusion > 0].tolist()) if size <= MANY_CLASSES else [])
    shown = axes.images[0].get_array()
    assert np.ma.count(shown) == np.count_nonzero(confusion) and shown.max() <= 1
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [label.get_text() for label in axes.get_xticklabels()]
    order = [int(name.split()[1]) for name in names]
    shares = (confusion / confusion.sum(1, keepdims=True))[np.ix_(order, order)]
    np.testing.assert_allclose(shown.filled(0), shares)


@given(st.dictionaries(short_names, st.integers(0, 30), min_size=1, max_size=30))
@settings(max_examples=10)
def test_every_class_has_a_bar_with_its_interval(correct):
    accuracies = {name: wilson_interval(count, 30) for name, count in correct.items()}
    axes = plot_accuracies(accuracies, dict.fromkeys(correct, 30), "class", 0.5).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(accuracies)
    bars = axes.containers[0]
    segments = axes.containers[1].lines[2][0].get_segments()
    for name, bar, segment in zip(names, bars, segments, strict=True):
        assert bar.get_width() == pytest.approx(accuracies[name].value)
        assert segment[:, 0] == pytest.approx([accuracies[name].low, accuracies[name].high])
    widths = [bar.get_width() for bar in bars]
    assert widths == sorted(widths)


def test_the_number_of_clips_stands_by_each_bar():
    clips = {"happy": 40, "sad": 1200}
    accuracies = {name: wilson_interval(total // 2, total) for name, total in clips.items()}
    axes = plot_accuracies(accuracies, clips, "class", 0.5).axes[0]
    assert [text.get_text() for text in axes.texts] == ["all clips: 0.50", "clips", "1,200", "40"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sad", "happy"]  # ties: by name from the top


@given(st.text(st.characters(codec="utf-8")))
def test_a_short_name_is_one_short_line_and_keeps_both_ends(name):
    short = short_name(name)
    assert len(short.splitlines()) <= 1 and len(short) <= MAX_NAME_LENGTH
    line = " ".join(name.split())
    assert short == line if len(line) <= MAX_NAME_LENGTH else line.startswith(short[:10]) and line.endswith(short[-10:])


@pytest.mark.filterwarnings("error:constrained_layout not applied")
def test_names_with_dollars_and_long_names_are_drawn(tmp_path):
    for size in (3, 20):
        names = [r"$\foo$", "a$b$c", "the name of a class " * 10, *(f"class {i}" for i in range(3, size))]
        confusion = np.eye(size, dtype=int)
        accuracies = {name: wilson_interval(1, 1) for name in names}
        for figure in (
            plot_confusion(confusion, names),
            plot_accuracies(accuracies, dict.fromkeys(names, 1), "class", 1),
        ):
            save_figure(figure, tmp_path / "figure.png")
            assert r"$\foo$" in {label.get_text() for label in figure.axes[0].get_yticklabels()}


def test_very_many_classes_and_speakers_have_no_names_and_a_picture_of_a_usual_size():
    size = MAX_NAMES + 1
    start = time.perf_counter()
    speakers = {f"speaker {i}": wilson_interval(i % 6, 5 + i % 6) for i in range(3000)}
    figures = [
        plot_confusion(np.eye(size, dtype=int), [f"class {i}" for i in range(size)]),
        plot_accuracies(speakers, dict.fromkeys(speakers, 5), "speaker", 0.5),
    ]
    for figure in figures:
        assert max(figure.get_size_inches()) < 20
        assert not figure.axes[0].get_yticklabels()
    assert figures[1].axes[0].get_ylabel() == "3,000 speakers, from the highest to the lowest"
    assert time.perf_counter() - start < 20  # about 1 s; names took 15 s
