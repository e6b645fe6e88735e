from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import griddata

from medsaliency.evaluation.interpolation import interpolate


def by_griddata(plane: np.ndarray, known: np.ndarray) -> np.ndarray:
    filled = plane.astype(np.float64)
    filled[~known] = griddata(np.argwhere(known), plane[known], np.argwhere(~known), method="linear")
    return filled


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.34, 0.75])
@pytest.mark.parametrize("spots", [False, True])
def test_it_is_scipys_griddata(share: float, spots: bool) -> None:
    rng = np.random.default_rng(0)
    image = rng.random((2, 61, 80)).astype(np.float32)
    value = rng.random((61, 80))
    if spots:  # whole regions known, as maps reveal them
        value += np.hypot(*np.mgrid[-30:31, -40:40]) / 10
    known = value <= np.quantile(value, share)
    known[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    ours = interpolate(image, known)
    assert ours.dtype == np.float32
    for plane, filled in zip(image, ours, strict=True):
        np.testing.assert_allclose(filled, by_griddata(plane, known), atol=1e-5)
        assert np.array_equal(filled[known], plane[known])


def test_corners_are_always_known_and_a_plane_stays_a_plane() -> None:
    rows, columns = np.mgrid[:9, :7].astype(np.float32)
    plane = (2 * rows - columns)[None]
    np.testing.assert_allclose(interpolate(plane, np.zeros((9, 7), dtype=bool)), plane, atol=1e-5)


def test_what_is_wholly_known_is_itself() -> None:
    image = np.random.default_rng(0).random((1, 12, 12)).astype(np.float32)
    assert np.array_equal(interpolate(image, np.ones((12, 12), dtype=bool)), image)
