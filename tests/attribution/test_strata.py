from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from medsaliency.attribution.strata import allocate, path_mean
from medsaliency.model.probe import Probe


def noisy_at_the_end(copies: Tensor, own: list[int], places: Tensor) -> Tensor:
    """The copy in the last tenth of the path, the position before it: noise has a part in the last tenth alone."""
    position = places[:, 1, None, None, None].to(copies)
    return torch.where(position > 0.9, copies, position.expand_as(copies))


def random_means(rate, probe, samples, count, **options) -> Tensor:
    return torch.stack(
        [path_mean(probe, [np.random.default_rng((k, 7))], samples, 0.5, rate, **options) for k in range(count)]
    )


@pytest.mark.parametrize(
    ("spreads", "held", "units", "expected"),
    [
        ([1, 1, 2], 1, 5, [2, 2, 4]),  # in proportion
        ([0, 0, 3], 2, 6, [2, 2, 8]),  # what is held is the least
        ([0, 0, 0], 1, 4, [3, 2, 2]),  # even, the rest to the first
        ([5, 5], 1, 1, [2, 1]),  # the first of equals
        ([1, 3], 4, 4, [4, 8]),  # more is held than the share: the rest makes up for it
        ([np.nan, 1], 1, 2, [2, 2]),
    ],
)
def test_allocation_by_hand(spreads, held, units, expected) -> None:
    assert allocate(np.array(spreads, float), held, units).tolist() == expected


def test_no_other_allocation_has_less_variance() -> None:
    spreads = np.array([1.0, 2.5, 4.0])
    every = [(a, b, 12 - a - b) for a in range(1, 11) for b in range(1, 12 - a)]
    best = min(every, key=lambda counts: float((spreads**2 / counts).sum()))
    assert tuple(allocate(spreads, 1, 9)) == best


def test_samples_go_where_the_noise_is(linear, linear_images, generators) -> None:
    places = []

    def rate(copies, own, at):
        places.append(at)
        return noisy_at_the_end(copies, own, at)

    path_mean(Probe(linear, linear_images[:1], [0]), generators(1), 100, 0.5, rate)
    start, point, end = torch.cat(places).T
    assert len(point) == 100
    assert bool(((start <= point) & (point <= end)).all())
    counts = torch.bincount((10 * point).long(), minlength=10).tolist()
    assert min(counts[:9]) >= 2
    assert counts[9] > 60


@pytest.mark.parametrize("samples", [1, 7, 15])
def test_few_samples_are_spread_evenly(samples, linear, linear_images, generators) -> None:
    places = []

    def rate(copies, own, at):
        places.append(at)
        return copies

    path_mean(Probe(linear, linear_images[:1], [0]), generators(1), samples, 0.5, rate)
    torch.testing.assert_close(torch.cat(places)[:, 0] * samples, torch.arange(samples, dtype=torch.float64))


@pytest.mark.parametrize("antithetic", [True, False])
def test_variance_is_far_below_that_of_an_even_spread(antithetic, linear, linear_images, monkeypatch) -> None:
    probe = Probe(linear, linear_images[:1], [0])

    def rate(copies, own, places):
        # Neither odd nor even in the noise: pairs of opposite sign do not make it vanish, and differ.
        position = places[:, 1, None, None, None].to(copies)
        noise = copies - probe.images
        return torch.where(position > 0.9, noise + noise.square(), 0.0)

    found = random_means(rate, probe, 100, 60, antithetic=antithetic).var(dim=0).mean()
    monkeypatch.setattr(
        "medsaliency.attribution.strata.allocate", lambda s, held, units: np.full(10, held + units // 10)
    )
    even = random_means(rate, probe, 100, 60, antithetic=antithetic).var(dim=0).mean()
    assert found < even / 4


@pytest.mark.parametrize("samples", [7, 24, 101])
@pytest.mark.parametrize("antithetic", [True, False])
def test_the_mean_over_generators_is_the_expectation(samples, antithetic, linear, linear_images) -> None:
    """Where the rate is symmetric about its mean, a pilot that counts in the mean leaves no bias."""
    probe = Probe(linear, linear_images[:1], [0])

    def rate(copies, own, places):
        position = places[:, 1, None, None, None].to(copies)
        return position.square() + (1 + 3 * (position > 0.5)) * (copies - probe.images)

    means = random_means(rate, probe, samples, 400, antithetic=antithetic)[:, 0].flatten(1).double().mean(dim=1)
    assert abs(float(means.mean()) - 1 / 3) < 3.5 * float(means.std()) / 20


@pytest.mark.parametrize("samples", [24, 101])
def test_skew_leaves_a_bias_far_below_the_spread_of_a_map(samples, linear, linear_images) -> None:
    """Squared noise: of two samples, the larger mean comes with the larger difference, and so counts for less."""
    probe = Probe(linear, linear_images[:1], [0])
    spread = 0.5 * float(linear_images[0].max() - linear_images[0].min())

    def rate(copies, own, places):
        position = places[:, 1, None, None, None].to(copies)
        return position.square() * (1 + (copies - probe.images).square())

    means = random_means(rate, probe, samples, 400)[:, 0].double()
    bias = means.mean() - (1 + spread**2) / 3
    assert abs(float(bias)) < 0.006 * float(means.mean())
    assert abs(float(bias)) < 0.1 * float(means.std(dim=0).mean())


def test_chunks_change_nothing(linear, linear_images, generators) -> None:
    expected = path_mean(Probe(linear, linear_images, [0, 1, 2]), generators(3), 51, 0.5, noisy_at_the_end)
    for size in (1, 7):
        linear.batch_size = size
        found = path_mean(Probe(linear, linear_images, [0, 1, 2]), generators(3), 51, 0.5, noisy_at_the_end)
        torch.testing.assert_close(found, expected)


def test_an_image_does_not_depend_on_the_others(linear, linear_images, generators) -> None:
    probe = Probe(linear, linear_images, [0, 1, 2])
    together = path_mean(probe, generators(3), 51, 0.5, noisy_at_the_end)
    alone = path_mean(Probe(linear, linear_images[2:], [2]), [generators(3)[2]], 51, 0.5, noisy_at_the_end)
    torch.testing.assert_close(together[2:], alone)
    other = path_mean(probe, [generators(4)[3], *generators(3)[1:]], 51, 0.5, noisy_at_the_end)
    torch.testing.assert_close(other[1:], together[1:])
    assert not torch.allclose(other[0], together[0])
