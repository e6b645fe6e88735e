import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.data import volumes
from medsaliency.data.dataset import Raw, Record
from medsaliency.data.orientation import affine_of
from medsaliency.data.reading import Reading, Stack
from medsaliency.data.volumes import Stored
from medsaliency.types import MedsaliencyError

UPRIGHT = affine_of(np.diag([-1.0, -1.0, 1.0, 1.0]))


def stored(array, affine=UPRIGHT, **changes):
    def load(axis, index):
        return array if axis is None else np.take(array, index, axis)

    given = {"size": array.nbytes, "length": array.nbytes, "packed": False, "color": False, "columns_first": True}
    return Stored(
        name="a",
        shape=array.shape,
        affine=affine,
        assumed=UPRIGHT,
        spacing=None,
        load=load,
        units=lambda numbers: numbers,
        **(given | changes),
    )


RECORD = Record("a", 0, "a")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.sampled_from("CF"), st.integers(1, 2000))
def test_blocks_are_every_value_once_and_few_at_a_time(height, width, depth, order, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volumes, "BLOCK", most)
        array = np.zeros((height, width, depth), np.int32, order)
        for block in volumes._blocks(array):
            array[block] += 1
            slow = next((n for n in (array.shape if order == "C" else array.shape[::-1]) if n > 1), 1)
            assert array[block].size <= max(most, array.size // slow)
    np.testing.assert_array_equal(array, 1)


def test_blocks_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=(5, 6, 7))
    whole = volumes.image(stored(values), RECORD, Reading(volume=True)).pixels
    monkeypatch.setattr(volumes, "BLOCK", 10)
    np.testing.assert_array_equal(volumes.image(stored(values), RECORD, Reading(volume=True)).pixels, whole)


def test_huge_values_do_not_overflow():
    values = np.array([[-1e308, 1e308], [0, np.inf]])
    pixels = volumes.image(stored(values), RECORD, Reading()).pixels[0]
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.parametrize(
    ("shape", "view", "expected"),
    [
        ((4, 5), "axial", None),
        ((4, 5, 1), "axial", None),
        ((4, 5, 6), "axial", Stack(2, 6)),
        ((4, 5, 6), "coronal", Stack(1, 5)),
        ((4, 5, 6), "sagittal", Stack(0, 4)),
    ],
)
def test_how_slices_lie(shape, view, expected):
    assert volumes.stack(stored(np.zeros(shape)), Reading(view=view)) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"size": 2000},
            r"expected a file with 2,000 bytes of voxels as its header says, got one of 960 bytes; it is cut off",
        ),
        ({"size": 2000 * 960, "packed": True}, r"got one of 960 bytes compressed; it is cut off"),
    ],
)
def test_a_file_cannot_hold_more_than_its_length(changes, message):
    with pytest.raises(MedsaliencyError, match=rf"^a: .*{message}"):
        stored(np.zeros((4, 5, 6)), **changes)


def test_a_mask_of_a_large_volume_for_a_small_image_is_no_bomb():
    values = np.zeros((4, 5, 6))
    bomb = stored(values, size=2 * volumes.PLAIN_BYTES, length=volumes.PLAIN_BYTES // 200, packed=True)
    image = Raw(np.zeros((1, 4, 5), np.float32), affine=UPRIGHT)
    with pytest.raises(MedsaliencyError, match=r"^a: expected compressed data that grow at most 100-fold"):
        volumes.mask(bomb, RECORD, image)
    whole = Raw(np.zeros((1, 4, 5, 6), np.float32), affine=UPRIGHT)
    assert not volumes.mask(bomb, RECORD, whole).any()  # no larger than what it is the mask of
