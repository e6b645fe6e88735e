from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from medsaliency.report.contents import COLUMNS, Contents
from medsaliency.report.figures.steps import draw

ROWS = [
    ("gradient", "insertion_gain", 40, 0.01, 0.2, 0.1, 0.3),
    ("gradient", "insertion_gain", 40, 0.1, 0.6, 0.5, 0.7),
    ("random", "insertion_gain", 40, 0.01, 0.1, 0.05, 0.15),
    ("random", "insertion_gain", 40, 0.1, 0.15, 0.1, 0.2),
    ("gradient", "deletion_gain", 40, 0.01, 0.8, 0.7, 0.9),
    ("gradient", "deletion_gain", 40, 0.1, 0.3, 0.2, 0.4),
]


@pytest.fixture
def stepped(contents: Contents) -> Contents:
    steps = pd.DataFrame(ROWS, columns=COLUMNS["steps"].split())
    return replace(contents, inference=replace(contents.inference, steps=steps))


def test_lines_are_the_means_and_bands_their_intervals(stepped: Contents) -> None:
    (figure,) = draw(stepped)
    insertion, deletion = figure.axes
    assert insertion.get_title(loc="left") == "Insertion gain"
    assert [line.get_ydata().tolist() for line in insertion.lines] == [[0.2, 0.6], [0.1, 0.15]]
    reach = insertion.collections[0].get_paths()[0].vertices[:, 1]
    assert (reach.min(), reach.max()) == (0.1, 0.7)
    assert [line.get_ydata().tolist() for line in deletion.lines if len(line.get_ydata())] == [[0.8, 0.3]]
    assert [label.get_text() for label in insertion.get_xticklabels()] == ["1%", "10%"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Gradient", "Random"]


def test_without_steps_there_is_no_figure(contents: Contents) -> None:
    without = replace(contents.inference, steps=contents.inference.steps[:0])
    assert draw(replace(contents, inference=without)) == []
