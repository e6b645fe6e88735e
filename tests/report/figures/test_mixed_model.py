from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from medsaliency.report.contents import COLUMNS, Contents
from medsaliency.report.figures.mixed_model import draw, row_label

ROWS = [
    ("lesion_auprc", "method", "grad_cam", 0.2, 0.1, 0.3, 0.001),
    ("lesion_auprc", "confidence", "", 0.02, -0.05, 0.09, 0.58),
    ("lesion_auprc", "correct", "", float("nan"), float("nan"), float("nan"), float("nan")),
]


def test_a_row_is_named_by_term_and_level() -> None:
    assert row_label("confidence", "") == "Confidence"
    assert row_label("method:class", "grad_cam:glioma") == "Method, Class: Grad-CAM, glioma"


def test_marks_are_coefficients_and_filled_by_their_own_p(contents: Contents) -> None:
    table = pd.DataFrame(ROWS, columns=COLUMNS["mixed_coefficients"].split())
    figure = draw(replace(contents, inference=replace(contents.inference, mixed_coefficients=table)))
    assert figure is not None
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([0.2, 0.02])
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [False, True]
