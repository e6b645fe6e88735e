from __future__ import annotations

from dataclasses import replace

import pandas as pd

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
    (figure,) = draw(replace(contents, inference=replace(contents.inference, mixed_coefficients=table)))
    _, marks = figure.axes[0].collections
    assert marks.get_offsets().tolist() == [[0.2, 0], [0.02, 1]]
    assert [color.tolist() == [1, 1, 1, 1] for color in marks.get_facecolors()] == [False, True]
