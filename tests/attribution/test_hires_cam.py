from __future__ import annotations

import torch

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.hires_cam import HiResCAM
from medsaliency.model.probe import Probe


def test_positions_are_weighted_one_by_one(unpooled, generators) -> None:
    # A = [[0.5, 0.25], [0.25, -1]], g = [[1, 2], [-1, 3]].
    probe = Probe(*unpooled, [0])
    torch.testing.assert_close(HiResCAM()(probe, generators(1)), torch.tensor([[[0.5, 0.5], [-0.25, -3.0]]]))
    positive = HiResCAM(sign="positive")(probe, generators(1))
    torch.testing.assert_close(positive, torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]))


def test_under_global_pooling_it_is_grad_cam(by_hand, by_hand_image, generators) -> None:
    probe = Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1])
    torch.testing.assert_close(HiResCAM()(probe, generators(2)), GradCAM(sign="signed")(probe, generators(2)))


def test_below_one_linear_layer_the_map_adds_up_to_the_logit_less_its_bias(classifier, images, generators) -> None:
    # Pooling to 2 x 2 is linear too. Doubling both sides of the grid, bilinearly, makes the sum four times as large.
    targets = [0, 1, 2, 0]
    probe = Probe(classifier, images, targets)
    expected = probe.logits[torch.arange(4), targets] - classifier.module[2][3].bias.detach()[targets]
    torch.testing.assert_close(HiResCAM()(probe, generators(4)).sum(dim=(1, 2)) / 4, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(GradCAM(sign="signed")(probe, generators(4)).sum(dim=(1, 2)) / 4, expected, rtol=0.01)
