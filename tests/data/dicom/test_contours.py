import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path
from skimage.draw import polygon2mask

from medsaliency.data.dicom.contours import cost, inside

SQUARE = np.array([[1, 1], [1, 6], [6, 6], [6, 1]], float)
HOLE = np.array([[3, 3], [3, 4.5], [4.5, 4.5], [4.5, 3]])


def drawn(rows, columns, size=(8, 9)):
    mask = np.zeros(size, bool)
    mask[rows, columns] = True
    return mask


def star(seed, points, size):
    """A contour around the middle that does not cross itself, not on pixel centers."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = rng.uniform(0.1, 0.7, points) * min(size)
    return np.column_stack([np.sin(angle), np.cos(angle)]) * radius[:, None] + np.array(size) / 2 + 0.0123


def test_a_square_between_pixel_centers_holds_those_within():
    np.testing.assert_array_equal(inside([SQUARE - 0.5], (8, 9)), drawn(slice(1, 6), slice(1, 6)))


def test_a_center_on_the_contour_belongs_below_and_to_the_right():
    np.testing.assert_array_equal(inside([SQUARE], (8, 9)), drawn(slice(1, 6), slice(1, 6)))


def test_contours_that_share_an_edge_share_no_pixel_and_leave_none_out():
    other = SQUARE + np.array([0, 5])
    both = inside([SQUARE], (8, 12)).astype(int) + inside([other], (8, 12))
    np.testing.assert_array_equal(both, drawn(slice(1, 6), slice(1, 11), (8, 12)).astype(int))


def test_a_contour_within_another_is_a_hole_whichever_way_either_runs():
    expected = drawn(slice(1, 6), slice(1, 6)) & ~drawn(slice(3, 5), slice(3, 5))
    for outer in (SQUARE, SQUARE[::-1]):
        for inner in (HOLE, HOLE[::-1]):
            np.testing.assert_array_equal(inside([outer, inner], (8, 9)), expected)


@given(st.floats(0.05, 0.95), st.floats(-0.9, 0.9))
def test_a_keyhole_leaves_its_hole_out_and_its_channel_in(along, slant):
    gate, door = [1.0, 1 + 5 * along], [3.0, 3.0 + 0.1 * slant]
    keyhole = np.array([SQUARE[0], gate, door, HOLE[3], HOLE[2], HOLE[1], door, gate, *SQUARE[1:]])
    np.testing.assert_array_equal(inside([keyhole], (8, 9)), inside([SQUARE, np.array([door, *HOLE[:0:-1]])], (8, 9)))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(4, 40), st.integers(4, 40))
def test_as_matplotlib_and_scikit_image_fill_a_contour(seed, points, height, width):
    contour, size = star(seed, points, (height, width)), (height, width)
    found = inside([contour], size)
    centers = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_array_equal(found, Path(contour).contains_points(centers).reshape(size))
    np.testing.assert_array_equal(found, polygon2mask(size, contour))


def test_what_leaves_the_image_is_cut_off():
    big = (SQUARE - 3.5) * 1e6
    assert inside([big], (8, 9)).all()
    assert not inside([SQUARE + 100], (8, 9)).any()
    np.testing.assert_array_equal(inside([SQUARE - np.array([0, 3])], (8, 9)), drawn(slice(1, 6), slice(0, 3)))


def test_points_and_lines_hold_nothing():
    for contour in (SQUARE[:1], SQUARE[:2], np.zeros((0, 2))):
        assert not inside([contour], (8, 9)).any()
    assert not inside([], (8, 9)).any()


def test_the_cost_is_the_rows_that_edges_cross():
    assert cost(SQUARE, 8) == 10
    assert cost(SQUARE * 1e9, 8) == 0
    assert cost((SQUARE - 3.5) * 1e6, 8) == 16
