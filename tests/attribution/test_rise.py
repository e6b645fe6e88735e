from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import resize

from medsaliency.attribution.rise import RISE
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator


def test_masks_are_those_of_the_papers_recipe() -> None:
    """Coarse random cells, enlarged with one cell to spare by an independent implementation, cut out at a shift."""
    method = RISE(masks=5, grid=4, probability=0.3)
    masks = torch.cat(list(method.draw(generator(0), torch.zeros(1, 10, 13), 5)))
    rng = generator(0)
    cells = rng.random((5, 4, 4), dtype=np.float32) < 0.3
    shifts = rng.integers([3, 4], size=(5, 2))  # a cell is 10 / 4 by 13 / 4 pixels, rounded up
    for mask, cell, (y, x) in zip(masks, cells, shifts, strict=True):
        enlarged = resize(cell.astype(float), (15, 20), order=1, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(mask, enlarged[y : y + 10, x : x + 13], atol=1e-6)


def test_masks_of_a_volume_are_cut_out_of_enlarged_cells() -> None:
    masks = torch.cat(list(RISE(masks=3, grid=2).draw(generator(0), torch.zeros(2, 3, 4, 9), 2)))
    rng = generator(0)
    cells = rng.random((3, 2, 2, 2), dtype=np.float32) < 0.5
    shifts = rng.integers([2, 2, 5], size=(3, 3))
    for mask, cell, (z, y, x) in zip(masks, cells, shifts, strict=True):
        enlarged = resize(cell.astype(float), (6, 6, 15), order=1, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(mask, enlarged[z : z + 3, y : y + 4, x : x + 9], atol=1e-6)


def test_masks_do_not_depend_on_how_many_are_made_together() -> None:
    method, image = RISE(masks=10, grid=3), torch.zeros(1, 9, 9)
    whole = torch.cat(list(method.draw(generator(1), image, 10)))
    parts = list(method.draw(generator(1), image, 4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_a_mask_shows_its_share_of_every_pixel(probability) -> None:
    method = RISE(masks=4000, grid=4, probability=probability)
    mean = torch.cat(list(method.draw(generator(2), torch.zeros(1, 12, 12), 4000))).mean(dim=0)
    # A pixel's variance is at most p (1 - p), that of a cell.
    spread = (probability * (1 - probability) / 4000) ** 0.5
    assert float((mean - probability).abs().max()) < 5 * spread


def test_with_one_cell_the_whole_image_is_shown_or_hidden(linear, linear_images, generators) -> None:
    method = RISE(masks=20, grid=1, probability=0.6)
    maps = method(Probe(linear, linear_images, [0, 1, 2]), generators(3))
    scores = linear.logits(linear_images).diagonal()
    for found, score, rng in zip(maps, scores, generators(3), strict=True):
        shown = int((rng.random(20, dtype=np.float32) < 0.6).sum())
        torch.testing.assert_close(found, (score * shown / (20 * 0.6)).expand(5, 6))


def test_a_map_is_the_weighted_mean_of_masks(by_hand, by_hand_image) -> None:
    method = RISE(masks=7, grid=2)
    maps = method(Probe(by_hand, by_hand_image, [1]), [generator(3)])
    expected = torch.zeros(2, 2)
    for mask in torch.cat(list(method.draw(generator(3), by_hand_image[0], 7))):
        x = mask * by_hand_image[0, 0]
        expected += (3 * (0.5 - x).relu().mean() - x.relu().mean()) * mask
    torch.testing.assert_close(maps[0], expected / (7 * 0.5))


def test_the_pixel_that_decides_stands_out(generators) -> None:
    class Corner(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0, 3, 12, None].repeat(1, 2)

    images = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = RISE(masks=1000, grid=4)(Probe(Classifier(Corner(), ["a", "b"]), images, [0]), generators(1))
    row, column = divmod(int(maps[0].argmax()), 16)
    assert max(abs(row - 3), abs(column - 12)) <= 2


@pytest.mark.parametrize("wrong", [{"masks": 0}, {"grid": 0}, {"probability": 0.0}, {"probability": 1.0}])
def test_what_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(MedsaliencyError, match="rise: expected"):
        RISE(**wrong)
