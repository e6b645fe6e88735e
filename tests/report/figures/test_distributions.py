from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from medsaliency.report.contents import Contents
from medsaliency.report.figures.distributions import DOTS, draw, shared, table


def panel(contents: Contents, title: str) -> Axes:
    (figure,) = draw(contents)
    return next(axis for axis in figure.axes if axis.get_title(loc="left") == title)


def test_marks_stand_at_the_quantiles_and_the_mean(contents: Contents) -> None:
    axis = panel(contents, "Lesion AUPRC")
    scores = contents.scores.query("metric == 'lesion_auprc' and method == 'smoothgrad'")["value"]
    low, first, median, third, high = np.quantile(scores, (0.05, 0.25, 0.5, 0.75, 0.95))
    bars = [lines.get_segments()[1] for lines in axis.collections]
    assert [bar[:, 0].tolist() for bar in bars] == [pytest.approx([low, high]), pytest.approx([first, third])]
    assert {y for bar in bars for y in bar[:, 1]} == {1}
    *_, medians, means = axis.lines
    assert (medians.get_xdata()[1], means.get_xdata()[1]) == pytest.approx((median, scores.mean()))
    assert list(means.get_ydata()) == list(range(8))


def test_dots_are_images_or_equal_shares_of_them(contents: Contents) -> None:
    dots = panel(contents, "SIC mean").lines[0].get_xdata()
    assert len(dots) == DOTS
    few = panel(contents, "AIC mean").lines[0].get_xdata()
    scores = contents.scores.query("metric == 'aic_mean' and method == 'gradient'")["value"].dropna()
    assert list(few) == pytest.approx(sorted(scores))


def test_only_images_with_every_method_count(contents: Contents) -> None:
    scores = contents.scores.copy()
    lost = (scores["sample"] == "case-001") & (scores["method"] == "gradient") & (scores["metric"] == "lesion_auprc")
    scores.loc[lost, "value"] = np.nan
    changed = replace(contents, scores=scores)
    assert "case-001" not in set(shared(changed).query("metric == 'lesion_auprc'")["sample"])
    assert "n = 59 images" in panel(changed, "Lesion AUPRC").get_xlabel()


def test_the_table_holds_the_scores_and_names_nobody(contents: Contents) -> None:
    found = table(contents)
    assert list(found.columns[:2]) == ["metric", "image"]
    assert found.groupby("metric").size().to_dict() == {
        "sic_mean": 48, "aic_mean": 30, "lesion_auprc": 60, "pointing_game": 60,
    }  # fmt: skip
    row = found.query("metric == 'lesion_auprc' and image == 8").iloc[0]
    score = contents.scores.query("metric == 'lesion_auprc' and sample == 'case-007' and method == 'edge'")["value"]
    assert row["edge"] == pytest.approx(score.iloc[0], abs=1e-4)
