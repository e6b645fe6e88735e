import highdicom
import numpy as np
import pytest
from pydicom import Dataset

from medsaliency.data.dicom.geometry import (
    Plane,
    along_normal,
    image_affine,
    parallel,
    planes_of,
    spacing_of,
    stack_affine,
)

LPS_TO_RAS = np.diag([-1, -1, 1, 1])


def header(**attributes):
    found = Dataset()
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return found


def region(x, y, units=3):
    return header(PhysicalUnitsXDirection=units, PhysicalUnitsYDirection=units, PhysicalDeltaX=x, PhysicalDeltaY=y)


def oblique(seed=0):
    """Two unit vectors at right angles."""
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return turned[:, 0], turned[:, 1]


def slices(count=5, gap=2.5, seed=0):
    columns, rows = oblique(seed)
    normal = np.cross(columns, rows)
    start = np.array([10.0, -20.0, 30.0])
    return [Plane(tuple(start + i * gap * normal), tuple(rows), tuple(columns), (0.5, 0.75)) for i in range(count)]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, (None, False)),
        ({"PixelSpacing": [0.5, 0.25], "ImagerPixelSpacing": [1, 1]}, ((0.5, 0.25), True)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.1]}, ((0.2, 0.1), True)),
        ({"ImagerPixelSpacing": [0.3, 0.3], "EstimatedRadiographicMagnificationFactor": 1.5}, ((0.2, 0.2), True)),
        ({"NominalScannedPixelSpacing": [0.1, 0.2]}, ((0.1, 0.2), True)),
        ({"PixelAspectRatio": [4, 3]}, ((4.0, 3.0), False)),
        ({"SequenceOfUltrasoundRegions": [region(0.02, -0.03)]}, ((0.3, 0.2), True)),
        ({"SequenceOfUltrasoundRegions": [region(0.02, 0.03), region(0.02, 0.03)]}, ((0.3, 0.2), True)),
        ({"SequenceOfUltrasoundRegions": [region(0.02, 0.03), region(0.01, 0.03)]}, (None, False)),
        ({"SequenceOfUltrasoundRegions": [region(0.02, 0.03, units=4)]}, (None, False)),
    ],
)
def test_spacing_comes_from_where_it_is_first_given(attributes, expected):
    found, known = spacing_of(header(**attributes))
    assert known is expected[1]
    assert found == (None if expected[0] is None else pytest.approx(expected[0]))


@pytest.mark.parametrize("seed", range(4))
def test_an_images_affine_is_that_of_highdicom(seed):
    columns, rows = oblique(seed)
    plane = planes_of(
        header(
            ImagePositionPatient=[12.5, -30.25, 7],
            ImageOrientationPatient=[round(float(c), 12) for c in (*columns, *rows)],
            PixelSpacing=[0.5, 0.75],
        ),
        1,
    )[0]
    ours = np.array(image_affine(plane))
    theirs = LPS_TO_RAS @ highdicom.spatial.create_affine_matrix_from_attributes(
        plane.position, (*plane.columns, *plane.rows), (0.5, 0.75), 1.0, index_convention="DR"
    )
    points = np.array([[0, 0, 0, 1], [3, 5, 0, 1], [-2, 9, 0, 1]]).T
    np.testing.assert_allclose(ours @ points, theirs @ points, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_even_slices_have_one_affine_that_places_each_pixel_as_its_own_slice_does(seed):
    planes = slices(seed=seed)
    affine, reason = stack_affine(planes)
    assert reason == ""
    for index, plane in enumerate(planes):
        for row, column in ((0, 0), (4, 7)):
            expected = np.array(image_affine(plane)) @ [row, column, 0, 1]
            np.testing.assert_allclose(np.array(affine) @ [index, row, column, 1], expected, atol=1e-9)
    backwards, _ = stack_affine(planes[::-1])
    np.testing.assert_allclose(np.array(backwards)[:3, 0], -np.array(affine)[:3, 0], atol=1e-9)


def test_a_frames_own_affine_is_right_at_its_number():
    plane = slices()[2]
    expected = np.array(image_affine(plane)) @ [4, 7, 0, 1]
    np.testing.assert_allclose(np.array(image_affine(plane, 6)) @ [6, 4, 7, 1], expected, atol=1e-9)


def test_what_makes_no_volume_is_named():
    planes = slices()
    gap = [planes[0], planes[1], planes[2], planes[4]]
    assert stack_affine(gap)[1] == (
        "expected evenly spaced slices, got 5 mm between slices 3 and 4 where others are 2.5 mm apart"
    )
    assert "at one place" in stack_affine([*planes, planes[-1]])[1]
    assert "in another order" in stack_affine([planes[0], planes[2], planes[1], planes[3]])[1]
    assert "several orientations" in stack_affine([planes[0], slices(seed=1)[1], planes[2]])[1]
    assert "got one" in stack_affine(planes[:1])[1]
    tilted = [
        Plane(tuple(np.add(p.position, np.multiply(p.rows, 0.3 * i))), p.rows, p.columns, p.spacing)
        for i, p in enumerate(planes)
    ]
    assert "tilted gantry" in stack_affine(tilted)[1]


@pytest.mark.parametrize(("off", "even"), [(0.02, True), (0.04, False)])
def test_gaps_may_differ_by_one_percent(off, even):
    planes = slices(gap=2.5)
    last = planes[-1]
    planes[-1] = Plane(tuple(last.position + off * last.normal), last.rows, last.columns, last.spacing)
    assert (stack_affine(planes)[0] is not None) is even


def test_slices_are_sorted_along_the_normal_and_grouped_by_direction():
    planes = slices()
    mixed = [planes[i] for i in (3, 0, 4, 1, 2)]
    assert [mixed[i] for i in along_normal(mixed)] == planes
    assert parallel(planes[0], planes[3])
    assert not parallel(planes[0], slices(seed=1)[0])
    assert not parallel(planes[0], Plane(planes[1].position, planes[1].rows, planes[1].columns, (1.0, 1.0)))


def test_what_does_not_say_where_it_lies_has_no_plane():
    said = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    assert planes_of(header(**said), 1) is not None
    for keyword in said:
        assert planes_of(header(**{k: v for k, v in said.items() if k != keyword}), 1) is None
    assert planes_of(header(**said | {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}), 1) is None
    assert planes_of(header(**said), 3) is None  # of several frames, only the first is placed


def test_a_dose_says_how_far_its_planes_are_from_the_first():
    said = header(
        ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[1, 1],
        GridFrameOffsetVector=[0, 5, 10],
    )
    assert [plane.position for plane in planes_of(said, 3)] == [(1, 2, 3), (1, 2, 8), (1, 2, 13)]
