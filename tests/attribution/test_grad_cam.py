from __future__ import annotations

import torch

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.model.probe import Probe


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # A logit's gradient at each of the 4 positions of a map is the map's weight / 4, so its mean is too.
    # Target 0: 4/4 A0 - 2/4 A1 = [[1, 0.5], [0 - 0.25, 0.25 - 0.125]].
    # Target 1: -1/4 A0 + 3/4 A1 = [[-0.25, -0.125], [0.375, -0.0625 + 0.1875]].
    probe = Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1])
    expected = torch.tensor([[[1.0, 0.5], [0.0, 0.125]], [[0.0, 0.0], [0.375, 0.125]]])
    torch.testing.assert_close(GradCAM()(probe, generators(2)), expected)
