from __future__ import annotations

import numpy as np
import pytest
import torch

from medsaliency.evaluation.revealing import best_pixels, class_probabilities
from medsaliency.model.probe import Probe
from medsaliency.types import generator


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, str(i)) for i in range(count)]


def test_the_best_pixels_of_two_maps_by_hand() -> None:
    maps = torch.tensor([[[4.0, 1, 3], [2, 6, 5]], [[-1, -2, -3], [-4, -5, -6]]])
    found = best_pixels(maps, rngs(2), (0.0, 1 / 6, 0.5, 1.0))
    assert found.dtype == torch.bool
    assert found.shape == (2, 4, 2, 3)
    assert found[0, 1].int().tolist() == [[0, 0, 0], [0, 1, 0]]
    assert found[0, 2].int().tolist() == [[1, 0, 0], [0, 1, 1]]
    assert found[1, 1].int().tolist() == [[1, 0, 0], [0, 0, 0]]
    assert found[1, 2].int().tolist() == [[1, 1, 1], [0, 0, 0]]
    assert found[:, 0].sum() == 0
    assert found[:, 3].all()


def test_ties_show_exactly_k_pixels_in_a_seeded_order_and_later_steps_keep_earlier_ones() -> None:
    fractions = (0.1, 0.33, 0.5)
    found, again, other = (best_pixels(torch.zeros(1, 10, 10), rngs(1, seed), fractions) for seed in (0, 0, 1))
    assert found.sum(dim=(2, 3)).tolist() == [[10, 33, 50]]
    assert (found[:, 1:] | ~found[:, :-1]).all()
    assert torch.equal(found, again)
    assert not torch.equal(found, other)
    assert found[0, 2].flatten().nonzero().max() >= 50  # not simply the first rows


def test_the_order_of_an_image_s_ties_does_not_depend_on_its_batch() -> None:
    together = best_pixels(torch.zeros(3, 5, 5), rngs(3), (0.2, 0.6))
    alone = best_pixels(torch.zeros(1, 5, 5), rngs(3)[2:], (0.2, 0.6))
    assert torch.equal(together[2:], alone)
    assert not torch.equal(together[0], together[2])


@pytest.mark.parametrize(("at_once", "sizes"), [(4, [4, 4, 2]), (1, [2] * 5), (100, [10]), (None, [10])])
def test_probabilities_come_in_order_and_few_images_are_held(summing, at_once, sizes) -> None:
    classifier = summing(scale=0.5, middle=1.0)
    images = torch.rand(5, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    probe = Probe(classifier, images, [1] * 5)
    probe.probabilities_of(images)  # what the classifier does once, it has done
    classifier.module.shown.clear()

    def show(i: int) -> torch.Tensor:
        return torch.cat([images[i : i + 1], images[i : i + 1] / 2])

    found = class_probabilities(probe, show, 2, at_once=at_once)
    assert [len(part) for part in classifier.module.shown] == sizes
    sums = images.sum(dim=(1, 2, 3))
    rising = torch.sigmoid(0.5 * (torch.stack([sums, sums / 2], dim=1) - 1))
    torch.testing.assert_close(found, torch.stack([1 - rising, rising], dim=2))
