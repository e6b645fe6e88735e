"""What holds for every metric."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from medsaliency.evaluation import METRICS, make_metric
from medsaliency.types import MedsaliencyError


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_declares_its_measures_and_prints_as_its_provenance(name: str) -> None:
    metric = make_metric(name)
    assert metric.measures
    for measure in metric.measures:
        assert measure.bounds[0] < measure.bounds[1]
        assert measure.description
    assert eval(repr(metric), {type(metric).__name__: type(metric)}) == metric  # noqa: S307
    with pytest.raises((FrozenInstanceError, TypeError)):
        metric.anything = 1


def test_no_two_metrics_share_the_name_of_a_measure() -> None:
    names = [measure.name for name in METRICS for measure in make_metric(name).measures]
    assert len(set(names)) == len(names)


def test_unknown_names_show_the_nearest() -> None:
    with pytest.raises(
        MedsaliencyError, match=r"unknown metric 'information_curve'; did you mean 'information_curves'"
    ):
        make_metric("information_curve")
    with pytest.raises(
        MedsaliencyError, match=r"'pointing_game' has no parameter 'tolerence'; did you mean 'tolerance'"
    ):
        make_metric("pointing_game", {"tolerence": 3})
    with pytest.raises(MedsaliencyError, match="'lesion_auprc' has no parameter 'ties'; it has none"):
        make_metric("lesion_auprc", {"ties": 1})
    assert make_metric("pointing_game", {"tolerance": 0.1}).tolerance == 0.1
