import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from medsaliency.report.nifti import merged, nifti
from medsaliency.types import Geometry, MedsaliencyError, Slice

AFFINE = ((-0.5, 0.0, 0.1, 10.0), (0.0, 0.75, 0.0, -3.25), (0.1, 0.0, 0.5, 7.5), (0.0, 0.0, 0.0, 1.0))
"""Oblique about one axis, mirrored, each number a float32."""
AFFINE_READ = np.array(AFFINE, np.float32)


def _random(*size: int) -> Any:
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


def _read(content: bytes, path: Path) -> Any:
    path.write_bytes(content)
    return nibabel.load(path)


@pytest.mark.parametrize("size", [(4, 5, 6), (4, 5)])
def test_values_and_affine_come_back_the_same(size: tuple[int, ...], tmp_path: Path) -> None:
    values = _random(*size)
    read = _read(nifti(values, Geometry(size, affine=AFFINE), "grad_cam", "scan"), tmp_path / "map.nii.gz")
    assert read.get_data_dtype() == np.float32
    assert np.asanyarray(read.dataobj).tobytes(order="C") == values.tobytes()
    np.testing.assert_array_equal(read.affine, AFFINE_READ)
    assert int(read.header["sform_code"]) == 2
    assert read.header.get_xyzt_units()[0] == "mm"
    assert b"not for diagnosis" in bytes(read.header["descrip"])
    assert b"grad_cam" in bytes(read.header["intent_name"])


def test_another_library_reads_the_same_values_in_the_same_place(tmp_path: Path) -> None:
    values = _random(4, 5, 6)
    affine = ((-2.0, 0.0, 0.0, 10.0), (0.0, 0.75, 0.0, -3.25), (0.0, 0.0, 0.5, 7.5), (0.0, 0.0, 0.0, 1.0))
    (tmp_path / "map.nii.gz").write_bytes(nifti(values, Geometry((4, 5, 6), affine=affine), "gradient", "scan"))
    image = SimpleITK.ReadImage(str(tmp_path / "map.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), values)
    right_anterior_superior = np.array(image.TransformIndexToPhysicalPoint((1, 2, 3))) * (-1, -1, 1)
    np.testing.assert_allclose(right_anterior_superior, np.array(affine)[:3] @ (1, 2, 3, 1), atol=1e-5)


def test_an_image_without_a_place_says_so_and_keeps_its_spacing(tmp_path: Path) -> None:
    geometry = Geometry((4, 5), spacing=(0.5, 0.25))
    read = _read(nifti(_random(4, 5), geometry, "gradient", "scan"), tmp_path / "map.nii.gz")
    assert (int(read.header["sform_code"]), int(read.header["qform_code"])) == (0, 0)
    assert read.header.get_zooms() == (0.5, 0.25)
    np.testing.assert_array_equal(read.header.get_sform(), np.diag([0.5, 0.25, 1, 1]))
    assert read.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("spacing", [None, (2.0, 1.0)])
def test_an_image_without_distances_is_in_no_unit(spacing: tuple[float, float] | None, tmp_path: Path) -> None:
    geometry = Geometry((4, 5), spacing=spacing, spacing_known=False)
    read = _read(nifti(_random(4, 5), geometry, "gradient", "scan"), tmp_path / "map.nii.gz")
    assert read.header.get_xyzt_units()[0] == "unknown"
    assert read.header.get_zooms() == (spacing or (1.0, 1.0))


def test_a_slice_knows_the_distances_of_its_own_axes(tmp_path: Path) -> None:
    geometry = Geometry((4, 6), spacing=(0.5, 0.25), slice=Slice(1, 2, (4, 5, 6)))
    values = merged([(_random(4, 6), geometry)], "scan")
    read = _read(nifti(values, geometry, "gradient", "scan"), tmp_path / "map.nii.gz")
    assert read.header.get_zooms() == (0.5, 1.0, 0.25)


def test_a_sheared_grid_keeps_its_affine_and_gives_no_other(tmp_path: Path) -> None:
    sheared = ((1.0, 0.25, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    read = _read(
        nifti(_random(3, 3, 3), Geometry((3, 3, 3), affine=sheared), "gradient", "scan"), tmp_path / "map.nii.gz"
    )
    np.testing.assert_array_equal(read.affine, np.array(sheared))
    assert int(read.header["qform_code"]) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_one_volume_become_one_volume(axis: int) -> None:
    shape = (4, 5, 6)
    size = tuple(length for place, length in enumerate(shape) if place != axis)
    parts = {index: _random(*size) + index for index in (3, 1)}
    maps = [(part, Geometry(size, slice=Slice(axis, index, shape))) for index, part in parts.items()]
    whole = merged(maps, "scan")
    assert whole.shape == shape
    assert whole.dtype == np.float32
    for index in range(shape[axis]):
        np.testing.assert_array_equal(whole.take(index, axis), parts.get(index, np.zeros(size, np.float32)))


def test_a_map_that_is_no_slice_stays_as_it_is() -> None:
    values = _random(3, 4, 5)
    np.testing.assert_array_equal(merged([(values, Geometry((3, 4, 5)))], "scan"), values)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Geometry((5, 6), slice=Slice(0, 1, (4, 5, 6))), "expected one map of slice 1, got two"),
        (Geometry((5, 6), slice=Slice(0, 2, (9, 5, 6))), "expected slices of one volume"),
        (Geometry((5, 6), slice=Slice(1, 2, (5, 4, 6))), "expected slices of one volume"),
        (Geometry((5, 6)), "expected slices of one volume"),
    ],
)
def test_what_is_no_other_slice_of_the_same_volume_is_refused(other: Geometry, words: str) -> None:
    first = Geometry((5, 6), slice=Slice(0, 1, (4, 5, 6)))
    with pytest.raises(MedsaliencyError, match=f"^scan: {words}"):
        merged([(_random(5, 6), first), (_random(5, 6), other)], "scan")


def test_the_same_map_becomes_the_same_bytes() -> None:
    first, second = (nifti(_random(3, 4), Geometry((3, 4)), "gradient", "scan") for _ in range(2))
    assert first == second
    assert len(gzip.decompress(first)) == 352 + 4 * 12


def test_an_axis_too_long_for_the_format_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"^scan: expected at most 32767 pixels"):
        nifti(np.zeros((1, 40000), np.float32), Geometry((1, 40000)), "gradient", "scan")
