from __future__ import annotations

import pytest
import torch

from medsaliency.attribution.noise import noisy_copies
from medsaliency.model.probe import Probe


def test_an_image_gets_the_first_of_its_copies_however_many_the_others_get(linear, linear_images, generators) -> None:
    linear.batch_size = 4
    probe = Probe(linear, linear_images, [0, 1, 2])
    five = torch.cat([copies for _, _, copies in noisy_copies(probe, generators(3), 5, 0.2, antithetic=True)])
    found = list(noisy_copies(probe, generators(3), [3, 0, 5], 0.2, antithetic=True))
    assert [i for own, _, _ in found for i in own] == [0, 0, 0, 2, 2, 2, 2, 2]
    assert [n for _, numbers, _ in found for n in numbers] == [0, 1, 2, 0, 1, 2, 3, 4]
    torch.testing.assert_close(torch.cat([copies for *_, copies in found]), torch.cat([five[:3], five[10:]]))


@pytest.mark.parametrize("samples", [[2, 2], [2, 2, 2, 2]])
def test_numbers_of_copies_are_one_an_image(samples, linear, linear_images, generators) -> None:
    with pytest.raises(ValueError, match="zip"):
        next(noisy_copies(Probe(linear, linear_images, [0, 1, 2]), generators(3), samples, 0.2))
