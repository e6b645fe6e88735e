from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage

from medsaliency.data.dataset import EVALUATION, TRAINING, Dataset, Raw, prepare
from medsaliency.data.geometry import to_native
from medsaliency.data.orientation import volume_turn
from medsaliency.data.sandbox_volumes import CLASSES, EXTENT_MM, lesion_of, marker, sandbox_volumes
from medsaliency.types import MedsaliencyError

SIZE = (30, 36, 32)
SMALL = {"size": SIZE, "training": 18, "evaluation": 6}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return sandbox_volumes(**SMALL)


@pytest.fixture(scope="module")
def volumes(dataset: Dataset) -> dict[str, Raw]:
    return {record.id: dataset.read(record) for record in dataset.records}


def center_of(mask: np.ndarray, affine: object) -> np.ndarray:
    """Millimeters of the middle of a mask, by nibabel."""
    return apply_affine(np.array(affine), np.argwhere(mask).mean(axis=0))


def test_the_same_seed_gives_the_same_volumes_in_any_order(dataset: Dataset, volumes: dict[str, Raw]) -> None:
    for record in reversed(sandbox_volumes(**SMALL).records[:5]):
        again = dataset.read(record)
        assert np.array_equal(again.pixels, volumes[record.id].pixels)
        assert np.array_equal(again.lesion, volumes[record.id].lesion)
        assert again.affine == volumes[record.id].affine
    other = sandbox_volumes(seed=1, **SMALL)
    assert not np.array_equal(other.read(other.records[0]).pixels, volumes["patient-0000"].pixels)


def test_classes_are_balanced_and_each_patient_has_one_volume() -> None:
    dataset = sandbox_volumes()
    assert (len(dataset.of(TRAINING)), len(dataset.of(EVALUATION))) == (120, 30)
    for split in (TRAINING, EVALUATION):
        assert len(set(Counter(record.label for record in dataset.of(split)).values())) == 1
    assert len({record.patient for record in dataset.records}) == len(dataset.records) == 150
    assert dataset.classes == CLASSES


def test_a_volume_is_its_healthy_self_outside_of_the_mask_and_differs_everywhere_inside(
    dataset: Dataset, volumes: dict[str, Raw]
) -> None:
    inside = 0
    for record in dataset.records:
        raw = volumes[record.id]
        healthy = dataset.read(replace(record, label=0))
        assert not healthy.lesion.any()
        assert np.array_equal(raw.pixels[0][~raw.lesion], healthy.pixels[0][~raw.lesion])
        assert (raw.pixels[0][raw.lesion] != healthy.pixels[0][raw.lesion]).all()
        inside += raw.lesion.sum()
    assert inside > 1000


def test_only_lesion_classes_have_one_lesion_of_a_plausible_size(dataset: Dataset, volumes: dict[str, Raw]) -> None:
    for record in dataset.records:
        raw = volumes[record.id]
        assert raw.pixels.dtype == np.float32
        assert 0 <= raw.pixels.min() < raw.pixels.max() <= 1
        assert sorted(raw.pixels.shape[1:]) == sorted(SIZE)
        if record.label == 0:
            assert not raw.lesion.any()
            continue
        assert ndimage.label(raw.lesion)[1] == 1
        milliliters = raw.lesion.sum() * raw.spacing[0] ** 3 / 1000
        assert 8 < milliliters < 90, "a ball of 15 to 24 mm, its half axes by up to a fifth shorter or longer"


def test_the_lesion_lies_where_it_was_simulated_in_millimeters(dataset: Dataset, volumes: dict[str, Raw]) -> None:
    far = []
    for record in dataset.records:
        lesion = lesion_of(0, record)
        assert (lesion is None) == (record.label == 0)
        if lesion is not None:
            raw = volumes[record.id]
            far.append(np.linalg.norm(center_of(raw.lesion, raw.affine) - lesion.center_mm) / raw.spacing[0])
    assert len(far) == 16
    assert max(far) < 0.5, "in voxels; a mask of whole voxels has its middle elsewhere by a part of one"


def test_the_same_lesion_is_simulated_whatever_the_size_of_the_volume(dataset: Dataset) -> None:
    other = sandbox_volumes(**(SMALL | {"size": 64}))
    for record in dataset.records[1:5]:
        lesion, raw = lesion_of(0, record), other.read(record)
        assert (lesion is None) == (record.label == 0)
        if lesion is not None:
            assert np.linalg.norm(center_of(raw.lesion, raw.affine) - lesion.center_mm) < 0.5 * raw.spacing[0]


def test_volumes_are_stored_with_axes_in_many_orders_and_the_affine_says_which(
    dataset: Dataset, volumes: dict[str, Raw]
) -> None:
    codes = [nibabel.aff2axcodes(np.array(raw.affine)) for raw in volumes.values()]
    assert len(set(codes)) > 10
    for raw in volumes.values():
        assert raw.turn == volume_turn(raw.affine)
        np.testing.assert_allclose(nibabel.affines.voxel_sizes(np.array(raw.affine)), raw.spacing)
        assert len(set(raw.spacing)) == 1
        assert raw.spacing[0] == pytest.approx(max(mm / n for mm, n in zip(EXTENT_MM, SIZE, strict=True)))


def test_the_volume_is_shown_as_nibabel_turns_it(dataset: Dataset, volumes: dict[str, Raw]) -> None:
    for record in dataset.records[:8]:
        raw = volumes[record.id]
        sample = prepare(record, raw, SIZE)
        # Left, posterior, superior: the directions in which W, H and D run.
        turned = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(np.array(raw.affine)), nibabel.orientations.axcodes2ornt("LPS")
        )
        expected = nibabel.apply_orientation(raw.pixels[0], turned).transpose(2, 1, 0)
        assert np.array_equal(sample.image[0], expected)
        assert len(sample.geometry.steps) <= 1, "the model's grid is the volume's own: nothing is resampled"
        native = to_native(sample.image[0], sample.geometry)
        assert np.array_equal(native, raw.pixels[0])


def test_a_lesion_on_the_left_is_on_the_right_of_the_picture_and_up_and_in_front_are_where_they_belong(
    dataset: Dataset,
) -> None:
    sides = Counter()
    middle = (np.array(SIZE) - 1) / 2
    for record in dataset.records:
        lesion, sample = lesion_of(0, record), dataset.sample(record, SIZE)
        if lesion is None:
            continue
        up, back, left = np.argwhere(sample.lesion).mean(axis=0) - middle
        right_mm, front_mm, up_mm = lesion.center_mm - np.array([0, -17, 12])
        assert abs(right_mm) > 15, "never in the middle"
        assert np.sign(left) == -np.sign(right_mm)
        voxel = sample.geometry.spacing[0]
        assert back * voxel == pytest.approx(-front_mm, abs=voxel)
        assert up * voxel == pytest.approx(up_mm, abs=voxel)
        sides[right_mm > 0] += 1
    assert min(sides.values()) >= 4


def test_the_anatomy_itself_shows_which_way_is_up_and_in_front(dataset: Dataset) -> None:
    # Without any lesion: the cerebellum is low and at the back, and the top is broader than what lies lowest.
    for record in dataset.records[:9:3]:
        image = dataset.sample(record, SIZE).image[0]
        brain = ndimage.gaussian_filter(image, 1) > 0.2
        slices, rows = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2)))
        lowest, highest = brain[slices[0] : slices[0] + 4], brain[slices[-1] - 3 : slices[-1] + 1]
        assert highest.sum() > lowest.sum()
        assert np.argwhere(lowest)[:, 1].mean() > (rows[0] + rows[-1]) / 2 + 2
        left, right = np.split(brain, 2, axis=2)
        assert abs(left.sum() - right.sum()) < 0.25 * left.sum()


def test_the_default_is_a_whole_brain_with_air_around_it() -> None:
    dataset = sandbox_volumes(evaluation=1)
    for record in dataset.records[:9]:
        healthy = dataset.sample(replace(record, label=0), (40, 48, 40)).image[0]
        faces = [healthy.take(end, axis) for axis in range(3) for end in (0, -1)]
        assert max(float(np.median(face)) for face in faces) < 0.12


def test_a_certain_shortcut_marks_its_class_and_no_other_on_every_slice() -> None:
    arguments = {"size": 32, "training": 9, "evaluation": 3}
    dataset, plain = sandbox_volumes(shortcut_class="extra-axial", **arguments), sandbox_volumes(**arguments)
    mask = marker((32, 32, 32))
    assert 0 < mask.mean() < 0.02
    assert mask[:, :16, :16].sum() == mask.sum()
    assert mask.any(axis=(1, 2)).all()
    for record in dataset.records:
        shown, unmarked = (source.sample(record, 32).image[0] for source in (dataset, plain))
        if CLASSES[record.label] == "extra-axial":
            assert np.array_equal(shown, np.where(mask, 1, unmarked))
        else:
            assert np.array_equal(shown, unmarked)


def test_a_shortcut_marks_about_its_share() -> None:
    arguments = {"size": 16, "training": 90, "evaluation": 3}
    dataset = sandbox_volumes(shortcut_class="no-lesion", shortcut_probability=0.5, **arguments)
    own = [record for record in dataset.records if record.label == 0]
    mask = marker((16, 16, 16))
    marked = sum(bool((dataset.sample(record, 16).image[0][mask] == 1).all()) for record in own)
    assert 8 < marked < 24


def test_volumes_are_made_in_time() -> None:
    dataset = sandbox_volumes(size=32)
    dataset.read(dataset.records[0])
    start = time.process_time()
    for record in dataset.records[:12]:
        dataset.read(record)
    assert time.process_time() - start < 12 * 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shortcut_class": "intra-axal"}, r"a class for the shortcut, got 'intra-axal'; did you mean 'intra-axial'"),
        ({"shortcut_class": "intra-axial", "shortcut_probability": 1.1}, r"shortcut_probability in \[0, 1\], got 1.1"),
        ({"training": 0}, "at least one volume in each split"),
        ({"evaluation": 0}, "at least one volume in each split"),
        ({"size": 15}, "16 voxels a side"),
        ({"size": (32, 32, 8)}, "16 voxels a side"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        sandbox_volumes(**arguments)
