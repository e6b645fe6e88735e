from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import resize

from medsaliency.model.grids import aligned, pixels, places, upsample

IMAGES, VOLUMES = torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5, 6)


def test_places_and_pixels() -> None:
    assert places(IMAGES) == (2, 3)
    assert places(VOLUMES) == (2, 3, 4)
    assert (pixels(IMAGES), pixels(VOLUMES)) == (20, 120)


def test_values_are_aligned_with_their_images() -> None:
    each, channel = torch.arange(2.0), torch.arange(6.0).reshape(2, 3)
    for images in (IMAGES, VOLUMES):
        found = images + aligned(each, images), images + aligned(channel, images)
        for i in range(2):
            assert found[0][i].unique().tolist() == [i]
            assert [found[1][i, k].unique().tolist() for k in range(3)] == [[3.0 * i + k] for k in range(3)]


@pytest.mark.parametrize(("grid", "size"), [((3,), (7,)), ((3, 2), (8, 9)), ((3, 2, 4), (8, 9, 10))])
def test_maps_are_enlarged_as_by_scikit_image(grid, size) -> None:
    maps = torch.rand(2, 1, *grid, generator=torch.Generator().manual_seed(0))
    for small, large in zip(maps, upsample(maps, size), strict=True):
        wanted = resize(small[0].numpy().astype(float), size, order=1, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(large[0], wanted, atol=1e-6)
