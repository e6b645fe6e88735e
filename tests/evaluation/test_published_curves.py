from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsaliency.evaluation.published_curves import PublishedCurves
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator


def rngs(count: int) -> list[np.random.Generator]:
    return [generator(0, str(i), "published_curves") for i in range(count)]


def images(count: int = 1, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))


def test_equal_values_are_shown_together_and_images_are_rounded(summing) -> None:
    # A map of two values: at 10 % all of its upper half is at or above the quantile.
    classifier = summing()
    upper = torch.zeros(1, 16, 16)
    upper[:, :8] = 1
    PublishedCurves(fractions=(0.1,), start=0, minimum=0)(Probe(classifier, images(), [1]), upper, rngs(1))
    start, step, whole = torch.cat(classifier.module.shown)[-3:, 0]
    rounded = (images()[0, 0] * 255).round() / 255
    torch.testing.assert_close(whole, rounded)
    torch.testing.assert_close(step[:8], rounded[:8])
    assert not torch.equal(step[8:], rounded[8:])
    assert not torch.equal(start[:8], rounded[:8])


def test_an_image_that_scores_below_the_minimum_is_left_out(summing) -> None:
    probe = Probe(summing(scale=0.01, middle=0), images(), [1])  # a probability between 0.5 and 0.8
    assert 0.5 < float(probe.probabilities[0, 1]) < 0.8
    scores = PublishedCurves()(probe, images()[:, 0], rngs(1))
    assert scores["sic_webp_published"][0].reason == "the whole image scores below the minimum"
    assert PublishedCurves(minimum=0)(probe, images()[:, 0], rngs(1))["sic_webp_published"][0].reason != (
        "the whole image scores below the minimum"
    )


def test_a_map_that_is_not_finite_is_undefined_and_leaves_the_others(summing) -> None:
    maps = images(2)[:, 0].clone()
    maps[0, 3, 3] = math.inf
    probe = Probe(summing(scale=0.05, middle=100), images(2), [1, 1])
    scores = PublishedCurves(minimum=0)(probe, maps, rngs(2))
    alone = PublishedCurves(minimum=0)(Probe(probe.classifier, images(2)[1:], [1]), maps[1:], rngs(2)[1:])
    for name, (first, second) in scores.items():
        assert first.reason == "the map is not finite"
        assert (second.value, second.reason) == pytest.approx(
            (alone[name][0].value, alone[name][0].reason), nan_ok=True
        )


@pytest.mark.parametrize(
    "parameters", [{"fractions": (0.5, 0.2)}, {"fractions": ()}, {"start": 1.0}, {"minimum": 1.5}, {"points": 1}]
)
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="published_curves: expected fractions ascending"):
        PublishedCurves(**parameters)


def test_nothing_was_published_for_volumes(summing) -> None:
    with pytest.raises(MedsaliencyError, match=r"published_curves: expected images .* defined in the plane only"):
        PublishedCurves()(Probe(summing(), torch.rand(1, 1, 3, 16, 16), [1]), torch.rand(1, 3, 16, 16), rngs(1))
