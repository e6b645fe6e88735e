from __future__ import annotations

import math

import torch

from medsaliency.attribution.score_cam import ScoreCAM
from medsaliency.model.probe import Probe


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # Masks: A0 spans 0 to 1 already; A1 / 0.5 = [[0, 0], [1, 0.5]]; A2 is constant and shows the black image.
    # x * A0 = [[1, 0.25], [0, 0.0625]]: mean A0 = 0.328125, mean A1 = (0.25 + 0.5 + 0.4375) / 4 = 0.296875,
    #   z0 = 4 * 0.328125 - 2 * 0.296875 = 0.71875, z1 = -0.328125 + 3 * 0.296875 = 0.5625.
    # x * A1 / 0.5 = [[0, 0], [0, 0.125]]: mean A0 = 0.03125, mean A1 = (0.5 + 0.5 + 0.5 + 0.375) / 4 = 0.46875,
    #   z0 = 0.125 - 0.9375 = -0.8125, z1 = -0.03125 + 1.40625 = 1.375.
    # Black: A0 = 0, A1 = 0.5, z0 = -1, z1 = 1.5.
    logits = [(0.71875, -0.8125, -1.0), (0.5625, 1.375, 1.5)]
    maps = ScoreCAM()(Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1]), generators(2))
    a0, a1 = by_hand_image[0, 0], torch.tensor([[0.0, 0.0], [0.5, 0.25]])
    for target, of_the_masked in enumerate(logits):
        shares = [math.exp(logit) for logit in of_the_masked]
        w0, w1, w2 = (share / sum(shares) for share in shares)
        torch.testing.assert_close(maps[target], w0 * a0 + w1 * a1 + w2 * 0.3)


def test_a_mask_is_scaled_from_its_lowest_value(by_hand, generators) -> None:
    # A0 = x spans 0.5 to 1, so its mask is [[1, 0], [0, 0.5]]; A1 = 0 and A2 are constant and show the black image.
    # x * mask = [[1, 0], [0, 0.375]]: mean A0 = 0.34375, mean A1 = (0.5 + 0.5 + 0.125) / 4 = 0.28125, z0 = 0.8125.
    x = torch.tensor([[1.0, 0.5], [0.5, 0.75]])
    maps = ScoreCAM()(Probe(by_hand, x[None, None], [0]), generators(1))
    shares = [math.exp(0.8125), math.exp(-1), math.exp(-1)]
    torch.testing.assert_close(maps[0], (shares[0] * x + shares[2] * 0.3) / sum(shares))


def test_masked_images_pass_in_micro_batches(by_hand, by_hand_image, generators) -> None:
    by_hand.batch_size = 1
    passes = []
    hook = by_hand.module.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    ScoreCAM()(Probe(by_hand, by_hand_image, [0]), generators(1))
    hook.remove()
    # The features, the black image, and the two feature maps that are not constant.
    assert passes == [1, 1, 1, 1]
