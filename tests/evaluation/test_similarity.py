from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from medsaliency.evaluation.similarity import SIMILARITIES, dice, hog, spearman, ssim
from medsaliency.types import MedsaliencyError

NAMES = list(SIMILARITIES)


def noise(seed: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).random((size, size), dtype=np.float32)


def ramp(size: int = 64) -> np.ndarray:
    """Rises from left to right."""
    return np.tile(np.arange(size, dtype=np.float32), (size, 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_map_is_most_like_itself_and_comparing_has_no_direction(name) -> None:
    similarity = SIMILARITIES[name]
    a, b = noise(0), noise(1)
    assert similarity(a, a).value == pytest.approx(1)
    assert similarity(a, b).value < 0.5
    assert similarity(a, b).value == pytest.approx(similarity(b, a).value)


@pytest.mark.parametrize("name", NAMES)
def test_each_map_is_taken_in_its_own_range(name) -> None:
    a, b = noise(0), noise(1)
    stretched = (1000 * b - 500).astype(np.float32)
    assert SIMILARITIES[name](a, stretched).value == pytest.approx(SIMILARITIES[name](a, b).value, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (np.full((32, 32), 3.0), "a map is constant"),
        (np.where(np.eye(32), np.nan, noise(1)), "a map is not finite"),
        (np.where(np.eye(32), np.inf, noise(1)), "a map is not finite"),
    ],
)
def test_maps_that_cannot_be_compared_have_a_reason(name, other, reason) -> None:
    for pair in ((noise(0), other), (other, noise(0))):
        found = SIMILARITIES[name](*pair)
        assert math.isnan(found.value)
        assert found.reason == reason


@pytest.mark.parametrize("name", NAMES)
def test_maps_of_two_sizes_are_refused(name) -> None:
    with pytest.raises(MedsaliencyError, match=r"or \(D, H, W\) of one size, got \(32, 32\) and \(16, 16\)"):
        SIMILARITIES[name](noise(0), noise(0, 16))


@pytest.mark.parametrize(("similarity", "least"), [(ssim, 11), (hog, 24)])
def test_windows_and_blocks_need_room(similarity, least) -> None:
    assert similarity(noise(0, least), noise(1, least)).reason == ""
    assert similarity(noise(0, least - 1), noise(1, least - 1)).reason == "the maps are too small"


def test_ssim_by_its_formula() -> None:
    # Wang et al. 2004, equation 13, written out with scipy's filter; the border of half a window is left out.
    a, b = (noise(seed).astype(np.float64) for seed in (0, 1))
    b = 0.7 * a + 0.3 * b
    x, y = ((m - m.min()) / (m.max() - m.min()) for m in (a, b))

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, radius=5)

    c1, c2 = 0.01**2, 0.03**2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    of_pixels = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(a, b).value == pytest.approx(of_pixels[5:-5, 5:-5].mean(), abs=1e-5)


def test_spearman_by_hand() -> None:
    # No ties: 1 - 6 * sum of squared differences of ranks / (n (n^2 - 1)), with differences 0, 1, -1, 0.
    assert spearman(np.array([[1.0, 5], [6, 90]]), np.array([[0.0, 2], [1, 3]])).value == pytest.approx(1 - 6 * 2 / 60)
    # Ties share their mean rank: ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4 have covariance 4.5 and variances 4.5 and 5.
    tied = spearman(np.array([[0.0, 0], [1, 2]]), np.array([[1.0, 2], [3, 4]]))
    assert tied.value == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman(noise(0), -noise(0)).value == pytest.approx(-1)


def test_hog_by_hand() -> None:
    # Of each cell one of nine orientations has all: two vectors that are 1 on disjoint ninths correlate by
    # (0 - 1/81) / (1/9 * 8/9) = -1/8. Pixels at the border have no gradient, so cells are not quite alike.
    assert hog(ramp(), ramp().T).value == pytest.approx(-1 / 8, abs=0.01)
    assert hog(ramp(), -ramp()).value == pytest.approx(1)


def test_hog_without_a_gradient() -> None:
    # What is left over beyond whole cells is not looked at.
    corner = np.zeros((31, 31))
    corner[-1, -1] = 1
    assert hog(noise(0, 31), corner).reason == "a map has no gradient where HOG looks"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([[4, 3], [2, 1]], [[4, 3], [2, 1]], 1),
        ([[4, 3], [2, 1]], [[4, 1], [3, 2]], 1 / 2),
        ([[4, 3], [2, 1]], [[1, 2], [3, 4]], 0),
        # The second of a is one of three at random, and b has one of these: 1 * 1 + 1/3 * 1, of 2.
        ([[9, 0], [0, 0]], [[4, 3], [2, 1]], (1 + 1 / 3) / 2),
        # Chosen in each map by itself: 1 * 1 + 3 * 1/3 * 1/3, of 2.
        ([[9, 0], [0, 0]], [[9, 0], [0, 0]], (1 + 1 / 3) / 2),
    ],
)
def test_dice_of_the_two_highest_by_hand(a, b, expected) -> None:
    assert dice(np.array(a, np.float32), np.array(b, np.float32), 0.5).value == pytest.approx(expected)


def test_dice_is_the_mean_over_random_choices_in_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.round(3 * rng.random((6, 6))).astype(np.float32) for _ in range(2))
    drawn = []
    for _ in range(4000):
        tops = []
        for saliency in (a, b):
            shuffled = rng.permutation(36)
            tops.append(set(shuffled[np.argsort(-saliency.ravel()[shuffled], kind="stable")][:9].tolist()))
        drawn.append(len(tops[0] & tops[1]) / 9)
    # Four standard errors of the mean of 4000 draws.
    assert dice(a, b, 0.25).value == pytest.approx(np.mean(drawn), abs=4 * float(np.std(drawn)) / math.sqrt(4000))


def test_dice_of_independent_maps_is_the_share() -> None:
    found = [dice(noise(seed), noise(1000 + seed), 0.2).value for seed in range(200)]
    assert np.mean(found) == pytest.approx(0.2, abs=0.01)


def test_a_share_of_no_pixel_is_undefined_and_one_out_of_range_refused() -> None:
    a, b = noise(0, 4), noise(1, 4)
    for share in (0.03, 0.98):
        assert dice(a, b, share).reason == "the share is no pixel, or all of them"
    for share in (0, 1, 10):
        with pytest.raises(MedsaliencyError, match=rf"dice: expected share in \(0, 1\), got {share}"):
            dice(a, b, share)


def volume(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_volumes_are_compared_and_one_slice_as_an_image(name) -> None:
    similarity = SIMILARITIES[name]
    a, b = volume(0, 12, 32, 30), volume(1, 12, 32, 30)
    assert similarity(a, a).value == pytest.approx(1)
    assert similarity(a, b).value < 0.5
    assert similarity(a[:1], b[:1]).value == similarity(a[0], b[0]).value
    mirrored = similarity(a[:, ::-1], b[:, ::-1]).value
    assert mirrored == pytest.approx(similarity(a, b).value, abs=0.02 if name == "hog" else 1e-6)


def test_ssim_of_volumes_equals_its_formula_in_cubic_windows() -> None:
    a, b = ndimage.gaussian_filter(volume(0, 14, 20, 17), 1), ndimage.gaussian_filter(volume(1, 14, 20, 17), 1)
    x, y = ((m - m.min()) / (m.max() - m.min()) for m in (a.astype(np.float64), b.astype(np.float64)))

    def window(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, truncate=3.5)

    mean_x, mean_y = window(x), window(y)
    var_x, var_y = window(x * x) - mean_x**2, window(y * y) - mean_y**2
    both = window(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    assert ssim(a, b).value == pytest.approx(found[5:-5, 5:-5, 5:-5].mean(), abs=1e-6)


def test_hog_of_volumes_is_of_all_slices_together() -> None:
    # Where slices are like each other two by two, exchanging them in one of the maps makes the maps less alike.
    a = np.concatenate([volume(0, 1, 32, 32), volume(1, 1, 32, 32)])
    assert hog(a, a).value == pytest.approx(1)
    assert hog(a, a[::-1]).value < 0.5
    assert hog(a, np.concatenate([a[:1], volume(2, 1, 32, 32)])).value > hog(a, a[::-1]).value + 0.2


def test_a_volume_of_few_slices_is_too_small_for_cubic_windows_but_not_for_hog() -> None:
    a, b = volume(0, 10, 32, 32), volume(1, 10, 32, 32)
    assert ssim(a, b).reason == "the maps are too small"
    assert hog(a, b).reason == ""
    assert hog(a[:, :23], b[:, :23]).reason == "the maps are too small"
