from __future__ import annotations

import torch
from torch import nn

from medsaliency.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # sum(A0) = 1.75, sum(A1) = 0.75. Gradients are the same at all 4 positions.
    # Target 0: g = (1, -0.5). alpha0 = 1 / (2 + 1.75 * 1); weight0 = 4 alpha0 * 1; relu(-0.5) = 0 leaves A1 out.
    # Target 1: g = (-0.25, 0.75). alpha1 = 1 / (2 + 0.75 * 0.75); weight1 = 4 alpha1 * 0.75; A0 is left out.
    probe = Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1])
    expected = torch.stack(
        [
            4 / 3.75 * torch.tensor([[1.0, 0.5], [0.0, 0.25]]),
            3 / 2.5625 * torch.tensor([[0.0, 0.0], [0.5, 0.25]]),
        ]
    )
    torch.testing.assert_close(GradCAMPlusPlus()(probe, generators(2)), expected)


def test_positions_are_weighted_one_by_one(generators) -> None:
    # Without pooling each position has its own gradient: g = [[1, 2], [-1, 0]], A = x, sum(A) = 1.
    # Weight: 1 / (2 + 1) * 1 + 1 / (2 + 2) * 2 + 0 + 0 = 5/6.
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        module[0].weight.fill_(1)
        module[2].weight.copy_(torch.tensor([[1.0, 2.0, -1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    image = torch.tensor([[0.5, 0.25], [0.25, 0.0]])[None, None]
    probe = Probe(Classifier(module, ["a", "b"], target_layer="0"), image.repeat(2, 1, 1, 1), [0, 1])
    maps = GradCAMPlusPlus()(probe, generators(2))
    torch.testing.assert_close(maps[0], 5 / 6 * image[0, 0])
    assert float(maps[1].abs().max()) == 0
