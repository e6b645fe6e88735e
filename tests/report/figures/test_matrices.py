"""The two agreement figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medsaliency.report.contents import COLUMNS, Contents
from medsaliency.report.figures import method_agreement, metric_agreement


def test_measures_means_above_and_images_below(contents: Contents) -> None:
    names, values = metric_agreement.matrix(contents)
    assert len(names) == 8
    upper, lower = np.triu_indices(8, 1), np.tril_indices(8, -1)
    assert set(values[upper]) == {0.7}
    assert set(values[lower]) == {0.5}
    assert np.isnan(np.diag(values)).all()


def test_the_side_does_not_hang_on_the_order_of_a_pair(contents: Contents) -> None:
    table = contents.inference.metric_agreement.rename(columns={"metric": "other", "other": "metric"})
    turned = replace(contents, inference=replace(contents.inference, metric_agreement=table))
    np.testing.assert_array_equal(metric_agreement.matrix(turned)[1], metric_agreement.matrix(contents)[1])


def test_like_methods_are_neighbors(contents: Contents) -> None:
    pairs = {("gradient", "grad_cam"): 0.9, ("smoothgrad", "score_cam"): 0.8}
    names = ["gradient", "smoothgrad", "grad_cam", "score_cam"]
    rows = [(a, b, pairs.get((a, b), 0.1), 0.0, 1.0, 60) for i, a in enumerate(names) for b in names[i + 1 :]]
    table = pd.DataFrame(rows, columns=COLUMNS["method_agreement"].split())
    order, values = method_agreement.matrix(
        replace(contents, inference=replace(contents.inference, method_agreement=table))
    )
    for one, other in pairs:
        assert abs(order.index(one) - order.index(other)) == 1
        assert values[order.index(one), order.index(other)] == pairs[one, other]
    np.testing.assert_array_equal(values, values.T)


def test_an_unknown_pair_is_blank(contents: Contents) -> None:
    table = contents.inference.method_agreement.copy()
    table.loc[0, "correlation"] = np.nan
    changed = replace(contents, inference=replace(contents.inference, method_agreement=table))
    order, values = method_agreement.matrix(changed)
    assert np.isnan(values[order.index("gradient"), order.index("smoothgrad")])
    assert len(method_agreement.draw(changed)) == 1


@pytest.mark.parametrize("module", [metric_agreement, method_agreement])
def test_every_known_cell_is_written(contents: Contents, module: object) -> None:
    (figure,) = module.draw(contents)  # type: ignore[attr-defined]
    assert len(figure.axes[0].texts) == 8 * 7
