import gzip
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, ornt_transform

from medsaliency.data import nifti
from medsaliency.data.dataset import Dataset, Raw, Record
from medsaliency.data.geometry import to_native, to_stored
from medsaliency.data.nifti import NIFTI
from medsaliency.data.orientation import affine_of
from medsaliency.data.reading import Reading, Stack
from medsaliency.study.usage import resident, watched
from medsaliency.types import MedsaliencyError, Slice, Turn

SAMPLES = Path(nib.__file__).parent / "tests" / "data"
VOLUME = np.random.default_rng(0).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 3, 0, -60], [0, 0, 4, 10], [0, 0, 0, 1]])


def save(path, array=VOLUME, affine=AFFINE, kind=nib.Nifti1Image, **fields):
    """Write a file, and then fields of its header as they are given, whatever the voxels are."""
    nib.save(kind(array, affine), path)
    if fields:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            whole = file.read()
        header = nib.Nifti1Header(whole[:348])
        for name, value in fields.items():
            header[name] = value
        with opened(path, "wb") as file:
            file.write(header.binaryblock + whole[348:])
    return path


def read(path, plane=None, **reading):
    return NIFTI.read(Record("a", 0, "a", image=path, plane=plane), Reading(**reading))


def scaled(array, low=None, high=None):
    low, high = (np.nanmin(array) if low is None else low), (np.nanmax(array) if high is None else high)
    return np.clip((array.astype(np.float64) - low) / (high - low), 0, 1)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_volume_keeps_its_axes_affine_and_values(tmp_path, name, kind):
    raw = read(save(tmp_path / name, kind=kind), volume=True)
    np.testing.assert_allclose(raw.pixels, scaled(VOLUME)[None], atol=1e-6)
    assert raw.pixels.dtype == np.float32
    np.testing.assert_array_equal(raw.affine, AFFINE)
    assert raw.spacing == (2, 3, 4)
    assert raw.slice is None
    assert raw.turn == Turn((2, 1, 0), (False, True, False))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(("view", "axis"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_slices_lie_along_the_axis_that_the_view_cuts(tmp_path, name, view, axis):
    path = save(tmp_path / name)
    assert NIFTI.stack(path, "a", Reading(view=view)) == Stack(axis, VOLUME.shape[axis])
    assert NIFTI.stack(path, "a", Reading(volume=True)) is None
    for window in (None, (500, 1200)):
        for plane in range(VOLUME.shape[axis]):
            raw = read(path, plane, view=view, window=window)
            ends = () if window is None else (-100, 1100)
            expected = scaled(np.take(VOLUME, plane, axis), *(ends or (VOLUME.min(), VOLUME.max())))
            np.testing.assert_allclose(raw.pixels[0], expected, atol=1e-6)
            assert raw.slice == Slice(axis, plane, (5, 6, 7))
            assert raw.spacing == tuple(np.delete([2.0, 3.0, 4.0], axis))


@settings(deadline=None, max_examples=40)
@given(
    st.permutations(range(3)),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.data(),
    st.sampled_from(["axial", "coronal", "sagittal", None]),
)
def test_a_marked_voxel_comes_back_to_its_place_and_millimeters(tmp_path_factory, axes, ways, data, view):
    codes = "".join(("RL", "AP", "SI")[axis][way] for axis, way in zip(axes, ways, strict=True))
    shape = data.draw(st.tuples(*[st.integers(2, 12)] * 3))
    voxel = tuple(data.draw(st.integers(0, count - 1)) for count in shape)
    marked = np.zeros(shape, np.uint8)
    marked[voxel] = 200
    place = AFFINE @ (*voxel, 1)
    image = nib.Nifti1Image(marked, AFFINE).as_reoriented(ornt_transform(axcodes2ornt("LAS"), axcodes2ornt(codes)))
    path = tmp_path_factory.mktemp("turned") / "a.nii.gz"
    nib.save(image, path)
    reading = Reading(view=view) if view else Reading(volume=True)
    stack = NIFTI.stack(path, "a", reading)
    there = np.argwhere(np.asarray(image.dataobj))[0]
    record = Record("a", 0, "a", image=path, plane=None if stack is None else int(there[stack.axis]))
    raw = NIFTI.read(record, reading)
    dataset = Dataset("d", ("x",), (record,), lambda record: raw)
    # A grid as large as the turned and padded image, so that nothing is resampled.
    size = tuple(np.take(raw.pixels.shape[1:], raw.turn.axes))
    sample = dataset.sample(record, size, fit="stretch")
    stored = to_stored(to_native(sample.image[0], sample.geometry), sample.geometry)
    np.testing.assert_array_equal(np.argwhere(stored == stored.max()), [there])
    np.testing.assert_allclose(sample.geometry.affine @ np.array([*there, 1]), place, atol=1e-4)
    # Where it is shown, by hand from the millimeters' directions: head first, then front, then right.
    shown = dict(zip("zyx", (voxel[2], shape[1] - 1 - voxel[1], voxel[0]), strict=True))
    left = {"axial": "yx", "coronal": "zx", "sagittal": "zy", None: "zyx"}[view]
    expected = [shape[2] - 1 - shown[a] if a == "z" and view else shown[a] for a in left]
    np.testing.assert_array_equal(np.argwhere(sample.image[0] == sample.image.max()), [expected])


@pytest.mark.parametrize("file", ["anatomical.nii", "standard.nii.gz", "reoriented_anat_moved.nii"])
def test_nibabels_own_files_are_read_as_simpleitk_reads_them(file):
    raw = read(SAMPLES / file, volume=True)
    other = SimpleITK.ReadImage(str(SAMPLES / file))
    np.testing.assert_allclose(raw.pixels[0], scaled(SimpleITK.GetArrayFromImage(other)).transpose(2, 1, 0), atol=1e-6)
    np.testing.assert_allclose(raw.spacing, other.GetSpacing(), rtol=1e-5)
    for index in ((0, 0, 0), (3, 5, 2)):
        lps = other.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(raw.affine @ np.array([*index, 1]), [-lps[0], -lps[1], lps[2], 1], atol=1e-3)


def test_scale_and_intercept_are_applied_before_the_window(tmp_path):
    path = save(tmp_path / "a.nii", scl_slope=0.5, scl_inter=-100)
    values = nib.load(path).get_fdata()
    assert (values.min(), values.max()) == (VOLUME.min() / 2 - 100, VOLUME.max() / 2 - 100)
    raw = read(path, volume=True, window=(200, 400))
    np.testing.assert_allclose(raw.pixels[0], np.clip(values / 400, 0, 1), atol=1e-6)
    np.testing.assert_allclose(read(path, volume=True).pixels[0], scaled(values), atol=1e-6)


def test_windows_that_end_where_values_do_make_one_brightness_of_all_slices(tmp_path):
    path = save(tmp_path / "a.nii")
    planes = [read(path, k).pixels[0] for k in range(7)]
    np.testing.assert_allclose(np.stack(planes, axis=-1), read(path, volume=True).pixels[0], atol=1e-6)


def test_two_dimensional_files_are_one_image(tmp_path):
    path = save(tmp_path / "a.nii", VOLUME[:, :, 0])
    assert NIFTI.stack(path, "a", Reading()) is None
    raw = read(path)
    assert raw.pixels.shape == (1, 5, 6)
    assert (raw.slice, raw.spacing) == (None, (2, 3))
    np.testing.assert_array_equal(raw.affine, AFFINE)
    assert raw.turn == Turn((1, 0), (True, False))
    with pytest.raises(MedsaliencyError, match=r"^a: expected a volume of three axes, got an image of two"):
        read(path, volume=True)
    with pytest.raises(MedsaliencyError, match=r"^a: expected a plane from 0 to 0 .*, got 1"):
        read(path, 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_that_slice_whatever_the_view(tmp_path, axis):
    single = np.take(VOLUME, [0], axis)
    for view in ("axial", "sagittal"):
        path = save(tmp_path / "a.nii.gz", single)
        assert NIFTI.stack(path, "a", Reading(view=view)) is None
        raw = read(path, view=view)
        np.testing.assert_allclose(raw.pixels[0], scaled(np.take(single, 0, axis)), atol=1e-6)
        assert raw.slice == Slice(axis, 0, single.shape)


def test_a_slice_without_thickness_gets_a_normal(tmp_path):
    save(tmp_path / "a.nii", VOLUME[:, :, :1], np.diag([-2.0, 3, 4, 1]), srow_z=[0, 0, 0, 7])
    affine = np.array(read(tmp_path / "a.nii").affine)
    np.testing.assert_allclose(affine, [[-2, 0, 0, 0], [0, 3, 0, 0], [0, 0, -1, 7], [0, 0, 0, 1]])


def test_last_axes_of_one_are_left_out_and_others_are_refused(tmp_path):
    raw = read(save(tmp_path / "a.nii", VOLUME[..., None, None]), volume=True)
    assert raw.pixels.shape == (1, 5, 6, 7)
    for shape in ((2, 3, 4, 5), (2, 3, 1, 5), (2, 3, 4, 1, 3)):
        with pytest.raises(
            MedsaliencyError, match=rf"^a: expected one image or volume, got {' x '.join(map(str, shape))}"
        ):
            read(save(tmp_path / "b.nii", np.zeros(shape, np.uint8)))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("letters", ["RGB", "RGBA"])
def test_color_is_kept(tmp_path, name, letters):
    colors = np.random.default_rng(1).integers(0, 256, (3, 4, 5, len(letters)), dtype=np.uint8)
    dtype = np.dtype([(letter, "u1") for letter in letters])
    save(tmp_path / name, np.ascontiguousarray(colors).view(dtype)[..., 0])
    raw = read(tmp_path / name, volume=True)
    np.testing.assert_allclose(raw.pixels, colors[..., :3].transpose(3, 0, 1, 2) / 255, atol=1e-6)
    raw = read(tmp_path / name, 2, view="coronal", window=(1, 1))
    np.testing.assert_allclose(raw.pixels, colors[:, 2, :, :3].transpose(2, 0, 1) / 255, atol=1e-6)


def test_files_that_do_not_say_where_they_lie_are_shown_as_analyze(tmp_path):
    path = save(tmp_path / "a.nii", affine=None, pixdim=[1, 2, 3, 4, 1, 1, 1, 1])
    raw = read(path, volume=True)
    assert raw.affine is None
    assert raw.spacing == (2, 3, 4)
    assert raw.turn == Turn((2, 1, 0), (False, True, False))
    save(path, affine=None, pixdim=[1, 0, 3, 4, 1, 1, 1, 1])
    assert read(path, volume=True).spacing is None


def test_the_sform_is_preferred_and_the_qform_taken_without(tmp_path):
    image = nib.Nifti1Image(VOLUME, None)
    image.set_qform(np.diag([-1.0, 1, 2, 1]), 1)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read(tmp_path / "a.nii", volume=True).affine, np.diag([-1.0, 1, 2, 1]))
    image.set_sform(AFFINE, 2)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read(tmp_path / "a.nii", volume=True).affine, AFFINE)


@pytest.mark.parametrize(("unit", "times"), [("micron", 1e-3), ("meter", 1e3), ("mm", 1), ("unknown", 1)])
def test_other_units_become_millimeters(tmp_path, unit, times):
    image = nib.Nifti1Image(VOLUME, AFFINE)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    raw = read(tmp_path / "a.nii", volume=True)
    np.testing.assert_allclose(raw.spacing, np.array([2, 3, 4]) * times)
    np.testing.assert_allclose(raw.affine, np.vstack([AFFINE[:3] * times, AFFINE[3]]))


def test_nan_is_black_and_infinity_an_end(tmp_path):
    values = np.array([[[np.nan, 1], [2, 3]], [[np.inf, -np.inf], [4, 5]]], np.float32)
    raw = read(save(tmp_path / "a.nii", values), volume=True)
    np.testing.assert_allclose(raw.pixels[0], [[[0, 0], [0.25, 0.5]], [[1, 0], [0.75, 1]]])
    raw = read(tmp_path / "a.nii", volume=True, window=(2, 2))
    np.testing.assert_allclose(raw.pixels[0], [[[0, 0], [0.5, 1]], [[1, 0], [1, 1]]])
    save(tmp_path / "b.nii", np.stack([np.full((2, 2), np.nan), np.eye(2)], -1).astype(np.float32))
    assert read(tmp_path / "b.nii", 1).pixels.max() == 1
    for plane, reading in ((0, {}), (0, {"window": (2, 2)})):
        with pytest.raises(MedsaliencyError, match=r"^a: expected values, got an image of nothing but NaN"):
            read(tmp_path / "b.nii", plane, **reading)


def test_a_constant_volume_is_black(tmp_path):
    assert not read(save(tmp_path / "a.nii", np.full((2, 3, 4), 7, np.uint8)), volume=True).pixels.any()


def test_a_plane_is_needed_and_must_be_there(tmp_path):
    path = save(tmp_path / "a.nii")
    for plane, got in ((None, "none"), (7, "7")):
        with pytest.raises(
            MedsaliencyError, match=rf"^a: expected a plane from 0 to 6 along the axial axis, got {got}"
        ):
            read(path, plane)
    with pytest.raises(MedsaliencyError, match=r"^a: expected a volume of three axes, got plane 2"):
        read(path, 2, volume=True)


def fault(path, message, **reading):
    with pytest.raises(MedsaliencyError, match=message) as caught:
        read(path, **reading)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_damaged_and_other_files_are_refused_in_one_line(tmp_path):
    fault(tmp_path / "a.nii", r"^a: no such image file")
    for name in ("a.nii", "a.nii.gz"):
        whole = save(tmp_path / name, np.zeros((5, 60, 70), np.float64) + np.arange(70)).read_bytes()
        for length in (0, 1, 10, 200, 345, 351, len(whole) - 20):
            (tmp_path / name).write_bytes(whole[:length])
            fault(tmp_path / name, r"^a: ", volume=True)
    (tmp_path / "a.nii").write_text("not an image" * 50)
    fault(tmp_path / "a.nii", r"^a: expected a NIfTI file with its voxels in it")
    nib.save(nib.Nifti1Pair(VOLUME, AFFINE), tmp_path / "a.img")
    (tmp_path / "a.nii").write_bytes((tmp_path / "a.hdr").read_bytes())
    fault(tmp_path / "a.nii", r"^a: expected a NIfTI file with its voxels in it")
    fault(save(tmp_path / "a.nii", VOLUME.astype(np.complex64)), r"^a: expected real numbers .* got complex64")
    save(tmp_path / "a.nii", affine=[[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    fault(tmp_path / "a.nii", r"^a: expected an affine of a scan, got one where its axes meet at 45 degrees")
    fault(save(tmp_path / "a.nii", srow_x=[np.nan, 0, 0, 0]), r"^a: expected an affine .* not finite")


def test_a_gzipped_file_with_a_wrong_checksum_is_refused(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    fault(path, r"^a: cannot be read as NIfTI \(CRC check failed", volume=True)


def test_a_gzipped_file_is_known_by_its_content(tmp_path):
    path = save(tmp_path / "b.nii.gz").rename(tmp_path / "a.nii")
    np.testing.assert_allclose(read(path, volume=True).pixels[0], scaled(VOLUME), atol=1e-6)


def test_what_a_header_claims_is_compared_with_the_file_before_anything_is_read(tmp_path):
    path = save(tmp_path / "a.nii", dim=[3, 3000, 3000, 3000, 1, 1, 1, 1])
    fault(path, r"^a: expected at most 512,000,000 voxels, got \(3000, 3000, 3000\)")
    fault(save(path, dim=[3, 30, 30, 30, 1, 1, 1, 1]), r"^a: expected a file with 54,000 bytes of voxels")
    path = save(tmp_path / "a.nii.gz", dim=[3, 700, 700, 700, 1, 1, 1, 1])
    fault(
        path,
        r"^a: expected a file with 686,000,000 bytes of voxels as its header says, got one of \d+ bytes compressed",
    )
    fault(save(path, dim=[3, 0, 3, 3, 1, 1, 1, 1]), r"^a: expected an image, or a volume")
    fault(save(path, dim=[3, -1, 3, 3, 1, 1, 1, 1]), r"^a: ")
    fault(save(path, dim=[1, 9, 1, 1, 1, 1, 1, 1]), r"^a: expected an image, or a volume")


def test_a_bomb_is_refused_at_once_and_in_little_memory(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((800, 800, 800))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "a.nii.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(512):
            file.write(bytes(10**6))
    started, held = time.monotonic(), resident("VmRSS")
    with watched() as peak:
        fault(path, r"^a: expected compressed data that grow at most 100-fold", plane=None, volume=True)
    assert time.monotonic() - started < 10
    assert peak.resident - held < 50_000_000


def test_small_header_before_a_long_stream_reads_no_more_than_it_says(tmp_path):
    whole = gzip.decompress(save(tmp_path / "a.nii.gz").read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(whole + bytes(10**8), 1))
    held = resident("VmRSS")
    with watched() as peak:
        assert read(tmp_path / "a.nii.gz", volume=True).pixels.shape == (1, 5, 6, 7)
    assert peak.resident - held < 50_000_000


def mask_of(image, mask, plane=None, **reading):
    record = Record("a", 0, "a", image=image, mask=mask, plane=plane)
    return nifti.lesion(record, NIFTI.read(record, Reading(**reading)), Reading(**reading))


LESION = (VOLUME > 1500).astype(np.uint8) * 3


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
def test_a_mask_is_every_value_above_zero_on_the_images_voxels(tmp_path, name):
    image, mask = save(tmp_path / "a.nii"), save(tmp_path / name, LESION)
    np.testing.assert_array_equal(mask_of(image, mask, volume=True), LESION > 0)
    for view, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        found = mask_of(image, mask, 3, view=view)
        np.testing.assert_array_equal(found, np.take(LESION > 0, 3, axis))
    flat, drawn = save(tmp_path / "b.nii", VOLUME[:, :, 0]), save(tmp_path / "n.nii", LESION[:, :, :1])
    np.testing.assert_array_equal(mask_of(flat, drawn), LESION[:, :, 0] > 0)


def test_a_mask_stored_in_another_order_of_axes_is_turned_to_the_image(tmp_path):
    image = save(tmp_path / "a.nii")
    for codes in ("RAS", "PSR", "ILA", "SPL"):
        turned = nib.Nifti1Image(LESION, AFFINE).as_reoriented(ornt_transform(axcodes2ornt("LAS"), axcodes2ornt(codes)))
        nib.save(turned, tmp_path / "m.nii")
        np.testing.assert_array_equal(mask_of(image, tmp_path / "m.nii", volume=True), LESION > 0)
        np.testing.assert_array_equal(mask_of(image, tmp_path / "m.nii", 4, view="coronal"), LESION[:, 4] > 0)


def test_a_single_slice_takes_its_plane_of_the_whole_volumes_mask(tmp_path):
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [0, 0, 4, 1])[:3]
    image, mask = save(tmp_path / "a.nii", VOLUME[:, :, 4:5], affine), save(tmp_path / "m.nii.gz", LESION)
    np.testing.assert_array_equal(mask_of(image, mask), LESION[:, :, 4] > 0)
    affine[:3, 3] = (AFFINE @ [0, 0, 9, 1])[:3]
    with pytest.raises(MedsaliencyError, match=r"^a: mask m.nii.gz: expected the image's place .* up to 3 voxels off"):
        mask_of(save(tmp_path / "a.nii", VOLUME[:, :, 4:5], affine), mask)


def test_a_mask_that_does_not_fit_is_refused_with_what_differs(tmp_path):
    image = save(tmp_path / "a.nii")
    for array, affine, message in (
        (LESION[:-1], AFFINE, r"^a: mask m.nii: expected a mask of the image's shape \(5, 6, 7\), got \(4, 6, 7\)"),
        (LESION, AFFINE + np.eye(4, k=3), r"^a: mask m.nii: expected the image's place .* up to 0.5 voxels off"),
        (LESION, AFFINE @ np.diag([1.1, 1, 1, 1]), r"^a: mask m.nii: expected the image's place .* voxels off"),
        (LESION, np.eye(4), r"^a: mask m.nii: expected the image's place"),
        (LESION[:, :, :1], None, r"^a: mask m.nii: expected a mask of the image's shape \(5, 6, 7\), got \(5, 6, 1\)"),
    ):
        mask = save(tmp_path / "m.nii", array, affine)
        for reading in ({"volume": True}, {"plane": 2}):
            with pytest.raises(MedsaliencyError, match=message):
                mask_of(image, mask, **reading)


def test_a_little_rounding_of_headers_is_borne_and_a_header_without_place_believed(tmp_path):
    image = save(tmp_path / "a.nii")
    np.testing.assert_array_equal(
        mask_of(image, save(tmp_path / "m.nii", LESION, AFFINE + 1e-4), 2), LESION[:, :, 2] > 0
    )
    np.testing.assert_array_equal(mask_of(image, save(tmp_path / "m.nii", LESION, None), 2), LESION[:, :, 2] > 0)


def test_a_nifti_mask_of_a_picture_counts_columns_first(tmp_path):
    picture = np.zeros((1, 4, 6), np.float32)
    drawn = (np.arange(24).reshape(4, 6) > 15).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(drawn), str(tmp_path / "m.nii.gz"))
    record = Record("a", 0, "a", image=tmp_path / "a.png", mask=tmp_path / "m.nii.gz")
    raw = Raw(picture)
    np.testing.assert_array_equal(nifti.lesion(record, raw, Reading()), drawn)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(drawn[None]), str(tmp_path / "m.nii.gz"))
    np.testing.assert_array_equal(nifti.lesion(record, raw, Reading()), drawn)
    save(tmp_path / "m.nii.gz", drawn)
    with pytest.raises(MedsaliencyError, match=r"shape \(4, 6\), got \(4, 6\) \(columns, rows\)"):
        nifti.lesion(record, raw, Reading())


def test_a_mask_of_another_format_must_say_where_it_lies(tmp_path):
    placed = Raw(np.zeros((1, 7, 6, 5), np.float32), affine=affine_of(AFFINE[:, [2, 1, 0, 3]]))
    record = Record("a", 0, "a", image=tmp_path / "a.dcm", mask=save(tmp_path / "m.nii", LESION))
    np.testing.assert_array_equal(nifti.lesion(record, placed, Reading()), LESION.transpose(2, 1, 0) > 0)
    save(tmp_path / "m.nii", LESION, None)
    with pytest.raises(MedsaliencyError, match=r"^a: mask m.nii: expected a mask that says where in the patient"):
        nifti.lesion(record, placed, Reading())


def test_reading_prints_nothing(tmp_path, capfd):
    read(save(tmp_path / "a.nii", pixdim=[0, 2, 3, 4, 1, 1, 1, 1]), volume=True)
    assert capfd.readouterr() == ("", "")
