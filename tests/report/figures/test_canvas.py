from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from medsaliency.report.contents import Contents
from medsaliency.report.figures import FIGURES
from medsaliency.report.figures.about import ABOUT
from medsaliency.report.figures.canvas import (
    TALL,
    Mark,
    canvas,
    columns_for,
    headlines,
    interval_marks,
    panels,
    pdf,
    sheets,
    spread,
    style,
    svg,
)


def only(figures: list[Figure]) -> Figure:
    (figure,) = figures
    return figure


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_study_has_no_figure(name: str, nothing: Contents) -> None:
    assert FIGURES[name](nothing) == []


def test_every_figure_has_its_method_told() -> None:
    assert set(FIGURES) <= set(ABOUT)
    for about in ABOUT.values():
        assert about.text.endswith(".")
        assert all(address.startswith("https://") for _, address in about.sources)


def test_the_users_settings_neither_change_a_figure_nor_are_changed(checked: Contents) -> None:
    plain = svg(only(FIGURES["sanity"](checked)))
    with mpl.rc_context({"font.size": 30, "text.usetex": False, "lines.linewidth": 9, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        assert svg(only(FIGURES["sanity"](checked))) == plain
        assert dict(mpl.rcParams) == before


def test_a_name_with_dollars_is_not_mathematics(checked: Contents) -> None:
    summary = checked.summary.replace({"method": {"gradient": "$a_b$"}})
    assert "$a_b$" in svg(only(FIGURES["sanity"](replace(checked, summary=summary))))


def test_bytes_do_not_hang_on_the_day(checked: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> tuple[str, bytes]:
        return svg(only(FIGURES["sanity"](checked))), pdf(only(FIGURES["sanity"](checked)))

    first = drawn()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert drawn() == first


def test_headlines_begin_with_the_studys_own_measure(contents: Contents) -> None:
    assert headlines(contents) == ["sic_mean", "aic_mean", "lesion_auprc", "pointing_game"]
    chosen = replace(contents, config={"trust": {"measure": "aic_webp"}})
    assert headlines(chosen, 2) == ["aic_webp", "sic_mean"]


def test_a_study_of_other_measures_shows_its_own(contents: Contents) -> None:
    summary = contents.summary.assign(metric=contents.summary["metric"].map(lambda name: f"own_{name}"))
    assert headlines(replace(contents, summary=summary), 1) == ["own_aic_entropy"]


def test_a_measure_without_values_is_no_headline(without_lesions: Contents) -> None:
    assert headlines(without_lesions) == ["sic_mean", "aic_mean"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30).map(sorted), st.floats(0.01, 0.2))
def test_spread_labels_keep_their_order_their_distance_and_the_height(values: list[float], gap: float) -> None:
    heights = spread(values, gap, 0.0, 1.0)
    assert min(heights) >= -1e-9
    assert max(heights) <= 1 + 1e-9
    wanted = min(gap, 1 / max(len(values) - 1, 1))
    assert all(after - before >= wanted - 1e-9 for before, after in pairwise(heights))


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.1, 0.5, 0.9], 0.1, 0.0, 1.0) == [0.1, 0.5, 0.9]


def test_panels_fill_a_grid_and_hide_the_rest() -> None:
    assert [columns_for(count) for count in range(7)] == [1, 1, 2, 3, 2, 3, 3]
    with style():
        figure, axes = panels(5, 3, 1.0)
    assert len(axes) == 5
    assert [axis.axison for axis in figure.axes] == [True] * 5 + [False]
    assert np.allclose(figure.get_size_inches(), (7.2, 2.0))


@given(st.lists(st.floats(0.5, 12), max_size=12), st.integers(1, 3))
def test_sheets_hold_every_panel_in_order_and_fit_a_page(heights: list[float], columns: int) -> None:
    named = {str(place): height for place, height in enumerate(heights)}
    found = sheets(named, columns)
    assert [name for names in found for name in names] == list(named)
    for names in found:
        rows = [names[start : start + columns] for start in range(0, len(names), columns)]
        assert all(len(row) == columns for row in rows[:-1]), "whole rows"
        assert len(rows) == 1 or sum(max(named[name] for name in row) for row in rows) <= TALL + 1e-9
    for before, after in pairwise(found):
        tall = sum(max(named[name] for name in before[i : i + columns]) for i in range(0, len(before), columns))
        assert tall + max(named[name] for name in after[:columns]) > TALL - 1e-9, "no sheet is begun too soon"


def test_marks_stand_at_their_values_and_a_value_that_is_not_a_number_has_none() -> None:
    nan = float("nan")
    with style():
        axis = canvas(2, 2).subplots()
        interval_marks(axis, [Mark(0, nan, 0, 1, True, "#ff0000")])
        assert not axis.collections
        interval_marks(
            axis, [Mark(0, 0.5, 0.2, 0.9, True, "#ff0000"), Mark(1, 0.7, nan, nan, False, "#0000ff")], marker="s"
        )
    lines, marks = axis.collections
    assert [segment.tolist() for segment in lines.get_segments()] == [[[0.2, 0], [0.9, 0]]], "no interval, no line"
    assert marks.get_offsets().tolist() == [[0.5, 0], [0.7, 1]]
    assert [tuple(color) for color in marks.get_facecolors()] == [(1, 0, 0, 1), (1, 1, 1, 1)]
    assert [tuple(color) for color in marks.get_edgecolors()] == [(1, 0, 0, 1), (0, 0, 1, 1)]


def test_a_figure_can_be_drawn_twice_and_is_the_same(checked: Contents) -> None:
    figure = only(FIGURES["sanity"](checked))
    assert svg(figure) == svg(figure)
    assert "fill: #ffffff" in svg(figure)
    assert svg(figure, background="none") != svg(figure)
