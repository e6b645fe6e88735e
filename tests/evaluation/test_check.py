from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.evaluation.check import compare, explain_again, mean_score
from medsaliency.evaluation.checks import CHECKS, make_check
from medsaliency.evaluation.similarity import spearman
from medsaliency.model.checkpoint import save
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError, Score, generator


def network() -> Classifier:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))
    draw = torch.Generator().manual_seed(0)
    for values in module.parameters():
        values.data = torch.randn(values.shape, generator=draw)
    return Classifier(module, ["a", "b", "c"])


def rngs(use: str) -> list[np.random.Generator]:
    return [generator(0, str(i), use) for i in range(3)]


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, dict[str, str]]:
    """What a check cannot do without."""
    permuted = Classifier(build("small_cnn", classes=3), network().classes)
    save(permuted, tmp_path / "permuted", architecture="small_cnn")
    return {"data_randomization": {"checkpoint": str(tmp_path / "permuted")}}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("method", [Gradient(), SmoothGrad(samples=2)], ids=["gradient", "smoothgrad"])
def test_a_check_gives_its_measures_within_their_bounds_and_the_same_twice(name, method, parameters) -> None:
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    found = []
    for _ in range(2):
        probe = Probe(network(), images)

        def explain(other: Probe) -> torch.Tensor:
            return method(other, rngs("method"))

        check = make_check(name, parameters.get(name))
        found.append(check(probe, explain, explain(probe), rngs(name)))
    assert found[0] == found[1]
    assert list(found[0]) == [measure.name for measure in check.measures]
    for measure in check.measures:
        assert len(found[0][measure.name]) == 3
        for score in found[0][measure.name]:
            assert score.reason == ""
            assert measure.bounds[0] <= score.value <= measure.bounds[1]


def test_no_two_checks_share_a_measure() -> None:
    names = [measure.name for factory in CHECKS.values() for measure in factory().measures]
    assert len(set(names)) == len(names)


def test_checks_are_made_by_name() -> None:
    assert make_check("max_sensitivity", {"samples": 3}) == CHECKS["max_sensitivity"](samples=3)
    with pytest.raises(MedsaliencyError, match=r"unknown check 'equivariant'; did you mean 'equivariance'\?"):
        make_check("equivariant")
    with pytest.raises(MedsaliencyError, match="check 'max_sensitivity' has no parameter 'sample'; did you mean"):
        make_check("max_sensitivity", {"sample": 3})


def test_maps_of_a_changed_probe_must_fit_it() -> None:
    probe = Probe(network(), torch.rand(2, 1, 8, 8), [0, 0])
    maps = explain_again("name", lambda p: p.images[:, 0].double().requires_grad_(), probe)
    assert (maps.dtype, maps.requires_grad) == (torch.float32, False)
    with pytest.raises(MedsaliencyError, match=r"name: expected maps of shape \(2, 8, 8\)"):
        explain_again("name", lambda p: p.images, probe)


def test_maps_are_compared_one_by_one() -> None:
    maps = torch.tensor([[[1.0, 2], [3, 4]], [[1, 2], [3, 4]]])
    others = torch.tensor([[[1.0, 2], [3, 4]], [[4, 3], [2, 1]]])
    assert [score.value for score in compare(spearman, maps, others)] == pytest.approx([1, -1])


def test_a_mean_is_undefined_where_a_part_is() -> None:
    assert mean_score([Score(1.0), Score(2.0), Score(6.0)]) == Score(3.0)
    assert mean_score([Score(1.0), Score.undefined("why")]).reason == "why"
