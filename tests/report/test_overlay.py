from __future__ import annotations

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from medsaliency.report.overlay import (
    DIVERGING,
    SEQUENTIAL,
    colorize,
    contours,
    data_uri,
    encode,
    legend_gradient,
    outline_path,
    photograph,
    scaled,
)

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
"""Linear RGB as seen without the middle cones: Machado et al. 2009, doi:10.1109/TVCG.2009.113, severity 1."""


def shades(colors: object, count: int = 65) -> np.ndarray:
    """(count, 3) sRGB along a color map."""
    return np.asarray(colors(np.linspace(0, 1, count)))[:, :3]  # type: ignore[operator]


def lab(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(rgb2lab(rgb[None])[0])


def without_middle_cones(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEUTERANOPIA.T, 0, 1)
    return np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)


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


def test_a_picture_keeps_enough_steps_of_opacity_to_draw_a_smooth_map_without_rings() -> None:
    webp = encode(colorize(ramp(0, 1).repeat(5, axis=0).repeat(5, axis=1)))
    assert len(np.unique(np.asarray(Image.open(BytesIO(webp)))[..., 3])) >= 12


def test_the_sides_asked_for_are_kept_and_small_pictures_are_not_enlarged() -> None:
    gray = np.zeros((200, 100), dtype=np.uint8)
    assert [Image.open(BytesIO(encode(gray, side))).size for side in (96, 400, None)] == [
        (48, 96),
        (100, 200),
        (100, 200),
    ]


def test_the_diverging_map_is_as_light_on_one_side_of_zero_as_on_the_other() -> None:
    lightness = lab(shades(DIVERGING))[:, 0]
    assert lightness.argmax() == 32
    assert lightness[32] == pytest.approx(100, abs=0.1)
    assert (np.diff(lightness[:33]) > 0).all()
    assert (np.diff(lightness[32:]) < 0).all()
    np.testing.assert_allclose(lightness, lightness[::-1], atol=1)


def test_the_diverging_map_is_uniform_and_its_ends_are_equally_far_from_zero() -> None:
    colors = lab(shades(DIVERGING))
    steps = np.linalg.norm(np.diff(colors, axis=0), axis=1)
    for side in (steps[:32], steps[32:]):
        assert side.std() / side.mean() < 0.1
    ends = deltaE_ciede2000(colors[[0, -1]], colors[[32, 32]])
    assert ends[0] == pytest.approx(ends[1], rel=0.1)


def test_for_and_against_stay_apart_without_middle_cones() -> None:
    seen = lab(without_middle_cones(shades(DIVERGING)))
    apart = deltaE_ciede2000(seen[:32], seen[:32:-1])
    assert (np.diff(apart) < 0).all(), "the stronger the further"
    assert apart[0] > 40
    assert apart[24] > 10, "already at a quarter of full color; 2.3 is a just noticeable difference"
    # The two sides differ in the one axis that is left, blue to yellow.
    assert (seen[:32, 2] < 0).all()
    assert (seen[33:, 2] > 0).all()


def test_the_sequential_map_rises_in_lightness_for_all_eyes() -> None:
    for colors in (shades(SEQUENTIAL), without_middle_cones(shades(SEQUENTIAL))):
        assert (np.diff(lab(colors)[:, 0]) > 0).all()


@pytest.mark.parametrize(("signed", "opacity"), [(False, ["0", "0.5", "1"]), (True, ["1", "0", "1"])])
def test_the_legend_is_as_transparent_as_the_maps(signed: bool, opacity: list[str]) -> None:
    legend = legend_gradient(signed=signed, stops=3)
    stops = re.findall(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", legend)
    assert [stop[3] for stop in stops] == opacity
    values = np.array([[-1.0, 0.0, 1.0]] if signed else [[0.0, 0.5, 1.0]], dtype=np.float32)
    drawn = (DIVERGING if signed else SEQUENTIAL)((values + 1) / 2 if signed else values, bytes=True)
    assert [tuple(map(int, stop[:3])) for stop in stops] == [tuple(color) for color in drawn[0, :, :3].tolist()]
