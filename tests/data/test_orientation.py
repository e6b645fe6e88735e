import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.spatial.transform import Rotation

from medsaliency.data.geometry import to_model
from medsaliency.data.orientation import (
    affine_of,
    axis_of,
    fault_of,
    from_lps,
    patient_axes,
    plane_turn,
    spacing_of,
    volume_turn,
)

LETTERS = ("RL", "AP", "SI")
CODES = [
    "".join(LETTERS[axis][way] for axis, way in zip(axes, ways, strict=True))
    for axes in itertools.permutations(range(3))
    for ways in itertools.product((0, 1), repeat=3)
]
VOLUME = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
"""As stored canonically: to the right, to the front, to the head."""


def stored_as(codes):
    """The volume, and its affine, with axes that run as the codes say."""
    image = nib.Nifti1Image(VOLUME, np.diag([2.0, 3.0, 4.0, 1.0]))
    turned = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes)))
    return np.asarray(turned.dataobj), affine_of(turned.affine)


def test_there_are_48_codes():
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("codes", CODES)
def test_a_volume_is_shown_as_nibabels_canonical_one_from_feet_front_and_right(codes):
    stored, affine = stored_as(codes)
    canonical = np.asarray(nib.as_closest_canonical(nib.Nifti1Image(stored, np.array(affine))).dataobj)
    shown = to_model(stored, (volume_turn(affine),))
    np.testing.assert_array_equal(shown, canonical.transpose(2, 1, 0)[:, ::-1, ::-1])


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize(
    ("view", "across", "shown"),
    [
        ("axial", 2, lambda plane: plane.T[::-1, ::-1]),  # front on top, right on the left
        ("coronal", 1, lambda plane: plane.T[::-1, ::-1]),  # head on top, right on the left
        ("sagittal", 0, lambda plane: plane.T[::-1, ::-1]),  # head on top, front on the left
    ],
)
def test_every_view_of_every_order_of_axes_shows_the_same_slice(codes, view, across, shown):
    stored, affine = stored_as(codes)
    axis = axis_of(affine, view)
    assert stored.shape[axis] == VOLUME.shape[across]
    index = 1 if patient_axes(affine)[1][axis] else stored.shape[axis] - 2
    plane = stored[(slice(None),) * axis + (index,)]
    expected = shown(VOLUME[(slice(None),) * across + (1,)])
    np.testing.assert_array_equal(to_model(np.ascontiguousarray(plane), (plane_turn(affine, axis),)), expected)


@given(st.sampled_from(CODES), st.floats(-35, 35), st.integers(0, 2**32 - 1))
def test_an_oblique_volume_is_taken_for_the_nearest_upright_one(codes, degrees, seed):
    _, affine = stored_as(codes)
    axis = np.random.default_rng(seed).normal(size=3)
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    oblique = np.array(affine)
    oblique[:3] = turn @ oblique[:3]
    assert volume_turn(affine_of(oblique)) == volume_turn(affine)
    assert "".join(nib.aff2axcodes(oblique)) == codes
    np.testing.assert_allclose(spacing_of(affine_of(oblique)), spacing_of(affine), rtol=1e-9)


def test_an_axis_is_taken_once_even_where_two_are_nearest_to_it():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [45, 45, 45], degrees=True).as_matrix()
    assert sorted(patient_axes(affine_of(affine))[0]) == [0, 1, 2]


def test_lps_millimeters_become_ras_millimeters():
    matrix = np.arange(12.0).reshape(3, 4)
    expected = np.diag([-1, -1, 1, 1]) @ np.vstack([matrix, [0, 0, 0, 1]])
    np.testing.assert_array_equal(from_lps(matrix), expected)
    np.testing.assert_array_equal(affine_of(expected), expected)


@pytest.mark.parametrize(
    ("affine", "fault"),
    [
        (np.diag([1.0, 2, 3, 1]), ""),
        (np.diag([-1e-3, 2, 3, 1]), ""),
        ([[1, 0.01, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], ""),
        ([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "its axes meet at 45 degrees and not at right angles"),
        ([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]], "its axes meet at 0 degrees and not at right angles"),
        (np.diag([1.0, 0, 3, 1]), "its voxels measure 1 x 0 x 3 mm"),
        (np.diag([1.0, 1e300, 3, 1]), "its voxels measure 1 x inf x 3 mm"),
        (np.diag([1.0, np.nan, 3, 1]), "it is not finite"),
        ([[1, 0, 0, np.inf], [0, 1, 0, 0], [0, 0, 1, 0]], "it is not finite"),
    ],
)
def test_an_affine_that_places_nothing_is_told(affine, fault):
    assert fault_of(affine_of(affine)) == fault
