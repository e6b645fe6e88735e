from __future__ import annotations

import torch

from medsaliency.attribution.method import over_channels, upsample, weighted_cam
from medsaliency.model.probe import Probe


def test_over_channels_keeps_the_sign_or_sums_magnitudes() -> None:
    attributions = torch.tensor([[[[1.0, -2.0]], [[-3.0, -1.0]]]])
    assert over_channels(attributions, absolute=False).tolist() == [[[-2.0, -3.0]]]
    assert over_channels(attributions, absolute=True).tolist() == [[[4.0, 3.0]]]


def test_upsampling_is_linear_between_the_centers_of_cells() -> None:
    # Two cells over four pixels: centers at pixels 0.5 and 2.5; constant outside them.
    row = upsample(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
    torch.testing.assert_close(row, torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]))


def test_a_cam_is_the_positive_part_before_upsampling(linear) -> None:
    activations = torch.tensor([[[[1.0, -1.0]], [[0.0, 3.0]]]])
    cam = weighted_cam(Probe(linear, torch.zeros(1, 2, 1, 4), [0]), activations, torch.tensor([[1.0, 0.0]]))
    # The cells (1, -1) become (1, 0); upsampled first, the row would be (1, 0.5, 0, 0).
    torch.testing.assert_close(cam, torch.tensor([[[1.0, 0.75, 0.25, 0.0]]]))
