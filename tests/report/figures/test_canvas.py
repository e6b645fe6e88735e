from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.report.contents import Contents
from medsaliency.report.figures import FIGURES
from medsaliency.report.figures.about import ABOUT
from medsaliency.report.figures.canvas import columns_for, headlines, panels, pdf, spread, style, svg


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_study_has_no_figure(name: str, nothing: Contents) -> None:
    assert FIGURES[name](nothing) is None


def test_every_figure_has_its_method_told() -> None:
    assert set(FIGURES) <= set(ABOUT)
    for about in ABOUT.values():
        assert about.text.endswith(".")
        assert all(address.startswith("https://") for _, address in about.sources)


def test_the_users_settings_neither_change_a_figure_nor_are_changed(checked: Contents) -> None:
    plain = svg(FIGURES["sanity"](checked))
    with mpl.rc_context({"font.size": 30, "text.usetex": False, "lines.linewidth": 9, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        assert svg(FIGURES["sanity"](checked)) == plain
        assert dict(mpl.rcParams) == before


def test_a_name_with_dollars_is_not_mathematics(checked: Contents) -> None:
    summary = checked.summary.replace({"method": {"gradient": "$a_b$"}})
    assert "$a_b$" in svg(FIGURES["sanity"](replace(checked, summary=summary)))


def test_bytes_do_not_hang_on_the_day(checked: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    first = svg(FIGURES["sanity"](checked)), pdf(FIGURES["sanity"](checked))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert (svg(FIGURES["sanity"](checked)), pdf(FIGURES["sanity"](checked))) == first


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
    assert [columns_for(count) for count in (1, 2, 3, 4, 5, 6)] == [1, 2, 3, 2, 3, 3]
    with style():
        figure, axes = panels(5, 3, 1.0)
    assert len(axes) == 5
    assert [axis.axison for axis in figure.axes] == [True] * 5 + [False]
    assert np.allclose(figure.get_size_inches(), (7.2, 2.0))
