import itertools
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from medsaliency.statistics import choices as choices_module
from medsaliency.statistics import step_down as module
from medsaliency.statistics.step_down import Exchangeable, needed, step_down


def statistic(differences: np.ndarray) -> float:
    known = differences[np.isfinite(differences)]
    return float(known.sum() / np.sqrt((known**2).sum())) if known.any() else 0.0


def two_sided(statistics: np.ndarray, symmetric: bool) -> np.ndarray:
    """p-values of all permutations (N, T), by comparing each with each."""
    above = (statistics[None] >= statistics[:, None] - 1e-9).mean(axis=1)
    below = (statistics[None] <= statistics[:, None] + 1e-9).mean(axis=1)
    if symmetric:
        return np.asarray((np.abs(statistics)[None] >= np.abs(statistics)[:, None] - 1e-9).mean(axis=1))
    return np.asarray(np.minimum(2 * np.minimum(above, below), 1))


def stepped(p: np.ndarray) -> np.ndarray:
    """Westfall and Young's corrected p-values from those of all permutations (N, T), the observed first."""
    order = sorted(range(p.shape[1]), key=lambda j: p[0, j])
    corrected, worst = np.empty(p.shape[1]), 0.0
    for place, j in enumerate(order):
        smallest = p[:, order[place:]].min(axis=1)
        worst = max(worst, float(np.mean(smallest <= p[0, j] + 1e-12)))
        corrected[j] = worst
    return corrected


def run(values: Exchangeable, permutations: int, alpha: float = 0.05) -> module.Corrected:
    return step_down([values], np.random.default_rng(0), permutations=permutations, alpha=alpha)


def all_statistics(block: Exchangeable) -> np.ndarray:
    return block.statistics([block.all_choices()], range(block.values.shape[2])).T


def traced(work: Callable[[], object]) -> int:
    """Bytes held at the peak of some work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_all_signs_of_few_patients_are_counted() -> None:
    differences = np.random.default_rng(0).normal(0.7, 1, (7, 4))
    differences[2, 1] = np.nan  # a patient whom this metric lacks
    differences[:, 3] = 0
    signs = sorted(itertools.product((1, -1), repeat=7), key=lambda row: row != (1,) * 7)
    permuted = np.array([[statistic(np.array(sign) * column) for column in differences.T] for sign in signs])
    p = two_sided(permuted, symmetric=True)
    found = run(Exchangeable.sign_flips(differences), 200)
    np.testing.assert_allclose(found.p, p[0])
    np.testing.assert_allclose(found.p_corrected, stepped(p))
    assert (found.p[3], found.p_corrected[3]) == (1, 1)


def test_it_is_the_permutation_test_of_scipy() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 8)) + np.array([[1.0], [0.0]])
    found = run(Exchangeable.sign_flips((first - second)[:, None]), 256)

    def mean(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(x - y, axis=axis)

    expected = stats.permutation_test((first, second), mean, permutation_type="samples", vectorized=True)
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.p_corrected[0] == found.p[0]


@pytest.mark.parametrize(("patients", "places"), [(9, 2), (1, 2), (4, 3), (6, 4), (2, 20), (1, 300)])
def test_every_choice_is_made_once_and_drawn_ones_are_as_likely(patients: int, places: int) -> None:
    values = np.random.default_rng(patients).normal(0.5, 1, (patients, places, 1))
    values[0, 0] = 3
    block = Exchangeable(values)
    made = all_statistics(block)[:, 0]
    rows = itertools.product(range(places), repeat=patients)
    by_hand = np.array([statistic(values[range(patients), row, 0]) for row in rows])
    np.testing.assert_allclose(np.sort(made), np.sort(by_hand), atol=1e-12)
    assert made[0] == pytest.approx(statistic(values[:, 0, 0]))
    drawn = block.statistics(block.drawn_choices(np.random.default_rng(0), 5000), [0])[0]
    assert drawn[0] == made[0]
    levels, counts = np.unique(np.round(by_hand, 9), return_counts=True)
    below = np.searchsorted(np.sort(drawn[1:]), levels + 1e-6) / 5000
    assert np.abs(below - np.cumsum(counts) / len(by_hand)).max() < 1.95 / np.sqrt(5000), "Kolmogorov, level 0.001"


def test_choices_of_several_values_are_stepped_down_as_by_hand() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(5, 3, 4))
    values[:, 0] += [1.0, 2.0, 0.0, -2.0]
    values -= values.mean(axis=1, keepdims=True)
    values[1, :, 1] = np.nan
    values[:, :, 3] = np.round(values[:, :, 3])
    block = Exchangeable(values)
    p = two_sided(all_statistics(block), symmetric=False)
    found = run(block, 3**5)
    np.testing.assert_allclose(found.p, p[0])
    np.testing.assert_allclose(found.p_corrected, stepped(p))


def test_drawn_permutations_come_near_all() -> None:
    differences = np.random.default_rng(2).normal(0.4, 1, (12, 5))
    values = np.random.default_rng(3).normal(size=(6, 4, 3)) + 1.5 * np.eye(4)[0][:, None]
    for block, count in ((Exchangeable.sign_flips(differences), 2**12), (Exchangeable(values), 4**6)):
        exact, drawn = run(block, count), run(block, count - 1)
        np.testing.assert_allclose(drawn.p, exact.p, atol=0.03)
        np.testing.assert_allclose(drawn.p_corrected, exact.p_corrected, atol=0.03)
        assert drawn.critical == pytest.approx(exact.critical, abs=0.005)


def test_no_drawn_p_value_is_zero() -> None:
    found = run(Exchangeable.sign_flips(np.full((30, 1), 1.0)), 99)
    assert found.p[0] == found.p_corrected[0] == 1 / 100


def test_metrics_that_say_the_same_cost_nothing() -> None:
    one = np.random.default_rng(4).normal(0.8, 1, (12, 1))
    alone = run(Exchangeable.sign_flips(one), 4096)
    many = run(Exchangeable.sign_flips(np.repeat(one, 50, 1)), 4096)
    np.testing.assert_allclose(many.p_corrected, alone.p[0])


def test_tests_of_too_few_patients_cost_the_others_nothing() -> None:
    rng = np.random.default_rng(5)
    differences = rng.normal(0.9, 1, (12, 4))
    few = np.full((12, 30), np.nan)
    few[:3] = rng.normal(size=(3, 30))  # p is at least 1 / 4
    alone = run(Exchangeable.sign_flips(differences), 4096)
    among = run(Exchangeable.sign_flips(np.hstack([differences, few])), 4096)
    small = alone.p_corrected < 0.25
    assert small.any()
    np.testing.assert_allclose(among.p_corrected[:4][small], alone.p_corrected[small])


def test_consistent_differences_of_few_patients_are_shown_among_those_of_many() -> None:
    # Sixteen patients, all in favor, of very different sizes: p = 2^-15, and the statistic is no larger than that of
    # sixty patients of whom a third are against.
    differences = np.full((60, 41), np.nan)
    differences[:, :40] = np.random.default_rng(6).normal(size=(60, 40))
    differences[:16, 40] = np.linspace(0.1, 1, 16) ** 2
    found = run(Exchangeable.sign_flips(differences), 20000)
    assert found.p[40] < 3e-4
    assert found.p_corrected[40] < 0.01
    flips = np.random.default_rng(0).choice([-1, 1], size=(2000, 60)) @ differences[:, :40]
    largest = np.abs(flips / np.sqrt((differences[:, :40] ** 2).sum(axis=0))).max(axis=1)
    own = statistic(differences[:, 40])
    assert np.mean(largest >= own) > 0.05, "the largest statistic would not have shown it"


def test_a_method_far_from_all_draws_is_not_taken_for_the_mirror_of_its_draws() -> None:
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.uniform(0.3, 0.6, (16, 1)), rng.normal(0.01, 0.002, (16, 5))], axis=1)
    away = (values - values.mean(axis=1, keepdims=True)) * 6 / 5
    assert run(Exchangeable(away[:, :, None]), 9999).p[0] <= 2 / 10000
    # By size alone, the share of choices without the method is nearly all that p can be below.
    block = Exchangeable(away[:, :, None])
    sizes = np.abs(block.statistics(block.drawn_choices(rng, 9999), [0])[0])
    assert (sizes >= sizes[0]).mean() > 0.01


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_p_is_critical_where_the_first_step_would_show_it(alpha: float) -> None:
    rng = np.random.default_rng(8)
    for block in (Exchangeable.sign_flips(rng.normal(size=(8, 3))), Exchangeable(rng.normal(size=(5, 3, 3)))):
        p = two_sided(all_statistics(block), block.symmetric)
        smallest = p.min(axis=1)
        found = run(block, len(p), alpha)
        assert np.mean(smallest <= found.critical + 1e-12) <= alpha
        assert np.mean(smallest <= found.critical + 1 / len(p) + 1e-12) > alpha


@pytest.mark.parametrize("permutations", [1024, 999])
def test_the_smallest_p_is_shown_where_it_is_at_most_critical(permutations: int) -> None:
    for shift in (0.0, 0.6, 0.9, 1.5):
        block = Exchangeable.sign_flips(np.random.default_rng(5).normal(shift, 1, (10, 8)))
        found = run(block, permutations)
        assert (found.p.min() <= found.critical) == (found.p_corrected.min() <= 0.05)


def test_too_few_patients_reach_no_level() -> None:
    found = run(Exchangeable.sign_flips(np.ones((4, 2))), 100)
    assert found.critical == 0
    np.testing.assert_allclose(found.p, 2 / 16)


def test_as_many_permutations_as_so_many_tests_need() -> None:
    rng = np.random.default_rng(9)
    blocks = [Exchangeable.sign_flips(np.eye(30)[:, [i]] + 1) for i in range(20)]
    assert needed(blocks, 0.05) == 400
    assert needed([*blocks, Exchangeable(rng.normal(size=(5, 3, 7)))], 0.05) == 1080
    # Twenty unrelated tests of thirty equal signs: with the 99 permutations asked for, 20 of 100 would be the least.
    found = step_down(blocks, rng, permutations=99, alpha=0.05)
    assert (found.p == 1 / 401).all()
    assert (found.p_corrected <= 0.05).all()


def test_unlike_methods_must_not_share_their_choices() -> None:
    # Ten unrelated methods and twenty draws, nothing differs. SE 1.8 % of the share of studies with a false statement.
    def false(together: bool) -> float:
        found = []
        for seed in range(150):
            rng = np.random.default_rng(seed)
            values = np.concatenate([rng.normal(size=(15, 1, 10)), np.repeat(rng.normal(size=(15, 20, 1)), 10, 2)], 1)
            away = values - values.mean(axis=1, keepdims=True)
            parts = [away] if together else np.split(away, 10, axis=2)
            corrected = step_down([Exchangeable(part) for part in parts], rng, permutations=499, alpha=0.05)
            found.append((corrected.p_corrected <= 0.05).any())
        return float(np.mean(found))

    assert false(together=False) <= 0.05 + 3 * 0.0178
    assert false(together=True) > 0.12


def test_choices_in_parts_give_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    signs = Exchangeable.sign_flips(rng.normal(0.2, 1, (53, 7)))
    blocks = [signs, *(Exchangeable(rng.normal(size=(29, choices, 3))) for choices in (6, 20, 300))]

    def found() -> module.Corrected:
        return step_down(blocks, np.random.default_rng(1), permutations=700, alpha=0.05)

    whole = found()
    for rows, statistics in ((1, 1), (5000, 2000), (1, 2**21)):
        monkeypatch.setattr(choices_module, "AT_ONCE", rows)
        monkeypatch.setattr(module, "AT_ONCE", statistics)
        parts = found()
        np.testing.assert_array_equal(parts.p, whole.p)
        np.testing.assert_array_equal(parts.p_corrected, whole.p_corrected)
        assert parts.critical == whole.critical


def test_memory_does_not_grow_with_the_patients() -> None:
    def peak(patients: int) -> int:
        blocks = [Exchangeable(np.random.default_rng(0).normal(size=(patients, 20, 1))) for _ in range(2)]
        return traced(lambda: step_down(blocks, np.random.default_rng(1), permutations=20_000, alpha=0.05))

    peak(10)  # what is made once
    # All choices at once would take 20 kB a patient and block.
    assert peak(4000) < peak(1000) + 2**24
