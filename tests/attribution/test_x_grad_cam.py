from __future__ import annotations

import torch

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.hires_cam import HiResCAM
from medsaliency.attribution.x_grad_cam import XGradCAM
from medsaliency.model.probe import Probe


def test_the_gradient_is_averaged_with_the_activations_as_weights(unpooled, generators) -> None:
    # A = [[0.5, 0.25], [0.25, -1]], g = [[1, 2], [-1, 3]]: weight (0.5 + 0.5 - 0.25 - 3) / 0 has a pole.
    # With A22 = 1 the weight is (0.5 + 0.5 - 0.25 + 3) / 2 = 1.875.
    model, image = unpooled
    assert float(XGradCAM(sign="signed")(Probe(model, image, [0]), generators(1)).abs().max()) == 0
    image = image.abs()
    torch.testing.assert_close(XGradCAM()(Probe(model, image, [0]), generators(1)), 1.875 * image[0])


def test_under_global_pooling_it_is_grad_cam(by_hand, by_hand_image, generators) -> None:
    probe = Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1])
    torch.testing.assert_close(XGradCAM()(probe, generators(2)), GradCAM()(probe, generators(2)))


def test_a_feature_map_that_is_zero_everywhere_counts_for_nothing(by_hand, generators) -> None:
    # x = 1 everywhere: A0 = 1 with weight 4 / 4 for target 0, and A1 = 0.
    probe = Probe(by_hand, torch.ones(1, 1, 2, 2), [0])
    torch.testing.assert_close(XGradCAM()(probe, generators(1)), torch.ones(1, 2, 2))


def test_it_adds_up_to_what_hires_cam_adds_up_to(classifier, images, generators) -> None:
    # The conservation axiom: the sum over positions of w A is the sum of g A, feature map by feature map.
    probe = Probe(classifier, images, [0, 1, 2, 0])
    sums = [method(probe, generators(4)).sum(dim=(1, 2)) for method in (XGradCAM(sign="signed"), HiResCAM())]
    torch.testing.assert_close(*sums, rtol=1e-4, atol=1e-3)
