from __future__ import annotations

import pytest
import torch

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.method import Signed, groups, upsample, weighted_sum
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError

ATTRIBUTIONS = torch.tensor([[[[1.0, -2.0]], [[-3.0, 4.0]]]])


@pytest.mark.parametrize(
    ("sign", "expected"), [("signed", [-2.0, 2.0]), ("absolute", [4.0, 6.0]), ("positive", [0.0, 2.0])]
)
def test_the_sign_is_an_explicit_choice(sign: str, expected: list[float]) -> None:
    assert Signed(sign=sign).over_channels(ATTRIBUTIONS).tolist() == [[expected]]


def test_magnitudes_are_taken_before_channels_are_summed_and_of_a_map_as_it_is() -> None:
    assert Signed(sign="absolute").of_map(ATTRIBUTIONS.sum(dim=1)).tolist() == [[[2.0, 2.0]]]


def test_an_unknown_sign_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match="expected sign as one of signed, absolute, positive, got 'abs'"):
        GradCAM(sign="abs")


def test_upsampling_is_linear_between_the_centers_of_cells() -> None:
    # Two cells over four pixels: centers at pixels 0.5 and 2.5; constant outside them.
    row = upsample(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
    torch.testing.assert_close(row, torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]))


def test_a_weighted_sum_is_over_feature_maps() -> None:
    activations = torch.tensor([[[[1.0, -1.0]], [[0.0, 3.0]]]])
    assert weighted_sum(activations, torch.tensor([[1.0, 2.0]])).tolist() == [[[1.0, 5.0]]]


@pytest.mark.parametrize(("passes", "sizes"), [(3, [2, 2]), (1, [4]), (100, [1, 1, 1, 1])])
def test_groups_fill_a_micro_batch(passes: int, sizes: list[int], classifier, images) -> None:
    classifier.batch_size = 6
    found = groups(Probe(classifier, images, [0] * 4), passes)
    assert [len(group) for group in found] == sizes
    assert [i for group in found for i in group] == [0, 1, 2, 3]
