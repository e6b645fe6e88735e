"""Maps on disk: what is written comes back, in the precision that is stated, and what is lost is seen."""

from __future__ import annotations

from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.study.maps import NAME, Maps, as_kept, mend, pack, unpack
from medsaliency.types import FloatArray

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=False)
TINY, HUGE = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)


@st.composite
def some_maps(draw: st.DrawFn) -> FloatArray:
    """Maps (N, H, W), of values that are all tiny, all huge, or anything."""
    power = draw(st.integers(-149, 127))
    near = st.floats(-1, 1, width=32).map(lambda value: float(np.float32(value) * np.float32(2.0**power)))
    return draw(arrays.arrays(np.float32, (2, 3, 2), elements=draw(st.sampled_from([FLOATS, near]))))


def assert_within_the_rounding(found: FloatArray, maps: FloatArray) -> None:
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(maps))
    exact = maps.astype(np.float64)
    largest = np.nanmax(np.where(np.isnan(exact), 0, np.abs(exact)), axis=(1, 2), keepdims=True)
    allowed = np.maximum(np.abs(exact) * 2.0**-11, largest * 2.0**-25)
    there = ~np.isnan(exact)
    assert (np.abs(found.astype(np.float64) - exact)[there] <= allowed[there]).all()


@given(some_maps())
def test_float16_keeps_what_it_says(maps: FloatArray) -> None:
    halves, scales = pack(maps)
    assert (halves.dtype, scales.dtype, scales.shape) == (np.float16, np.float32, (2,))
    assert (np.frexp(scales)[0] == 0.5).all(), "powers of two"
    assert_within_the_rounding(unpack(halves, scales), maps)


@pytest.mark.parametrize("value", [0.0, TINY, -TINY, 1.0, 65504.0, 65536.0, float("nan"), float("inf")])
def test_float16_keeps_a_map_of_one_round_value_exactly(value: float) -> None:
    maps = np.full((1, 2, 2), value, np.float32)
    np.testing.assert_array_equal(unpack(*pack(maps)), maps)


@pytest.mark.parametrize("value", [HUGE, -HUGE, 2.0**127, HUGE * (1 - 2.0**-12)])
def test_the_largest_numbers_do_not_become_infinite(value: float) -> None:
    maps = np.full((1, 2, 2), value, np.float32)
    assert_within_the_rounding(unpack(*pack(maps)), maps)


def test_a_nan_or_infinity_in_a_map_takes_nothing_from_its_other_values() -> None:
    maps = np.array([[[0.001, np.nan], [np.inf, -0.002]]], np.float32)
    found = unpack(*pack(maps))
    np.testing.assert_allclose(found, maps, rtol=2.0**-11)


def test_as_kept_is_what_is_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(3, 4, 5)).astype(np.float32) * np.float32(1e-6)
    for precision in ("float32", "float16"):
        maps = Maps(tmp_path / precision, "a")
        maps.arrange(["a", "b", "c"], 2)
        maps.keep_map("edge", 0, given[:2], precision)  # type: ignore[arg-type]
        maps.keep_map("edge", 2, given[2:], precision)  # type: ignore[arg-type]
        found = np.stack([Maps(tmp_path / precision).map("edge", place) for place in range(3)])
        np.testing.assert_array_equal(found, as_kept(given, precision))  # type: ignore[arg-type]
    assert (as_kept(given, "float16") != given).any()


@pytest.fixture
def kept(tmp_path: Path) -> Maps:
    """Five images in shards of two, with the maps of two methods."""
    maps = Maps(tmp_path, "a")
    maps.arrange(list("abcde"), 2)
    for start in (0, 2, 4):
        own = np.arange(start, min(start + 2, 5))
        maps.keep("image", start, np.broadcast_to(own[:, None, None, None], (len(own), 1, 3, 3)).astype(np.float32))
        maps.keep("lesion", start, np.ones((len(own), 3, 3), np.bool_))
        maps.keep("has_lesion", start, own % 2 == 0)
        maps.keep_map("edge", start, np.broadcast_to(own[:, None, None], (len(own), 3, 3)), "float16")
        maps.keep_map("random", start, np.zeros((len(own), 3, 3), np.float32), "float32")
    return maps


def test_every_image_comes_back(kept: Maps, tmp_path: Path) -> None:
    maps = Maps(tmp_path)
    assert (maps.samples, maps.batch, sorted(maps.methods)) == (list("abcde"), 2, ["edge", "random"])
    for place in range(5):
        assert (maps.image(place) == place).all()
        assert (maps.map("edge", place) == place).all()
        lesion = maps.lesion(place)
        assert lesion is None if place % 2 else lesion is not None and lesion.all()
        assert maps.marker(place) is None


def test_each_file_is_where_it_is_said_to_be_also_where_it_holds_only_zeros(tmp_path: Path) -> None:
    maps = Maps(tmp_path, "a")
    maps.arrange(["a", "b", "c"], 2)
    files = [maps.keep("lesion", start, np.zeros((min(2, 3 - start), 4, 4), np.bool_)) for start in (0, 2)]
    assert files == [f"{NAME}/lesion/c/0/0/0", f"{NAME}/lesion/c/1/0/0"]
    assert all((tmp_path / file).is_file() for file in files)


def test_a_missing_chunk_reads_as_nan_and_not_as_zero(kept: Maps, tmp_path: Path) -> None:
    for name in ("image", "maps/edge", "maps/random"):
        for path in (tmp_path / NAME / name / "c" / "1").rglob("*"):
            if path.is_file():
                path.unlink()
    maps = Maps(tmp_path)
    for place, lost in enumerate((False, False, True, True, False)):
        assert np.isnan(maps.image(place)).all() == lost
        assert np.isnan(maps.map("edge", place)).all() == lost
        assert np.isnan(maps.map("random", place)).all() == lost


@pytest.mark.parametrize("spoil", [lambda content: content[:-5], lambda content: b"", lambda content: b"x" * 90])
def test_a_damaged_file_of_a_shard_is_written_over(kept: Maps, tmp_path: Path, spoil) -> None:
    path = tmp_path / Maps.file("maps/random", 4, 2, 2)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(Exception, match=r".+"):
        Maps(tmp_path).map("random", 4)
    Maps(tmp_path, "a").keep_map("random", 4, np.full((1, 3, 3), 7, np.float32), "float32")
    assert (Maps(tmp_path).map("random", 4) == 7).all()


def test_more_or_fewer_images_leave_the_shards_that_are_there(kept: Maps, tmp_path: Path) -> None:
    whole = (tmp_path / Maps.file("maps/edge", 2, 2, 2)).read_bytes()
    Maps(tmp_path, "a").arrange(list("abcdefg"), 2)
    assert (tmp_path / Maps.file("maps/edge", 2, 2, 2)).read_bytes() == whole
    assert (Maps(tmp_path).map("edge", 3) == 3).all()
    assert np.isnan(Maps(tmp_path).map("edge", 6)).all()
    Maps(tmp_path, "a").arrange(list("abcd"), 2)
    assert (Maps(tmp_path).map("edge", 3) == 3).all()
    assert not (tmp_path / Maps.file("maps/edge", 4, 2, 2)).exists()
    assert Maps(tmp_path).group["maps/edge"].shape[0] == 4  # type: ignore[union-attr]


def test_another_size_of_shards_starts_anew(kept: Maps, tmp_path: Path) -> None:
    Maps(tmp_path, "a").arrange(list("abcde"), 3)
    maps = Maps(tmp_path)
    assert (maps.batch, maps.methods) == (3, [])
    assert [path.name for path in (tmp_path / NAME).rglob("*") if path.is_file()] == ["zarr.json"]


def test_another_precision_or_size_of_maps_replaces_them(kept: Maps, tmp_path: Path) -> None:
    maps = Maps(tmp_path, "a")
    maps.keep_map("edge", 0, np.ones((2, 3, 3), np.float32), "float32")
    maps.keep_map("random", 0, np.ones((2, 6, 6), np.float32), "float32")
    assert Maps(tmp_path).map("edge", 0).dtype == np.float32
    assert Maps(tmp_path).map("random", 1).shape == (6, 6)
    assert np.isnan(Maps(tmp_path).map("edge", 2)).all()


def test_maps_of_other_methods_are_removed(kept: Maps, tmp_path: Path) -> None:
    Maps(tmp_path, "a").keep_only(["random", "not there"])
    assert Maps(tmp_path).methods == ["random"]
    assert not (tmp_path / NAME / "scales" / "edge").exists()
    assert (Maps(tmp_path).image(3) == 3).all()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_an_array_without_a_readable_description_is_removed_alone(kept: Maps, tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME / "maps/edge/zarr.json").write_bytes(content)
    mend(tmp_path)
    assert Maps(tmp_path).methods == ["random"]
    assert (Maps(tmp_path).image(4) == 4).all()


def test_an_array_whose_description_is_another_is_removed(kept: Maps, tmp_path: Path) -> None:
    mend(tmp_path, [f"{NAME}/image/zarr.json"])
    assert "image" not in Maps(tmp_path).group
    assert sorted(Maps(tmp_path).methods) == ["edge", "random"]


def test_without_its_own_description_all_is_made_anew(kept: Maps, tmp_path: Path) -> None:
    (tmp_path / NAME / "zarr.json").write_bytes(b"{")
    mend(tmp_path)
    assert not (tmp_path / NAME).exists()
    mend(tmp_path)
    Maps(tmp_path, "a").arrange(["a"], 1)
    assert Maps(tmp_path).methods == []
