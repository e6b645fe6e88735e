from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsaliency.evaluation.road import ROAD, grid_laplacian, impute
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError, generator

NAMES = ["road", "road_most", "road_least"]


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, str(i), "road") for i in range(count)]


def noise(count: int = 2, size: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def fill(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    return impute(image.astype(np.float32), removed, grid_laplacian(*removed.shape))


def dense(plane: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The same equations written out pixel by pixel and solved as they are."""
    height, width = plane.shape
    where = [tuple(place) for place in np.argwhere(removed)]
    left, right = np.zeros((len(where), len(where))), np.zeros(len(where))
    for row, (y, x) in enumerate(where):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near = (y + dy, x + dx)
                if near == (y, x) or not (0 <= near[0] < height and 0 <= near[1] < width):
                    continue
                weight = 1 / 6 if 0 in (dy, dx) else 1 / 12
                left[row, row] += weight
                if removed[near]:
                    left[row, where.index(near)] -= weight
                else:
                    right[row] += weight * plane[near]
    filled = plane.copy()
    filled[removed] = np.linalg.solve(left, right)
    return filled


def test_one_pixel_is_the_weighted_mean_of_its_neighbors() -> None:
    image = np.array([[[1, 2, 3], [4, 99, 6], [7, 8, 10]]])
    removed = np.zeros((3, 3), dtype=bool)
    removed[1, 1] = True
    assert fill(image, removed)[0, 1, 1] == pytest.approx((2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 10) / 12)


def test_a_corner_has_three_neighbors_whose_weights_make_a_whole() -> None:
    image = np.array([[[99, 2, 3], [4, 5, 6], [7, 8, 10]]])
    removed = np.zeros((3, 3), dtype=bool)
    removed[0, 0] = True
    assert fill(image, removed)[0, 0, 0] == pytest.approx((2 * 2 + 2 * 4 + 5) / 5)


@pytest.mark.parametrize("share", [0.02, 0.4, 0.95])
@pytest.mark.parametrize("compact", [False, True])
def test_it_solves_the_equations(share, compact) -> None:
    rng = np.random.default_rng(0)
    image, value = rng.random((2, 11, 9)).astype(np.float32), rng.random((11, 9))
    if compact:
        value += np.hypot(*np.mgrid[-3:8, -2:7])
    removed = value <= np.quantile(value, share)
    found = fill(image, removed)
    assert found.dtype == np.float32
    for plane, filled in zip(image, found, strict=True):
        assert np.array_equal(filled[~removed], plane[~removed])
        np.testing.assert_allclose(filled, dense(plane.astype(np.float64), removed), atol=1e-5)


def test_inside_the_image_a_plane_stays_a_plane() -> None:
    rows, columns = np.mgrid[:20, :17]
    plane = ((2 * rows - columns) / 40)[None]
    removed = np.zeros((20, 17), dtype=bool)
    removed[1:-1, 1:-1] = True
    np.testing.assert_allclose(fill(plane, removed), plane, atol=1e-5)


def test_a_uniform_image_stays_uniform_from_a_single_pixel() -> None:
    removed = np.ones((12, 12), dtype=bool)
    removed[3, 4] = False
    assert fill(np.full((1, 12, 12), 0.3), removed) == pytest.approx(np.full((1, 12, 12), 0.3))


def test_gray_in_three_channels_is_each_of_them_alone() -> None:
    image, removed = noise(1).numpy()[0], noise(1, seed=1).numpy()[0, 0] < 0.7
    assert np.array_equal(fill(np.repeat(image, 3, axis=0), removed), np.repeat(fill(image, removed), 3, axis=0))


def test_three_by_three_by_hand(summing) -> None:
    # One bright pixel in the middle, and a model that looks at nothing else: 3/4 for b where it is, 1/4 where not. The
    # map's best pixel is the middle, its worst a corner.
    weights = torch.zeros(3, 3)
    weights[1, 1] = 1
    metric = ROAD(fractions=(1 / 9,), noise=0)
    saliency = torch.tensor([[[1.0, 2, 3], [4, 9, 5], [6, 7, 8]]])
    probe = Probe(summing(weights, scale=2 * math.log(3), middle=0.5), weights[None, None], [1])
    scores = metric(probe, saliency, rngs(1))
    assert list(scores) == NAMES == [measure.name for measure in metric.measures]
    assert [scores[name][0].value for name in NAMES] == pytest.approx([1 / 4, 1 / 4, 3 / 4])
    assert scores["road"][0].curve.x == pytest.approx((1 / 9,))
    assert scores["road"][0].curve.y == pytest.approx((1 / 4,))


def test_values_are_means_over_the_shares(summing) -> None:
    probe = Probe(summing(noise(1, seed=2)[0, 0], scale=0.3, middle=64), noise(), [0, 1])
    scores = ROAD()(probe, noise(seed=1)[:, 0], rngs(2))
    for i in range(2):
        for name in NAMES:
            assert scores[name][i].value == pytest.approx(np.mean(scores[name][i].curve.y))
            assert scores[name][i].curve.x == pytest.approx([round(share * 256) / 256 for share in ROAD().fractions])
        most, least = scores["road_most"][i].value, scores["road_least"][i].value
        assert scores["road"][i].value == pytest.approx((least - most) / 2)


def test_a_map_turned_upside_down_has_the_opposite_value(summing) -> None:
    probe = Probe(summing(noise(1, seed=2)[0, 0], scale=0.3, middle=64), noise(), [1, 1])
    maps = noise(seed=1)[:, 0]  # no two pixels alike
    one, other = ROAD()(probe, maps, rngs(2)), ROAD()(probe, -maps, rngs(2))
    for i in range(2):
        assert abs(one["road"][i].value) > 1e-4
        assert one["road"][i].value == pytest.approx(-other["road"][i].value, abs=1e-6)
        assert one["road_most"][i].value == pytest.approx(other["road_least"][i].value, abs=1e-6)


def test_nothing_can_be_removed_from_a_uniform_image(summing) -> None:
    probe = Probe(summing(noise(1, seed=2)[0, 0], scale=0.3, middle=64), torch.full((1, 1, 16, 16), 0.4), [1])
    scores = ROAD(noise=0)(probe, noise(1)[:, 0], rngs(1))
    whole = float(probe.probabilities[0, 1])
    assert scores["road"][0].value == pytest.approx(0, abs=1e-6)
    assert scores["road_most"][0].value == scores["road_least"][0].value == pytest.approx(whole)


def shown_by(metric: ROAD, classifier, saliency: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Images (2, T, H, W) that the model saw of one image."""
    metric(Probe(classifier, noise(1), [1]), saliency, rngs(1, seed))
    return torch.cat(classifier.module.shown)[-2 * len(metric.fractions) :].reshape(2, -1, 16, 16)


def test_exactly_k_pixels_are_removed_also_where_all_are_alike(summing) -> None:
    metric = ROAD(fractions=(0.1, 0.5, 0.9))
    found, again, other = (shown_by(metric, summing(), torch.zeros(1, 16, 16), seed) for seed in (0, 0, 1))
    removed = found != noise(1)[0]
    assert removed.sum(dim=(2, 3)).tolist() == [[26, 128, 230]] * 2
    assert not (removed[0, 1] & removed[1, 1]).any()  # the best half and the worst
    assert torch.equal(found, again)
    assert not torch.equal(found, other)


def test_the_noise_is_the_same_for_all_maps_and_shares(summing) -> None:
    noisy, clean = ROAD(noise=0.05), ROAD(noise=0)
    fields = []
    for seed in (1, 2):
        saliency = noise(1, seed=seed)[:, 0]
        with_noise, without = (shown_by(metric, summing(), saliency) for metric in (noisy, clean))
        fields += list((with_noise - without).flatten(0, 1))
    total = torch.stack(fields)
    (rng,) = rngs(1)
    field = 0.05 * torch.from_numpy(rng.standard_normal((16, 16), dtype=np.float32))
    touched = total.abs() > 1e-6
    assert touched.sum() > 5 * 256
    torch.testing.assert_close(total[touched], field.expand_as(total)[touched], atol=1e-6, rtol=0)


def test_the_truth_beats_a_random_map(summing) -> None:
    place = torch.zeros(16, 16)
    place[5:9, 5:9] = 1
    images = 0.3 * noise(8) + 0.6 * place
    probe = Probe(summing(place, scale=1.0, middle=8), images, [1] * 8)
    truth, random = (ROAD()(probe, maps, rngs(8))["road"] for maps in (place.expand(8, 16, 16), noise(8, seed=1)[:, 0]))
    assert all(a.value > b.value + 0.1 for a, b in zip(truth, random, strict=True))
    assert abs(np.mean([score.value for score in random])) < 0.05


def test_a_map_that_is_not_finite_is_undefined(summing) -> None:
    maps = noise(3, seed=1)[:, 0]
    maps[0, 2, 2], maps[1, 0, 0] = math.nan, -math.inf
    scores = ROAD()(Probe(summing(), noise(3), [1, 1, 1]), maps, rngs(3))
    for name in NAMES:
        assert [score.reason for score in scores[name]] == ["the map is not finite"] * 2 + [""]


def test_a_batch_gives_what_its_images_give_one_by_one(summing) -> None:
    classifier = summing(noise(1, seed=3)[0, 0], scale=0.3, middle=64)
    images, maps, targets = noise(3), noise(3, seed=1)[:, 0].round(decimals=1), [0, 1, 1]
    together = ROAD()(Probe(classifier, images, targets), maps, rngs(3))
    for i in range(3):
        alone = ROAD()(Probe(classifier, images[i : i + 1], targets[i : i + 1]), maps[i : i + 1], rngs(3)[i : i + 1])
        for name in NAMES:
            assert together[name][i].value == pytest.approx(alone[name][0].value, abs=1e-6)


def test_a_share_that_is_no_pixel_removes_none(summing) -> None:
    probe = Probe(summing(scale=0.5), noise(1, 2), [1])
    (score,) = ROAD(fractions=(0.1,))(probe, noise(1, 2, seed=1)[:, 0], rngs(1))["road_most"]
    assert score.value == pytest.approx(float(probe.probabilities[0, 1]))


def test_a_share_that_leaves_no_pixel_is_refused(summing) -> None:
    with pytest.raises(MedsaliencyError, match=r"road: expected fractions that leave a pixel .* got 0\.9 of 4 pixels"):
        ROAD()(Probe(summing(), noise(1, 2), [1]), noise(1, 2)[:, 0], rngs(1))


@pytest.mark.parametrize(
    "parameters",
    [
        {"fractions": (0.5, 0.2)},
        {"fractions": (0.0, 0.5)},
        {"fractions": (0.5, 1.0)},
        {"fractions": (0.5, 0.5)},
        {"fractions": ()},
        {"noise": -0.1},
        {"noise": math.nan},
    ],
)
def test_parameters_out_of_range_are_refused(parameters) -> None:
    with pytest.raises(MedsaliencyError, match="road: expected fractions ascending in"):
        ROAD(**parameters)


def test_parameters_from_a_file_compare_like_defaults() -> None:
    assert ROAD(fractions=list(ROAD().fractions)) == ROAD()


def test_maps_and_generators_that_do_not_fit_are_refused(summing) -> None:
    probe = Probe(summing(), noise(), [1, 1])
    with pytest.raises(MedsaliencyError, match=r"road: expected maps of shape \(2, 16, 16\)"):
        ROAD()(probe, noise(1)[:, 0], rngs(2))
    with pytest.raises(MedsaliencyError, match="one generator an image, 2, got 1"):
        ROAD()(probe, noise()[:, 0], rngs(1))


def test_voxels_are_the_weighted_mean_of_their_26_neighbors_by_all_equations() -> None:
    rng = np.random.default_rng(0)
    volume = rng.random((1, 4, 5, 6)).astype(np.float32)
    removed = rng.random((4, 5, 6)) < 0.6
    removed[0, 0, 0] = True
    where = [tuple(place) for place in np.argwhere(removed)]
    left, right = np.zeros((len(where), len(where))), np.zeros(len(where))
    steps = [step for step in np.ndindex(3, 3, 3) if step != (1, 1, 1)]
    for row, place in enumerate(where):
        for step in steps:
            near = tuple(int(p) + s - 1 for p, s in zip(place, step, strict=True))
            if not all(0 <= n < length for n, length in zip(near, removed.shape, strict=True)):
                continue
            weight = {1: 4, 2: 2, 3: 1}[sum(s != 1 for s in step)] / 56  # a face, an edge, a corner
            left[row, row] += weight
            if removed[near]:
                left[row, where.index(near)] -= weight
            else:
                right[row] += weight * volume[(0, *near)]
    found = fill(volume, removed)
    assert np.array_equal(found[0][~removed], volume[0][~removed])
    np.testing.assert_allclose(found[0][removed], np.linalg.solve(left, right), atol=1e-5)


def test_inside_a_volume_what_is_linear_stays_linear() -> None:
    d, h, w = np.mgrid[:7, :9, :8] / 20
    volume = (d - 2 * h + w)[None]
    removed = np.zeros((7, 9, 8), dtype=bool)
    removed[1:-1, 1:-1, 1:-1] = True
    np.testing.assert_allclose(fill(volume, removed), volume, atol=1e-5)


def test_one_slice_has_the_neighbors_of_an_image() -> None:
    assert (grid_laplacian(1, 5, 6) != grid_laplacian(5, 6)).nnz == 0
