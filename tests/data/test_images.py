import os
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from medsaliency.data import images
from medsaliency.data.images import read_image, read_mask, scale, to_channels
from medsaliency.types import MedsaliencyError

GRAY = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bits_are_divided_by_255(tmp_path, suffix):
    pixels = read_image(save(tmp_path / f"a.{suffix}", GRAY))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, [[[0, 0.2, 0.4], [0.6, 0.8, 1]]], rtol=1e-6)


def test_color_comes_channels_first(tmp_path):
    array = np.zeros((2, 3, 3), np.uint8)
    array[0, 1] = (255, 51, 0)
    pixels = read_image(save(tmp_path / "a.png", array))
    assert pixels.shape == (3, 2, 3)
    np.testing.assert_allclose(pixels[:, 0, 1], [1, 0.2, 0], rtol=1e-6)


def test_jpeg_of_one_value_keeps_it(tmp_path):
    pixels = read_image(save(tmp_path / "a.jpg", np.full((16, 16), 102, np.uint8)))
    np.testing.assert_allclose(pixels, np.full((1, 16, 16), 0.4), atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_their_own_range(tmp_path, suffix):
    pixels = read_image(save(tmp_path / f"a.{suffix}", np.array([[1000, 2000], [3000, 5000]], np.uint16)))
    np.testing.assert_allclose(pixels, [[[0, 0.25], [0.5, 1]]])


def test_floating_point_is_scaled_and_nan_refused(tmp_path):
    pixels = read_image(save(tmp_path / "a.tif", np.array([[-1, 0], [1, 3]], np.float32)))
    np.testing.assert_allclose(pixels, [[[0, 0.25], [0.5, 1]]])
    with pytest.raises(MedsaliencyError, match=r"NaN"):
        read_image(save(tmp_path / "b.tif", np.array([[np.nan, 0]], np.float32)))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_scale_undoes_any_window(low, width):
    unit = np.linspace(0, 1, 7)
    np.testing.assert_allclose(scale(low + width * unit), unit, atol=1e-4)


def test_scale_makes_constant_values_zero():
    np.testing.assert_array_equal(scale(np.full((2, 2), 7, np.uint16)), np.zeros((2, 2)))


def test_palette_becomes_color_without_a_warning(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 51] + [0] * 762)
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(pixels[:, 0], [[0, 1], [0, 0], [0, 0.2]], rtol=1e-6)


def test_alpha_is_dropped(tmp_path):
    array = np.zeros((1, 2, 4), np.uint8)
    array[0] = [(255, 51, 0, 0), (0, 0, 255, 128)]
    pixels = read_image(save(tmp_path / "a.png", array))
    np.testing.assert_allclose(pixels[:, 0], [[1, 0], [0.2, 0], [0, 1]], rtol=1e-6)
    gray = Image.fromarray(GRAY).convert("LA")
    gray.putalpha(Image.fromarray(np.zeros_like(GRAY)))
    gray.save(tmp_path / "b.png")
    np.testing.assert_allclose(read_image(tmp_path / "b.png")[0], GRAY / 255, rtol=1e-6)


def test_one_bit_image_is_zero_and_one(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[1, 0]]])


def test_a_color_space_without_gray_or_rgb_is_refused(tmp_path):
    Image.new("LAB", (2, 2)).save(tmp_path / "a.tif")
    with pytest.raises(MedsaliencyError, match=r"LAB"):
        read_image(tmp_path / "a.tif")


def test_a_stack_is_refused_rather_than_cut_to_its_first_slice(tmp_path):
    frames = [Image.fromarray(GRAY), Image.fromarray(GRAY)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(MedsaliencyError, match=r"a file of 2"):
        read_image(tmp_path / "a.tif")


def test_missing_truncated_and_other_files_name_the_source(tmp_path):
    with pytest.raises(MedsaliencyError, match=r"^a/b.png: no such image"):
        read_image(tmp_path / "b.png", source="a/b.png")
    with pytest.raises(MedsaliencyError, match=r"^long: cannot be read"):
        read_image(tmp_path / ("a" * 5000), source="long")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    for suffix in ("png", "jpg", "tif"):
        path = save(tmp_path / f"c.{suffix}", noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(MedsaliencyError, match=r"^cut: "):
            read_image(path, source="cut")
    (tmp_path / "d.png").write_text("not an image")
    with pytest.raises(MedsaliencyError, match=r"expected an image") as caught:
        read_image(tmp_path / "d.png", source="d")
    assert "\n" not in str(caught.value)


def test_a_large_image_is_refused_and_a_bomb_too(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", np.zeros((20, 30), np.uint8))
    monkeypatch.setattr(images, "MAX_PIXELS", 599)
    with pytest.raises(MedsaliencyError, match=r"at most 599 pixels, got 30 x 20"):
        read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(MedsaliencyError, match=r"cannot be read"):
        read_image(path)


def test_reading_in_threads_leaves_the_warning_filters_alone(tmp_path):
    path = save(tmp_path / "a.png", GRAY)
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_image(path) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_mask_is_everything_above_zero(tmp_path):
    expected = np.array([[False, True, True]])
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", np.array([[0, 1, 255]], np.uint8))), expected)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "b.png", expected)), expected)
    color = np.zeros((1, 3, 3), np.uint8)
    color[0, 1, 2], color[0, 2, 0] = 1, 9
    np.testing.assert_array_equal(read_mask(save(tmp_path / "c.png", color)), expected)


def test_channels_are_repeated_or_weighed():
    color = np.array([1, 0.5, 0.25], np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(to_channels(color, 1, "a"), [[[0.299 + 0.2935 + 0.0285]]], rtol=1e-6)
    assert to_channels(color, 3, "a") is color
    assert to_channels(np.ones((3, 2, 2), np.float32), 1, "a").max() <= 1
    np.testing.assert_array_equal(to_channels(color[:1], 3, "a"), np.ones((3, 1, 1)))
    with pytest.raises(MedsaliencyError, match=r"1 or 3"):
        to_channels(np.zeros((2, 1, 1), np.float32), 1, "a")


def test_postscript_under_the_name_of_a_picture_is_not_run(tmp_path, monkeypatch):
    program, ran = tmp_path / "gs", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\ntouch {ran}\necho 10.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # looked for anew, and forgotten after the test
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as image, pytest.raises(OSError):
        image.load()
    assert ran.is_file(), "Pillow by itself would have run it"
    ran.unlink()
    with pytest.raises(MedsaliencyError, match=r"expected an image, got another"):
        read_image(path)
    assert not ran.exists()
