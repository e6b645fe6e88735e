from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from medsaliency.attribution.gradient import Gradient
from medsaliency.evaluation.equivariance import Equivariance
from medsaliency.evaluation.similarity import dice, spearman
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError

NAMES = ["flip_consistency", "flip_overlap", "shift_consistency", "shift_overlap"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def pixels(probe: Probe) -> Tensor:
    return probe.images[:, 0]


def gradient(probe: Probe) -> Tensor:
    return Gradient()(probe, [])


def check(probe: Probe, explain, **parameters):
    scores = Equivariance(**parameters)(probe, explain, explain(probe), [])
    return {name: [score.value for score in found] for name, found in scores.items()}


def test_its_measures(summing) -> None:
    assert [measure.name for measure in Equivariance().measures] == NAMES
    assert all(measure.higher_is_better for measure in Equivariance().measures)
    assert list(check(Probe(summing(), noise(1, 1, 20, 20), [1]), pixels)) == NAMES


@pytest.mark.parametrize("shift", [1, 4, 9])
def test_a_map_that_is_the_image_moves_with_it(summing, shift) -> None:
    scores = check(Probe(summing(), noise(2, 1, 20, 24), [1, 1]), pixels, shift=shift)
    for name in NAMES:
        assert scores[name] == pytest.approx([1, 1])


@pytest.mark.parametrize("explain", [lambda p: (p.images**2)[:, 0], lambda p: -p.images[:, 0]])
def test_whatever_looks_at_each_pixel_alone_moves_too(summing, explain) -> None:
    scores = check(Probe(summing(), noise(1, 1, 20, 20), [1]), explain)
    assert [scores[name][0] for name in NAMES] == pytest.approx([1] * 4)


def test_the_gradient_of_a_linear_model_is_as_symmetric_as_its_weights(summing) -> None:
    half = noise(20, 10, seed=1)
    for weights, expected in (
        (torch.cat([half, half.flip(-1)], dim=1), 1),
        (torch.cat([half, -half.flip(-1)], dim=1), -1),
    ):
        scores = check(Probe(summing(weights), noise(1, 1, 20, 20), [1]), gradient)
        assert scores["flip_consistency"] == pytest.approx([expected])


def test_a_map_that_stays_where_it_is_compares_with_its_own_copy_moved(summing) -> None:
    # Gradient of a linear model: its weights, whatever the image.
    weights = noise(12, 15, seed=1)
    probe = Probe(summing(weights), noise(1, 1, 12, 15), [1])
    scores = check(probe, gradient, shift=2, share=0.2)
    w = weights.numpy()
    assert scores["flip_consistency"] == pytest.approx([spearman(w, w[:, ::-1]).value])
    assert scores["flip_overlap"] == pytest.approx([dice(w, w[:, ::-1], 0.2).value])
    inside, later, before = w[2:-2, 2:-2], w[4:, 4:], w[:-4, :-4]
    for name, similarity in (("consistency", spearman), ("overlap", partial(dice, share=0.2))):
        both = (similarity(inside, later).value + similarity(inside, before).value) / 2
        assert scores[f"shift_{name}"] == pytest.approx([both])


def test_a_fixed_ramp_by_hand(summing) -> None:
    ramp = torch.arange(400.0).reshape(1, 20, 20).transpose(1, 2)  # highest at the right; no two pixels equal
    scores = check(Probe(summing(), noise(1, 1, 20, 20), [1]), lambda _: ramp)
    assert scores["flip_consistency"][0] == pytest.approx(-1, abs=0.01)  # but for the order inside columns
    assert scores["flip_overlap"] == [0]
    # Shifted by the same step everywhere, a plane keeps its order.
    assert [scores["shift_consistency"][0], scores["shift_overlap"][0]] == pytest.approx([1, 1])


def test_the_gradient_of_a_convolution_moves_with_the_image_away_from_the_border() -> None:
    # A sum of squared 3 x 3 responses, zeros beyond the border: a gradient looks two pixels far, and shifts by 4 repeat
    # the edge, so that of the windows only the outermost pixels can meet what is new.
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
            self.conv.weight.data = noise(2, 1, 3, 3) - 0.5

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).square().sum(dim=(2, 3))

    images = torch.zeros(1, 1, 40, 40)
    images[:, :, 12:28, 12:28] = noise(1, 1, 16, 16)
    scores = check(Probe(Classifier(Squared(), ["a", "b"]), images, [1]), gradient)
    assert scores["shift_consistency"] == pytest.approx([1], abs=1e-6)
    assert scores["shift_overlap"] == pytest.approx([1], abs=1e-6)
    assert scores["flip_consistency"][0] < 0.9  # the filters have no symmetry


def test_targets_stay_and_its_cost_is_three_explanations(summing) -> None:
    # Weights to the right and the middle at the image's own sum: mirrored, the image is of the other class.
    weights = torch.arange(20.0).repeat(20, 1)
    image = noise(1, 1, 20, 20) * weights
    probe = Probe(summing(weights, middle=float((image * weights).sum()) - 1), image)
    seen = []

    def spy(other: Probe) -> Tensor:
        seen.append(other)
        return pixels(other)

    Equivariance()(probe, spy, pixels(probe), [])
    assert len(seen) == 3
    assert [other.targets.tolist() for other in seen] == [[1]] * 3
    assert int(seen[0].logits.argmax()) == 0


def test_a_constant_map_is_undefined_for_its_image_alone(summing) -> None:
    images = noise(2, 1, 20, 20)
    images[0] = 0.5
    probe = Probe(summing(), images, [1, 1])
    for found in Equivariance()(probe, pixels, pixels(probe), []).values():
        assert [score.reason for score in found] == ["a map is constant", ""]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"shift": 0}, "expected shift of 1 pixel or more, got 0"),
        ({"share": 0}, r"equivariance: expected share in \(0, 1\), got 0"),
        ({"share": 1.0}, r"equivariance: expected share in \(0, 1\), got 1.0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        Equivariance(**parameters)


def test_what_does_not_fit_is_refused(summing) -> None:
    probe = Probe(summing(), noise(1, 1, 8, 20), [1])
    with pytest.raises(MedsaliencyError, match="below half of the image's 8 x 20 pixels, got 4"):
        check(probe, pixels)
    with pytest.raises(MedsaliencyError, match=r"equivariance: expected maps of shape \(1, 8, 20\)"):
        Equivariance(shift=1)(probe, pixels, torch.zeros(1, 20, 8), [])


@pytest.mark.parametrize("shift", [1, 4])
def test_a_map_that_is_the_volume_moves_with_it(summing, shift) -> None:
    scores = check(Probe(summing(), noise(2, 1, 12, 20, 24), [1, 1]), pixels, shift=shift)
    for name in NAMES:
        assert scores[name] == pytest.approx([1, 1])


def test_a_map_that_stays_where_it_is_along_one_axis_is_found_out(summing) -> None:
    # What depends on the number of the slice alone cannot follow a volume that moves up and down.
    def by_slice(probe: Probe) -> Tensor:
        slices = noise(12, seed=1)[:, None, None]
        return slices.expand_as(probe.images[:, 0]) + 1e-3 * probe.images[:, 0]

    scores = check(Probe(summing(), noise(1, 1, 12, 20, 24), [1]), by_slice, shift=1)
    assert scores["flip_consistency"][0] > 0.9
    assert scores["shift_consistency"][0] < 0.5


def test_volumes_of_few_slices_are_refused_but_for_one(summing) -> None:
    with pytest.raises(MedsaliencyError, match="below half of the image's 8 x 20 x 20 pixels, got 4"):
        check(Probe(summing(), noise(1, 1, 8, 20, 20), [1]), pixels)
    scores = check(Probe(summing(), noise(1, 1, 1, 20, 20), [1]), pixels)
    assert scores["shift_overlap"] == pytest.approx([1])
