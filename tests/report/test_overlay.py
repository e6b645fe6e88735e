from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from medsaliency.report.overlay import colorize, contours, data_uri, encode, outline_path, photograph, scaled


def ramp(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 400, dtype=np.float32).reshape(20, 20)


def test_no_saliency_is_transparent_and_the_most_is_opaque() -> None:
    alpha = colorize(ramp(0, 1))[..., 3]
    assert alpha.flat[0] == 0
    assert alpha.flat[-1] == 255
    assert (np.diff(alpha.ravel().astype(int)) >= 0).all()


def test_a_signed_map_is_red_for_blue_against_and_transparent_at_zero() -> None:
    saliency = np.zeros((3, 3), dtype=np.float32)
    saliency[0, 0], saliency[2, 2] = -2, 2
    colors = colorize(saliency).astype(int)
    assert colors[0, 0, 2] > colors[0, 0, 0] + 100
    assert colors[2, 2, 0] > colors[2, 2, 2] + 100
    assert (colors[1, 1] == [*colors[1, 1, :3], 0]).all()


def test_a_signed_map_keeps_zero_in_the_middle_when_its_values_are_lopsided() -> None:
    shown = scaled(ramp(-1, 9), signed=True)
    assert shown.flat[40] == pytest.approx(0, abs=0.01)
    assert shown.min() > -0.2


def test_one_hot_pixel_does_not_hide_the_rest() -> None:
    saliency = ramp(0, 1)
    saliency[0, 0] = 1e6
    assert scaled(saliency, signed=False)[10, 10] > 0.4


def test_a_single_lit_pixel_is_still_shown() -> None:
    saliency = np.zeros((20, 20), dtype=np.float32)
    saliency[3, 4] = 0.2
    assert np.argwhere(colorize(saliency)[..., 3] > 0).tolist() == [[3, 4]]


@pytest.mark.parametrize("value", [0.0, 0.7, np.nan])
def test_a_map_without_contrast_shows_nothing(value: float) -> None:
    assert not colorize(np.full((4, 4), value, dtype=np.float32))[..., 3].any()


def test_nan_in_a_map_is_transparent() -> None:
    saliency = ramp(0, 1)
    saliency[19, 19] = np.nan
    assert colorize(saliency)[19, 19, 3] == 0


def test_images_are_clipped_and_channels_drawn() -> None:
    assert photograph(np.array([[[-1.0, 0.5, 2.0]]])).tolist() == [[0, 128, 255]]
    assert photograph(np.zeros((3, 4, 5), dtype=np.float32)).shape == (4, 5, 3)
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        photograph(np.zeros((4, 5), dtype=np.float32))


def test_outline_encloses_the_mask_in_pixel_coordinates() -> None:
    lesion = np.zeros((10, 12), dtype=bool)
    lesion[2:5, 6:11] = True
    (line,) = contours(lesion)
    # Half way between the centers of the last pixel inside and the first outside is the pixels' common side.
    assert line.min(axis=0).tolist() == [6, 2]
    assert line.max(axis=0).tolist() == [11, 5]
    assert outline_path(lesion).startswith("M")
    assert outline_path(lesion).endswith("Z")


def test_a_lesion_at_the_edge_is_closed_and_an_empty_one_has_no_outline() -> None:
    (line,) = contours(np.ones((4, 4), dtype=bool))
    assert (line[0] == line[-1]).all()
    assert outline_path(np.zeros((4, 4), dtype=bool)) == ""


def test_pictures_are_small_webp() -> None:
    noise = np.random.default_rng(0).random((512, 400)).astype(np.float32)
    webp = encode(colorize(noise))
    picture = Image.open(BytesIO(base64.b64decode(data_uri(webp).partition(",")[2])))
    assert (picture.format, picture.size, picture.mode) == ("WEBP", (100, 128), "RGBA")
    assert len(webp) < 16_000
