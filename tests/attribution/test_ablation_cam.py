from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medsaliency.attribution import ablation_cam
from medsaliency.attribution.ablation_cam import AblationCAM
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast

A1 = torch.tensor([[0.0, 0.0], [0.5, 0.25]])


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many activations each call puts in the layer's place."""
    counts: list[int] = []
    run = Probe.scores_from_layer

    def counting(probe: Probe, activations: Tensor, owner: int) -> Tensor:
        counts.append(len(activations))
        return run(probe, activations, owner)

    monkeypatch.setattr(Probe, "scores_from_layer", counting)
    return counts


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # Mean A0 = 0.4375, mean A1 = 0.1875. z0 = 1.75 - 0.375 = 1.375, of which A0 holds 1.75 and A1 -0.375.
    # z1 = -0.4375 + 0.5625 = 0.125, of which A0 holds -0.4375 and A1 0.5625: weights -3.5 and 4.5.
    probe = Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1])
    a0 = by_hand_image[0, 0]
    expected = torch.stack([(1.75 * a0 - 0.375 * A1) / 1.375, -3.5 * a0 + 4.5 * A1]).clamp(min=0)
    torch.testing.assert_close(AblationCAM()(probe, generators(2)), expected)


def test_a_score_below_zero_does_not_turn_the_map_upside_down(by_hand, by_hand_image, generators) -> None:
    # z1 - z0 = -1.25, of which A0 holds -0.4375 - 1.75 and A1 0.5625 + 0.375: A1 is what speaks for it.
    probe = Probe(by_hand, by_hand_image, [Contrast(1, 0)])
    expected = ((-2.1875 * by_hand_image[0] + 0.9375 * A1) / 1.25).clamp(min=0)
    torch.testing.assert_close(AblationCAM()(probe, generators(1)), expected)


def test_a_score_of_zero_has_no_shares_and_the_drops_themselves_are_the_weights(by_hand, generators) -> None:
    # A0 = x sums to 0.6875, A1 = [[0, 0.375], [0.5, 0.5]] to 1.375: z0 = 0.6875 - 0.6875.
    x = torch.tensor([[0.5625, 0.125], [0.0, 0.0]])
    expected = 0.6875 * torch.tensor([[[0.5625, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(AblationCAM()(Probe(by_hand, x[None, None], [0]), generators(1)), expected)


def test_a_feature_map_that_is_zero_everywhere_is_not_tried(by_hand, generators, tried) -> None:
    # x = 1 everywhere: A1 = 0. The score itself, and the scores without A0 and without A2.
    probe = Probe(by_hand, torch.ones(1, 1, 2, 2), [0])
    torch.testing.assert_close(AblationCAM()(probe, generators(1)), torch.ones(1, 2, 2))
    assert tried == [3]


def test_few_are_held_at_once(by_hand, by_hand_image, generators, tried, monkeypatch) -> None:
    probe = Probe(by_hand, by_hand_image, [0])
    whole = AblationCAM()(probe, generators(1))
    monkeypatch.setattr(ablation_cam, "ELEMENTS", 2 * 3 * 4)
    torch.testing.assert_close(AblationCAM()(probe, generators(1)), whole)
    assert tried == [4, 2, 2]
