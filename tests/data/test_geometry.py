import json
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medsaliency.data.geometry import from_dict, grid_of, plan, to_dict, to_model, to_native, to_stored
from medsaliency.types import Crop, Geometry, MedsaliencyError, Pad, Resize, Slice, Turn

FITS = ("pad", "crop", "stretch")


def turns(dimensions: int) -> list[Turn]:
    orders = permutations(range(dimensions))
    return [Turn(order, signs) for order, signs in product(orders, product((False, True), repeat=dimensions))]


def way(size, grid, **how) -> Geometry:
    return Geometry(tuple(size), plan(size, grid, **how))


def place(values: np.ndarray) -> np.ndarray:
    """The center of mass of what is above half of the maximum."""
    weights = np.where(values > values.max() / 2, values, 0).astype(np.float64)
    return np.array([(weights * axis).sum() for axis in np.indices(values.shape)]) / weights.sum()


def blob(size, at, widths) -> np.ndarray:
    """A bright Gaussian at a native pixel, wide enough for the grid to see it."""
    distances = [(np.arange(count) - center) / width for count, center, width in zip(size, at, widths, strict=True)]
    squares = np.meshgrid(*[d**2 for d in distances], indexing="ij")
    return np.exp(-sum(squares) / 2).astype(np.float32)


def test_an_image_is_padded_to_the_middle_of_a_square_and_then_resized():
    assert plan((4, 8), 4) == (Pad((2, 0), (2, 0)), Resize((8, 8), (4, 4)))
    assert plan((5, 8), 8) == (Pad((1, 0), (2, 0)),)
    assert plan((8, 8), 8) == ()
    assert plan((4, 8), 4, fit="crop") == (Crop((0, 2), (0, 2)),)
    assert plan((4, 8), 4, fit="stretch") == (Resize((4, 8), (4, 4)),)


def test_pixels_that_are_further_apart_are_fewer_on_the_same_length():
    # 40 rows of 2 mm are 80 mm, as are 80 columns of 1 mm: nothing to pad.
    assert plan((40, 80), 20, spacing=(2, 1)) == (Resize((40, 80), (20, 20)),)
    # 10 slices of 5 mm beside 100 x 100 of 1 mm are half of a cube.
    assert plan((10, 100, 100), 50, spacing=(5, 1, 1)) == (
        Pad((5, 0, 0), (5, 0, 0)),
        Resize((20, 100, 100), (50, 50, 50)),
    )
    assert plan((40, 80), 20, spacing=(0.50001, 0.5)) == plan((40, 80), 20)
    assert plan((40, 80), 20, spacing=(0, np.inf)) == plan((40, 80), 20)


def test_a_grid_that_is_no_cube_is_filled_in_proportion():
    assert plan((16, 64, 64), (8, 32, 32)) == (Resize((16, 64, 64), (8, 32, 32)),)
    assert plan((10, 64, 64), (8, 32, 32)) == (Pad((3, 0, 0), (3, 0, 0)), Resize((16, 64, 64), (8, 32, 32)))


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(MedsaliencyError, match=r"^expected fit pad, crop or stretch, got 'crops'; did you mean 'crop'"):
        plan((4, 4), 4, fit="crops")
    with pytest.raises(MedsaliencyError, match=r"^expected a size of one number or 3 .*got \(4, 4\)"):
        plan((4, 4, 4), (4, 4))
    with pytest.raises(MedsaliencyError, match=r"at most 512,000,000 pixels.*1000000.*correct its spacing"):
        plan((100, 100), 100, spacing=(1e6, 1))
    with pytest.raises(MedsaliencyError, match=r"pixels along every axis, got a size of \(0, 4\)"):
        plan((0, 4), 4)
    assert grid_of(3, 2) == (3, 3)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_turn_is_undone_exactly(dimensions):
    size = (5, 7, 4)[:dimensions]
    values = np.random.default_rng(0).random(size, dtype=np.float32)
    seen = set()
    for turn in turns(dimensions):
        geometry = Geometry(size, (turn,))
        turned = to_model(values[None], geometry.steps)
        assert turned.shape[1:] == tuple(size[axis] for axis in turn.axes)
        seen.add(turned.tobytes())
        np.testing.assert_array_equal(to_native(turned[0], geometry), values)
    assert len(seen) == {2: 8, 3: 48}[dimensions]


def test_a_turn_takes_axes_and_reverses_the_new_ones():
    values = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    turned = to_model(values[None], (Turn((1, 0), (True, False)),))
    np.testing.assert_array_equal(turned[0], [[3, 6], [2, 5], [1, 4]])


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=3),
    st.integers(8, 40),
    st.sampled_from(FITS),
    st.data(),
)
def test_the_way_and_back_keep_size_range_and_constants(size, grid, fit, data):
    spacing = data.draw(st.none() | st.tuples(*[st.floats(0.2, 5)] * len(size)))
    turn = data.draw(st.sampled_from([None, *turns(len(size))]))
    geometry = way(size, grid, fit=fit, spacing=spacing, turn=turn)
    there = to_model(np.full((2, *size), 0.5, np.float32), geometry.steps)
    assert there.shape == (2, *[grid] * len(size))
    assert there.dtype == np.float32
    assert -1e-6 <= there.min() <= there.max() <= 0.5 + 1e-6
    lesion = to_model(np.ones(size, bool), geometry.steps)
    assert lesion.shape == there.shape[1:]
    assert lesion.dtype == np.bool_
    back = to_native(np.full(there.shape[1:], 0.25, np.float32), geometry)
    assert back.shape == tuple(size)
    cut = next((step for step in geometry.steps if isinstance(step, Crop)), None)
    if cut is None:
        np.testing.assert_allclose(back, 0.25, rtol=1e-6)
    else:
        assert set(np.unique(back.round(6))) <= {0, 0.25}
        assert from_dict(json.loads(json.dumps(to_dict(geometry)))) == geometry


@settings(deadline=None)
@given(st.lists(st.integers(1, 24), min_size=2, max_size=3), st.integers(0, 2**32 - 1), st.data())
def test_where_nothing_is_resampled_the_way_back_is_exact(size, seed, data):
    turn = data.draw(st.sampled_from(turns(len(size))))
    geometry = way(size, max(size), turn=turn)
    values = np.random.default_rng(seed).random((1, *size), dtype=np.float32)
    np.testing.assert_array_equal(to_native(to_model(values, geometry.steps)[0], geometry), values[0])
    lesion = values[0] > 0.5
    assert to_model(lesion, geometry.steps).sum() == lesion.sum()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(24, 90), min_size=2, max_size=3),
    st.integers(24, 72),
    st.sampled_from(FITS),
    st.data(),
)
def test_a_marker_comes_back_within_a_pixel_whatever_the_chain(size, grid, fit, data):
    """Random sizes, spacings, turns and fits: the map of a marker has its place on the file's own pixels."""
    spacing = data.draw(st.none() | st.tuples(*[st.floats(0.4, 3)] * len(size)))
    turn = data.draw(st.sampled_from([None, *turns(len(size))]))
    geometry = way(size, grid, fit=fit, spacing=spacing, turn=turn)
    cut = [(0, 0)] * len(size)
    for step in geometry.steps:
        if isinstance(step, Crop):
            inner = list(zip(step.before, step.after, strict=True))
            cut = [inner[turn.axes.index(axis)] for axis in range(len(size))] if turn else inner
    resized = next((step for step in geometry.steps if isinstance(step, Resize)), None)
    ratios = [1.0] * len(size)
    if resized is not None:
        on_the_way = [b / a for b, a in zip(resized.before, resized.after, strict=True)]
        ratios = [on_the_way[turn.axes.index(axis)] for axis in range(len(size))] if turn else on_the_way
    widths = [max(1.0, ratio) for ratio in ratios]
    rooms = [(before + 4 * w, n - 1 - after - 4 * w) for n, (before, after), w in zip(size, cut, widths, strict=True)]
    if any(low > high for low, high in rooms):
        assume(False)  # a strip cut so narrow that a marker does not fit
    at = [data.draw(st.integers(int(np.ceil(low)), max(int(np.ceil(low)), int(high)))) for low, high in rooms]
    back = to_native(to_model(blob(size, at, widths)[None], geometry.steps)[0], geometry)
    assert np.abs(place(back) - at).max() <= 1


def test_a_lesion_pixel_needs_half_its_area():
    lesion = np.zeros((8, 8), bool)
    lesion[:4] = True
    small = to_model(lesion, plan((8, 8), 4))
    np.testing.assert_array_equal(small, [[True] * 4] * 2 + [[False] * 4] * 2)


@pytest.mark.parametrize(("before", "after"), [((9, 12), (5, 30)), ((6, 9, 7), (12, 5, 7))])
def test_resizing_is_linear_and_averages_where_it_shrinks_as_torch_does(before, after):
    values = np.random.default_rng(0).random((2, *before), dtype=np.float32)
    ours = to_model(values, (Resize(before, after),))
    theirs = torch.from_numpy(values)[:, None]
    if len(before) == 2:
        theirs = F.interpolate(theirs, after, mode="bilinear", antialias=True)
    else:  # torch averages planes only: plane by plane, then all columns through them
        theirs = F.interpolate(theirs.flatten(0, 2)[:, None], after[1:], mode="bilinear", antialias=True)
        theirs = theirs.reshape(2, before[0], -1)[:, None]
        theirs = F.interpolate(theirs, (after[0], theirs.shape[-1]), mode="bilinear", antialias=True)
    np.testing.assert_allclose(ours, theirs.numpy().reshape(ours.shape), atol=1e-5)


def test_a_plane_stands_at_its_place_of_the_stored_volume():
    plane = np.arange(6, dtype=np.float32).reshape(2, 3)
    stored = to_stored(plane, Geometry((2, 3), slice=Slice(1, 2, (2, 4, 3))))
    assert stored.shape == (2, 4, 3)
    np.testing.assert_array_equal(stored[:, 2], plane)
    assert np.count_nonzero(stored) == 5
    assert to_stored(plane, Geometry((2, 3))) is plane


def test_a_geometry_is_written_down_and_read_again():
    affine = ((-1.0, 0.0, 0.0, 90.0), (0.0, 1.0, 0.0, -126.0), (0.0, 0.0, 1.0, -72.0), (0.0, 0.0, 0.0, 1.0))
    steps = (Turn((1, 0), (True, False)), Crop((1, 0), (0, 2)), Pad((0, 1), (1, 0)), Resize((4, 4), (8, 8)))
    whole = Geometry((5, 6), steps, (1.0, 2.0), "a/b.nii#3", affine, Slice(2, 3, (5, 6, 9)), spacing_known=False)
    assert from_dict(json.loads(json.dumps(to_dict(whole)))) == whole
    assert from_dict(json.loads(json.dumps(to_dict(Geometry((5, 6)))))) == Geometry((5, 6))
    for damaged in ({}, {"steps": [{"step": "bend"}]}, {**to_dict(whole), "steps": 3}):
        with pytest.raises(MedsaliencyError, match=r"^expected the geometry of an image"):
            from_dict(damaged)
