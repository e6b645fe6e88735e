from __future__ import annotations

import torch

from medsaliency.attribution.layer_cam import LayerCAM
from medsaliency.model.probe import Probe


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # Gradients are the same at all 4 positions: (1, -0.5) of A0 and A1 for target 0, (-0.25, 0.75) for target 1.
    # Only the positive one of each pair counts: 1 A0, and 0.75 A1.
    probe = Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1])
    expected = torch.tensor([[[1.0, 0.5], [0.0, 0.25]], [[0.0, 0.0], [0.375, 0.1875]]])
    torch.testing.assert_close(LayerCAM()(probe, generators(2)), expected)


def test_positions_are_weighted_one_by_one(unpooled, generators) -> None:
    # A = [[0.5, 0.25], [0.25, -1]], g = [[1, 2], [-1, 3]]: relu(g) A = [[0.5, 0.5], [0, -3]], then its positive part.
    probe = Probe(*unpooled, [0])
    torch.testing.assert_close(LayerCAM()(probe, generators(1)), torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]))
    signed = LayerCAM(sign="signed")(probe, generators(1))
    torch.testing.assert_close(signed, torch.tensor([[[0.5, 0.5], [0.0, -3.0]]]))
