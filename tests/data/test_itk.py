import time
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.data.dataset import Dataset, Raw, Record
from medsaliency.data.geometry import to_native, to_stored
from medsaliency.data.itk import ITK
from medsaliency.data.nifti import NIFTI
from medsaliency.data.reading import Reading, Stack
from medsaliency.study.usage import resident, watched
from medsaliency.types import MedsaliencyError, Slice, Turn

VOLUME = np.random.default_rng(0).integers(-1000, 3000, (7, 6, 5)).astype(np.int16)
"""(slice, row, column)."""
FILES = ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"]
TURNED = (0, 1, 0, 0, 0, -1, -1, 0, 0)


def save(path, array=VOLUME, *, direction=None, compress=False, color=False, spacing=(2, 3, 4)):
    image = SimpleITK.GetImageFromArray(array, isVector=color)
    dimensions = image.GetDimension()
    image.SetSpacing((*spacing, 1)[:dimensions])
    image.SetOrigin((10, -20, 30, 0)[:dimensions])
    if direction is not None:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(path), useCompression=compress)
    return path


def read(path, plane=None, **reading):
    return ITK.read(Record("a", 0, "a", image=path, plane=plane), Reading(**reading))


def scaled(array, low=None, high=None):
    low, high = (array.min() if low is None else low), (array.max() if high is None else high)
    return np.clip((array.astype(np.float64) - low) / (high - low), 0, 1)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_volume_keeps_its_axes_and_values_and_its_lps_becomes_ras(tmp_path, name, compress):
    path = save(tmp_path / name, compress=compress)
    raw = read(path, volume=True)
    np.testing.assert_allclose(raw.pixels, scaled(VOLUME)[None], atol=1e-6)
    np.testing.assert_allclose(raw.affine, [[0, 0, -2, -10], [0, -3, 0, 20], [4, 0, 0, 30], [0, 0, 0, 1]], atol=1e-9)
    assert raw.spacing == (4, 3, 2)
    assert raw.turn == Turn((0, 1, 2), (False, False, False))
    for view, axis in (("axial", 0), ("coronal", 1), ("sagittal", 2)):
        assert ITK.stack(path, "a", Reading(view=view)) == Stack(axis, VOLUME.shape[axis])
        raw = read(path, 3, view=view, window=(500, 1200))
        np.testing.assert_allclose(raw.pixels[0], scaled(np.take(VOLUME, 3, axis), -100, 1100), atol=1e-6)
        assert raw.slice == Slice(axis, 3, VOLUME.shape)
        full = read(path, 3, view=view)
        np.testing.assert_allclose(
            full.pixels[0], scaled(np.take(VOLUME, 3, axis), VOLUME.min(), VOLUME.max()), atol=1e-6
        )
    assert ITK.stack(path, "a", Reading(volume=True)) is None


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("direction", [None, TURNED, (-1, 0, 0, 0, 0, 1, 0, 1, 0)])
@pytest.mark.parametrize("name", FILES)
def test_a_slice_is_shown_as_that_of_the_same_nifti_file(tmp_path, name, direction, view):
    own = save(tmp_path / name, direction=direction)
    nifti = save(tmp_path / "a.nii.gz", direction=direction)
    record = Record("a", 0, "a", image=own)
    stacks = ITK.stack(own, "a", Reading(view=view)), NIFTI.stack(nifti, "a", Reading(view=view))
    assert stacks[0].count == stacks[1].count
    assert stacks[0].axis == 2 - stacks[1].axis
    for image, form in ((own, ITK), (nifti, NIFTI)):
        assert form.read(Record("a", 0, "a", image=image, plane=1), Reading(view=view)).spacing is not None
    shown = [
        Dataset(
            "d",
            ("x",),
            (record,),
            lambda _, form=form, image=image: form.read(Record("a", 0, "a", image=image, plane=1), Reading(view=view)),
        ).sample(record, 32)
        for image, form in ((own, ITK), (nifti, NIFTI))
    ]
    np.testing.assert_allclose(shown[0].image, shown[1].image, atol=1e-5)
    np.testing.assert_allclose(np.array(shown[0].geometry.affine)[:, [2, 1, 0, 3]], shown[1].geometry.affine, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(3)), st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3), st.data())
def test_a_marked_voxel_comes_back_to_its_place_and_millimeters(tmp_path_factory, axes, signs, data):
    shape = data.draw(st.tuples(*[st.integers(2, 12)] * 3))
    voxel = tuple(data.draw(st.integers(0, count - 1)) for count in shape)
    view = data.draw(st.sampled_from(["axial", "coronal", "sagittal", None]))
    marked = np.zeros(shape, np.uint8)
    marked[voxel] = 200
    direction = np.eye(3)[list(axes)] * signs
    path = save(tmp_path_factory.mktemp("turned") / "a.mha", marked, direction=direction.ravel())
    lps = SimpleITK.ReadImage(str(path)).TransformIndexToPhysicalPoint(voxel[::-1])
    reading = Reading(view=view) if view else Reading(volume=True)
    stack = ITK.stack(path, "a", reading)
    record = Record("a", 0, "a", image=path, plane=None if stack is None else voxel[stack.axis])
    raw = ITK.read(record, reading)
    size = tuple(np.take(raw.pixels.shape[1:], raw.turn.axes))
    sample = Dataset("d", ("x",), (record,), lambda record: raw).sample(record, size, fit="stretch")
    stored = to_stored(to_native(sample.image[0], sample.geometry), sample.geometry)
    np.testing.assert_array_equal(np.argwhere(stored == stored.max()), [voxel])
    np.testing.assert_allclose(sample.geometry.affine @ np.array([*voxel, 1]), [-lps[0], -lps[1], lps[2], 1], atol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_two_dimensional_files_are_shown_as_they_are_stored(tmp_path, name):
    path = save(tmp_path / name, VOLUME[0])
    assert ITK.stack(path, "a", Reading()) is None
    raw = read(path)
    np.testing.assert_allclose(raw.pixels[0], scaled(VOLUME[0]), atol=1e-6)
    assert (raw.affine, raw.slice, raw.spacing) == (None, None, (3, 2))
    assert raw.turn == Turn((0, 1), (False, False))


@pytest.mark.parametrize("name", FILES)
def test_color_is_kept(tmp_path, name):
    colors = np.random.default_rng(1).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    raw = read(save(tmp_path / name, colors, color=True), volume=True)
    np.testing.assert_allclose(raw.pixels, colors.transpose(3, 0, 1, 2) / 255, atol=1e-6)
    raw = read(tmp_path / name, 2, view="coronal")
    np.testing.assert_allclose(raw.pixels, colors[:, 2].transpose(2, 0, 1) / 255, atol=1e-6)
    raw = read(save(tmp_path / name, colors[0], color=True))
    np.testing.assert_allclose(raw.pixels, colors[0].transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("name", FILES)
def test_every_type_of_number_is_read(tmp_path, name, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    np.testing.assert_allclose(read(save(tmp_path / name, values), volume=True).pixels[0], scaled(values), atol=1e-6)


def test_vectors_series_and_complex_numbers_are_refused(tmp_path):
    for name, array, color, message in (
        (
            "a.mha",
            np.zeros((2, 3, 4, 3), np.float32),
            True,
            r"^a: expected one real number a voxel .* got 3 of float32",
        ),
        ("a.nrrd", np.zeros((2, 3, 4, 2), np.uint8), True, r"^a: expected one real number a voxel .* got 2 of uint8"),
        ("a.mha", np.zeros((2, 3, 4, 5), np.uint8), False, r"^a: expected an image, or a volume of three axes"),
        ("a.nrrd", np.zeros((2, 3, 4), np.complex64), False, r"^a: "),
    ):
        with pytest.raises(MedsaliencyError, match=message):
            read(save(tmp_path / name, array, color=color))
    assert read(save(tmp_path / "a.mha", VOLUME[None]), volume=True).pixels.shape == (1, 7, 6, 5)


def rewrite(path, *changes):
    """Change the text of a file's header."""
    whole = path.read_bytes()
    for old, new in changes:
        assert old in whole
        whole = whole.replace(old, new, 1)
    path.write_bytes(whole)
    return path


def test_what_the_header_does_not_say_is_not_known(tmp_path):
    path = rewrite(save(tmp_path / "a.mha"), (b"TransformMatrix", b"Comment"))
    raw = read(path, volume=True)
    assert (raw.affine, raw.spacing, raw.turn) == (None, (4, 3, 2), Turn((0, 1, 2), (False,) * 3))
    assert read(rewrite(path, (b"ElementSpacing", b"Note")), volume=True).spacing is None
    path = rewrite(save(tmp_path / "a.nrrd"), (b"left-posterior-superior", b"3D-right-handed"))
    raw = read(path, volume=True)
    assert (raw.affine, raw.spacing) == (None, (4, 3, 2))


@pytest.mark.parametrize(
    ("space", "signs"), [("right-anterior-superior", (1, 1, 1)), ("RAS", (1, 1, 1)), ("LPS", (-1, -1, 1))]
)
def test_nrrd_of_other_spaces_of_the_patient_lie_where_they_say(tmp_path, space, signs):
    path = rewrite(save(tmp_path / "a.nrrd"), (b"left-posterior-superior", space.encode()))
    affine = np.array(read(path, volume=True).affine)
    np.testing.assert_allclose(affine[:3, 3], np.array([10, -20, 30]) * signs)
    np.testing.assert_allclose(affine[:3, :3], np.array([[0, 0, 2], [0, 3, 0], [4, 0, 0]]) * np.array(signs)[:, None])


def test_nrrd_of_other_units_become_millimeters(tmp_path):
    path = rewrite(save(tmp_path / "a.nrrd"), (b"encoding:", b'space units: "um" "um" "um"\nencoding:'))
    raw = read(path, volume=True)
    np.testing.assert_allclose(raw.spacing, (0.004, 0.003, 0.002))
    np.testing.assert_allclose(np.array(raw.affine)[:3, 3], (-0.01, 0.02, 0.03))


def fault(path, message, **reading):
    with pytest.raises(MedsaliencyError, match=message) as caught:
        read(path, **(reading or {"volume": True}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_sheared_and_singular_axes_are_refused(tmp_path):
    path = rewrite(save(tmp_path / "a.nrrd"), (b"(2,0,0)", b"(2,2,0)"))
    fault(path, r"^a: ")
    path = rewrite(save(tmp_path / "a.mha"), (b"TransformMatrix = 1 0 0", b"TransformMatrix = 0 0 0"))
    fault(path, r"^a: ")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("compress", [False, True])
def test_files_that_are_cut_off_are_refused_in_one_line(tmp_path, name, compress, capfd):
    fault(tmp_path / "b.mha", r"^a: no such image file")
    path = save(tmp_path / name, np.random.default_rng(0).normal(size=(9, 30, 31)), compress=compress)
    whole = path.read_bytes()
    for length in (0, 10, 200, len(whole) * 2 // 3):
        path.write_bytes(whole[:length])
        fault(path, r"^a: ")
    path.write_bytes(whole)
    for data in tmp_path.glob("a.*raw*"):
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        fault(path, r"^a: ")
    assert capfd.readouterr() == ("", "")


def test_a_bomb_is_refused_at_once_and_in_little_memory(tmp_path):
    packed = zlib.compress(bytes(10**8), 9)
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\n"
        "CompressedDataSize = 999999\nDimSize = 1000 1000 {}\n"
        "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path = tmp_path / "a.mha"
    started, held = time.monotonic(), resident("VmRSS")
    with watched() as peak:
        path.write_bytes(header.format(500).encode() + packed)
        fault(path, r"^a: expected a file with 500,000,000 bytes of voxels")
        path.write_bytes(header.format(500).encode() + packed * 5)
        fault(path, r"^a: expected compressed data that grow at most 100-fold")
        path.write_bytes(header.format(5000).encode() + packed)
        fault(path, r"^a: expected at most 512,000,000 voxels")
    assert time.monotonic() - started < 10
    assert peak.resident - held < 50_000_000


LESION = (VOLUME > 1500).astype(np.uint8)


@pytest.mark.parametrize("name", ["m.mha", "m.nrrd", "m.nhdr"])
def test_a_mask_is_every_value_above_zero_on_the_images_voxels(tmp_path, name):
    image, mask = save(tmp_path / "a.mhd"), save(tmp_path / name, LESION, compress=True)
    for plane, reading, expected in (
        (None, Reading(volume=True), LESION),
        (2, Reading(), LESION[2]),
        (2, Reading(view="coronal"), LESION[:, 2]),
        (2, Reading(view="sagittal"), LESION[:, :, 2]),
    ):
        record = Record("a", 0, "a", image=image, mask=mask, plane=plane)
        np.testing.assert_array_equal(ITK.lesion(record, ITK.read(record, reading), reading), expected > 0)


def test_a_mask_fits_an_image_of_nifti_and_the_other_way(tmp_path):
    files = {"a.nii.gz": NIFTI, "a.nrrd": ITK, "a.mha": ITK}
    for name in files:
        save(tmp_path / name, direction=TURNED)
        save(tmp_path / f"m{name[1:]}", LESION, direction=TURNED)
    for name, form in files.items():
        for other, kind in files.items():
            record = Record("a", 0, "a", image=tmp_path / name, mask=tmp_path / f"m{other[1:]}")
            raw = form.read(record, Reading(volume=True))
            expected = LESION.transpose(2, 1, 0) if form is NIFTI else LESION
            np.testing.assert_array_equal(kind.lesion(record, raw, Reading(volume=True)), expected > 0)


def test_a_mask_of_a_picture_has_its_rows_and_columns(tmp_path):
    record = Record("a", 0, "a", image=tmp_path / "a.png", mask=save(tmp_path / "m.nrrd", LESION[0]))
    np.testing.assert_array_equal(ITK.lesion(record, Raw(np.zeros((3, 6, 5), np.float32)), Reading()), LESION[0] > 0)
    with pytest.raises(MedsaliencyError, match=r"^a: mask m.nrrd: expected a mask of the image's shape \(5, 6\)"):
        ITK.lesion(record, Raw(np.zeros((3, 5, 6), np.float32)), Reading())


def test_a_mask_elsewhere_is_refused(tmp_path):
    image, mask = save(tmp_path / "a.mha"), save(tmp_path / "m.mha", LESION, spacing=(2, 3, 5))
    record = Record("a", 0, "a", image=image, mask=mask)
    with pytest.raises(MedsaliencyError, match=r"^a: mask m.mha: expected the image's place .* voxels off"):
        ITK.lesion(record, ITK.read(record, Reading(volume=True)), Reading(volume=True))


def test_numbers_agree_with_nibabel_for_the_same_array(tmp_path):
    save(tmp_path / "a.nii", direction=TURNED)
    save(tmp_path / "a.mha", direction=TURNED)
    other = nib.load(tmp_path / "a.nii")
    raw = read(tmp_path / "a.mha", volume=True)
    np.testing.assert_allclose(raw.pixels[0], scaled(other.get_fdata()).transpose(2, 1, 0), atol=1e-6)
    np.testing.assert_allclose(np.array(raw.affine)[:, [2, 1, 0, 3]], other.affine, atol=1e-4)
