from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from medsaliency.report import evidence
from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import TONES
from medsaliency.report.figures.sanity import ASIDE, BANDS, draw, side, two_images


def test_a_margin_is_judged_by_its_whole_interval() -> None:
    assert [side(0.1, 0.3), side(-0.3, -0.1), side(-0.1, 0.3), side(0.0, 0.3)] == [
        "better", "worse", "not shown", "not shown",
    ]  # fmt: skip
    assert side(float("nan"), float("nan")) == "not shown"
    assert side(0.2, 0.2) == "not shown", "no spread shows nothing of other patients"


def test_marks_are_margins_and_undefined_ones_are_absent(checked: Contents) -> None:
    (figure,) = draw(checked)
    axis = figure.axes[0]
    _, marks = axis.collections
    assert marks.get_offsets()[:, 0].tolist() == pytest.approx([0.2, -0.2, 0.05])
    tones = [TONES["better"], TONES["worse"], TONES["not shown"]]
    assert [to_hex(color) for color in marks.get_edgecolors()] == tones
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "Gradient", "SmoothGrad", "Grad-CAM", "Score-CAM",
    ]  # fmt: skip


def test_a_study_without_checks_has_no_figure(contents: Contents) -> None:
    assert draw(contents) == []


def test_the_way_of_each_method_is_drawn_with_its_band_over_the_margins(staged: Contents) -> None:
    ways, margins = draw(staged)
    (axis,) = ways.axes
    assert axis.get_title(loc="left") == "Cascading randomization\nSSIM"
    assert [list(line.get_xdata()) for line in axis.lines] == [[0, 0.5, 1]] * 3
    assert [list(line.get_ydata()) for line in axis.lines] == [[1, 0.7, 0.5], [1, 0.9, 0.8], [1, 1, 1]]
    *bands, crosses = axis.collections
    assert len(bands) == 3
    reach = bands[0].get_paths()[0].vertices
    assert (reach[:, 1].min(), reach[:, 1].max()) == pytest.approx((0.45, 1.0))
    assert crosses.get_offsets().tolist() == [[ASIDE, pytest.approx(0.7)], [ASIDE, pytest.approx(0.6)]]
    said = [text.get_text() for text in ways.legends[0].get_texts()]
    assert said == ["Gradient", "SmoothGrad", "Random", "its maps of two images"]
    assert "n = 60 images" in axis.get_xlabel()
    assert margins.axes[0].get_xlabel().startswith("margin")


def test_how_alike_two_images_are_is_known_where_margin_and_likeness_are_of_the_same_images(staged: Contents) -> None:
    assert two_images(staged, "cascading_ssim") == pytest.approx({"gradient": 0.7, "smoothgrad": 0.6})
    fewer = staged.summary.copy()
    fewer.loc[(fewer["method"] == "gradient") & (fewer["metric"] == "cascading_ssim_margin"), "images"] = 44
    assert two_images(replace(staged, summary=fewer), "cascading_ssim") == pytest.approx({"smoothgrad": 0.6})


def test_many_bands_would_cover_each_other_and_are_left_to_the_data(staged: Contents) -> None:
    table = staged.inference.stages
    rows = [table[table["method"] == "gradient"].assign(method=f"method {k}") for k in range(BANDS + 1)]
    names = pd.DataFrame({"method": [f"method {k}" for k in range(BANDS + 1)], "metric": "cascading_ssim", "mean": 0.5})
    many = replace(
        staged,
        summary=pd.concat([staged.summary, names]),
        inference=replace(staged.inference, stages=pd.concat(rows)),
    )
    ways, _ = draw(many)
    assert len(ways.axes[0].lines) == BANDS + 1
    assert len(ways.axes[0].collections) == 1, "the crosses alone"


def test_the_page_shows_both_sheets_and_gives_both_tables(staged: Contents) -> None:
    part = evidence.part("sanity", staged)
    assert [item.file for item in part.downloads] == ["stages.csv", "sanity.csv"]
    assert ["Sheet 1 of 2." in part.figures[0], "Sheet 2 of 2." in part.figures[1]] == [True, True]
