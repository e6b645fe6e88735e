from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.statistics.steps import steps
from medsaliency.types import generator

SHARES = [0.0, 0.5, 1.0]


def rows(method: str, metric: str, ways: dict[str, list[float]], x: list[float] = SHARES) -> list[tuple[object, ...]]:
    """A curve for each sample; the samples a1 and a2 are of the patient a."""
    return [(sample, sample[0], method, metric, x, way) for sample, way in ways.items()]


def table(*parts: list[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["sample", "patient", "method", "metric", "x", "y"]
    return pd.DataFrame([row for part in parts for row in part], columns=columns)


WAYS = {"a1": [1.0, 0.8, 0.3], "a2": [1.0, 0.6, 0.1], "b1": [1.0, 0.5, 0.2], "c1": [1.0, 0.9, 0.6]}


def test_each_share_has_the_mean_and_its_interval_over_patients() -> None:
    found = steps(table(rows("gradient", "cascading_ssim", WAYS)), ["cascading_ssim"], seed=3, draws=500, level=0.9)
    assert found["share"].tolist() == SHARES
    assert found["images"].tolist() == [4, 4, 4]
    for place, row in enumerate(found.itertuples()):
        values = [way[place] for way in WAYS.values()]
        expected = mean_interval(values, list("aabc"), generator(3, "bootstrap"), draws=500, level=0.9)
        assert (row.value, row.low, row.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found["value"].tolist() == pytest.approx([1.0, 0.7, 0.3])
    assert found.loc[0, ["value", "low", "high"]].tolist() == [1.0, 1.0, 1.0], "the trained model's own maps"


def test_methods_are_averaged_over_the_images_that_all_of_them_have() -> None:
    short = {sample: way for sample, way in WAYS.items() if sample != "b1"}
    curves = table(
        rows("gradient", "cascading_ssim", WAYS),
        rows("grad_cam", "cascading_ssim", short),
        rows("gradient", "cascading_hog", WAYS),
    )
    found = steps(curves, ["cascading_ssim", "cascading_hog"], seed=0)
    found = found.set_index(["method", "metric", "share"]).sort_index()
    assert found.loc[("gradient", "cascading_ssim", 1.0), "images"] == 3
    assert found.loc[("gradient", "cascading_ssim", 1.0), "value"] == pytest.approx((0.3 + 0.1 + 0.6) / 3)
    both = [found.xs((method, "cascading_ssim")).to_numpy() for method in ("gradient", "grad_cam")]
    np.testing.assert_array_equal(*both)
    assert found.loc[("gradient", "cascading_hog", 1.0), "images"] == 4


def test_other_curves_are_left_alone_and_nothing_gives_nothing() -> None:
    curves = table(rows("gradient", "insertion_gain", WAYS, [0.0, 0.1, 0.2]))
    for found in (steps(curves, ["cascading_ssim"], seed=0), steps(curves[:0], ["cascading_ssim"], seed=0)):
        assert list(found.columns) == ["method", "metric", "images", "share", "value", "low", "high"]
        assert found.empty


def test_one_patient_has_means_and_no_interval() -> None:
    alone = {sample: way for sample, way in WAYS.items() if sample[0] == "a"}
    found = steps(table(rows("gradient", "cascading_ssim", alone)), ["cascading_ssim"], seed=0)
    assert found["value"].tolist() == pytest.approx([1.0, 0.7, 0.2])
    assert found[["low", "high"]].isna().all(axis=None)


def test_curves_at_other_shares_are_not_mixed() -> None:
    other = {"d1": [1.0, 0.7, 0.5, 0.4]}
    curves = table(
        rows("gradient", "cascading_ssim", WAYS), rows("gradient", "cascading_ssim", other, [0.0, 1 / 3, 2 / 3, 1.0])
    )
    with pytest.raises(ValueError, match="cascading_ssim: expected the same shares for all images"):
        steps(curves, ["cascading_ssim"], seed=0)


def test_the_order_of_the_rows_changes_no_number() -> None:
    curves = table(rows("gradient", "cascading_ssim", WAYS))
    turned = curves.iloc[::-1].reset_index(drop=True)
    one, other = (steps(part, ["cascading_ssim"], seed=1)[["value", "low", "high"]] for part in (curves, turned))
    np.testing.assert_allclose(one, other, rtol=1e-12)
