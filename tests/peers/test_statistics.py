"""Tests, corrections and effect sizes against SciPy, statsmodels, scikit-posthocs and pingouin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
import scikit_posthocs
from scipy import stats
from statsmodels.stats.multitest import multipletests

from medsaliency.statistics.friedman import critical_difference, friedman, friedman_test, holm, mean_ranks
from medsaliency.statistics.pairwise import pairwise
from medsaliency.statistics.step_down import Exchangeable, step_down
from medsaliency.types import Measure

MEASURES = {"m": Measure("m", True, (0, 1), "")}
METHODS = list("abcde")


def study(tied: bool, patients: int = 24) -> pd.DataFrame:
    """One image a patient, five methods, the later the better; ``tied`` scores have few values."""
    rng = np.random.default_rng(tied)
    values = rng.normal(size=(patients, 1)) + rng.normal(size=(patients, 5)) + 0.35 * np.arange(5)
    if tied:
        values = np.round(values)
    rows = [
        (f"s{i:02d}", f"p{i:02d}", name, "m", values[i, k]) for i in range(patients) for k, name in enumerate(METHODS)
    ]
    return pd.DataFrame(rows, columns=["sample", "patient", "method", "metric", "value"])


@pytest.fixture(scope="module", params=[False, True], ids=["continuous", "tied"])
def scores(request: pytest.FixtureRequest) -> pd.DataFrame:
    return study(request.param)


def wide(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.pivot(index="patient", columns="method", values="value")


def test_friedman(scores: pd.DataFrame) -> None:
    (row,) = friedman(scores, MEASURES)[0].to_dict("records")
    expected = pingouin.friedman(scores, dv="value", within="method", subject="patient").iloc[0]
    assert row["kendall_w"] == pytest.approx(expected["W"])
    assert row["statistic"] == pytest.approx(expected["Q"])
    assert row["p"] == pytest.approx(stats.friedmanchisquare(*wide(scores).to_numpy().T).pvalue)


def test_critical_difference_decides_as_nemenyis_test(scores: pd.DataFrame) -> None:
    table = wide(scores)
    ranks = mean_ranks(table.to_numpy(), True)
    expected = scikit_posthocs.posthoc_nemenyi_friedman(table).to_numpy()
    for alpha in (0.2, 0.05, 0.01):
        apart = np.abs(ranks[:, None] - ranks) >= critical_difference(5, len(table), alpha)
        off = ~np.eye(5, dtype=bool)
        np.testing.assert_array_equal(apart[off], (expected <= alpha)[off])


def test_pairs_and_holm() -> None:
    scores = study(tied=False)
    found = pairwise(scores, MEASURES, seed=0, draws=100, families=1)
    expected = scikit_posthocs.posthoc_wilcoxon(scores, val_col="value", group_col="method", p_adjust="holm")
    gate = friedman_test(wide(scores).to_numpy()).p
    for row in found.itertuples():
        assert row.p_corrected == pytest.approx(max(gate, expected.loc[row.method, row.other]))


def test_effect_sizes(scores: pd.DataFrame) -> None:
    table = wide(scores)
    for row in pairwise(scores, MEASURES, seed=0, draws=100).itertuples():
        first, second = table[row.method], table[row.other]
        expected = pingouin.wilcoxon(first, second).iloc[0]
        assert row.rank_biserial == pytest.approx(expected["RBC"])
        # The common language effect size is the probability of which Cliff's delta is the difference to its contrary.
        assert row.cliffs_delta == pytest.approx(2 * pingouin.compute_effsize(first, second, eftype="CLES") - 1)
        assert row.cliffs_delta == pytest.approx(2 * expected["CLES"] - 1)


def test_ties_are_exact_where_scipy_permutes() -> None:
    scores = study(tied=True)
    table = wide(scores)
    for row in pairwise(scores, MEASURES, seed=0, draws=100).itertuples():
        how = stats.PermutationMethod(n_resamples=1999, rng=np.random.default_rng(0))
        expected = stats.wilcoxon(table[row.method], table[row.other], method=how).pvalue
        assert row.p == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("seed", range(5))
def test_holm(seed: int) -> None:
    p = np.random.default_rng(seed).random(30) ** 4
    p[3] = p[4]
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_smallest_p_of_tests_that_have_nothing_in_common_is_holm_sidak() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(20, 8)) + np.linspace(0, 0.8, 8)
    blocks = [Exchangeable.sign_flips(column[:, None]) for column in differences.T]
    found = step_down(blocks, rng, permutations=40000, alpha=0.05)
    np.testing.assert_allclose(found.p_corrected, multipletests(found.p, method="holm-sidak")[1], atol=0.01)
    # A corrected p that is rare is known as exactly as the permutations count it.
    rare = found.p_corrected < 0.1
    assert rare.any()
    np.testing.assert_allclose(found.p_corrected[rare], multipletests(found.p, method="holm-sidak")[1][rare], rtol=0.1)
