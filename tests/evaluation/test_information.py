from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from medsaliency.evaluation.information import shannon_entropy, webp_length


def as_in_pair(image: np.ndarray) -> int:
    """The body of PAIR's `estimate_image_entropy` (saliency 0.2.1)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="webp", lossless=True, quality=100)
    buffer.seek(0, io.SEEK_END)
    return buffer.tell()


def test_entropy_in_closed_form() -> None:
    assert shannon_entropy(np.full((1, 8, 8), 77, np.uint8)) == 0
    assert shannon_entropy(np.arange(256, dtype=np.uint8).reshape(1, 16, 16)) == pytest.approx(8)
    quarter = np.zeros((1, 4, 4), np.uint8)
    quarter[0, 0] = 255
    assert shannon_entropy(quarter) == pytest.approx(0.25 * 2 + 0.75 * np.log2(4 / 3))


def test_the_entropy_of_color_is_that_of_its_luma() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert shannon_entropy(np.repeat(grey, 3, axis=0)) == pytest.approx(8)
    color = np.zeros((3, 2, 2), np.uint8)
    color[0, 0], color[1, 1] = 255, 255  # red luma 76, green 150
    assert shannon_entropy(color) == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_webp_length_is_that_of_pair(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (channels, 40, 30), dtype=np.uint8)
    pixels = image[0] if channels == 1 else image.transpose(1, 2, 0)
    assert webp_length(image) == as_in_pair(pixels)
    assert webp_length(np.zeros_like(image)) < webp_length(image)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_volume_has_one_histogram_and_a_file_a_slice(channels: int) -> None:
    volume = np.random.default_rng(0).integers(0, 256, (channels, 5, 12, 10), dtype=np.uint8)
    volume[:, 2:] //= 3  # slices of other histograms
    assert webp_length(volume) == sum(webp_length(volume[:, i]) for i in range(5))
    assert shannon_entropy(volume) == pytest.approx(shannon_entropy(volume.reshape(channels, 60, 10)))
    assert shannon_entropy(volume) != pytest.approx(np.mean([shannon_entropy(volume[:, i]) for i in range(5)]))
    assert shannon_entropy(volume[:, :, ::-1]) == shannon_entropy(volume)
