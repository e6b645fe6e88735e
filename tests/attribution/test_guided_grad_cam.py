from __future__ import annotations

import torch

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.guided_backprop import GuidedBackprop
from medsaliency.attribution.guided_grad_cam import GuidedGradCAM
from medsaliency.model.probe import Probe


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # Grad-CAM for z0 weighs A0 by 1 and A1 by -0.5: relu(x - 0.5 * A1) = [[1, 0.5], [0, 0.125]].
    # Guided gradients are 1 where x > 0.
    maps = GuidedGradCAM()(Probe(by_hand, by_hand_image, [0]), generators(1))
    torch.testing.assert_close(maps[0], torch.tensor([[1.0, 0.5], [0.0, 0.125]]))


def test_it_is_the_product(classifier, images, generators) -> None:
    probe = Probe(classifier, images, [0, 1, 2, 0])
    product = GuidedBackprop().attributions(probe, generators(4)) * GradCAM()(probe, generators(4))[:, None]
    torch.testing.assert_close(GuidedGradCAM()(probe, generators(4)), product.sum(dim=1))
    torch.testing.assert_close(GuidedGradCAM(sign="absolute")(probe, generators(4)), product.abs().sum(dim=1))
