import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medsaliency.statistics.bootstrap import (
    acceleration,
    bca_interval,
    bca_limits,
    intraclass_correlation,
    leave_one_out,
    mean_interval,
    mean_limits,
    patient_weights,
    widened_quantile,
)

UNEQUAL = np.repeat(np.arange(12), [1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 9, 15])


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_images_of_a_patient_are_drawn_together_and_patients_keep_their_number(patients: list[int]) -> None:
    weights = patient_weights(patients, rng(), 20)
    if len(set(patients)) == 1:
        assert np.isnan(weights).all()
        return
    _, first, owner = np.unique(np.array(patients, dtype=str), return_index=True, return_inverse=True)
    assert weights.shape == (20, len(patients))
    np.testing.assert_array_equal(weights, weights[:, first][:, owner])
    np.testing.assert_array_equal(weights[:, first].sum(axis=1), len(first))


def test_a_constant_has_an_interval_of_no_width() -> None:
    for value in (0.25, 0.1, 1 / 3, -1e-9):  # most have no exact sum
        found = mean_interval([value] * 7, list("aabbccc"), rng())
        assert (found.value, found.low, found.high) == (value, value, value)


def test_undefined_values_are_left_out_and_nothing_defined_is_undefined() -> None:
    found = mean_interval([1.0, float("nan"), 3.0], list("abc"), rng())
    assert found.value == 2.0
    assert 1.0 <= found.low <= found.high <= 3.0
    empty = mean_interval([float("nan")] * 2, list("ab"), rng())
    assert np.isnan([empty.value, empty.low, empty.high]).all()


def test_one_patient_shows_no_spread_and_gives_no_interval() -> None:
    found = mean_interval([0.2, 0.4, 0.6], list("aaa"), rng())
    assert found.value == pytest.approx(0.4)
    assert np.isnan([found.low, found.high]).all()


def test_dependent_images_widen_the_interval() -> None:
    values = np.repeat(np.linspace(0, 1, 10), 10)
    alone = mean_interval(values, [str(i) for i in range(100)], rng())
    patients = mean_interval(values, [str(i // 10) for i in range(100)], rng())
    assert patients.high - patients.low > 2 * (alone.high - alone.low)


def test_one_image_a_patient_gives_the_normal_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = mean_interval(values, [str(i) for i in range(400)], rng(), draws=5000)
    half = stats.t(399).ppf(0.975) * values.std(ddof=1) / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.015)
    assert found.high == pytest.approx(values.mean() + half, abs=0.015)


def test_values_and_patients_must_match() -> None:
    with pytest.raises(ValueError, match="one patient a value"):
        mean_interval([1.0, 2.0], ["a"], rng())


def skewed(patients: np.ndarray, seed: int = 0) -> np.ndarray:
    draws = np.random.default_rng(seed)
    return draws.gamma(1, size=patients.max() + 1)[patients] + 0.3 * draws.gamma(1, size=len(patients))


@pytest.mark.parametrize("statistic", [np.mean, np.std], ids=["mean", "standard deviation"])
def test_with_the_normal_quantile_it_is_the_bca_of_scipy(statistic) -> None:
    values = np.random.default_rng(1).gamma(0.7, size=25)
    for level in (0.8, 0.95):
        expected = stats.bootstrap(
            (values,), statistic, confidence_level=level, n_resamples=999, method="BCa", rng=np.random.default_rng(2)
        )
        rows = leave_one_out(np.arange(25)).astype(bool)
        found = bca_interval(
            float(statistic(values)),
            expected.bootstrap_distribution,
            [statistic(values[row]) for row in rows],
            level,
            quantile=float(stats.norm.ppf((1 + level) / 2)),
        )
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), rel=1e-12)


def plain_loop(values: np.ndarray, patients: np.ndarray, draws: int, quantile: float) -> tuple[float, float]:
    """The BCa interval of a mean over patients, as a textbook tells it."""
    random = np.random.default_rng(11)
    images = [values[patients == name] for name in np.unique(patients)]
    drawn = []
    for _ in range(draws):
        chosen = random.integers(len(images), size=len(images))
        drawn.append(np.concatenate([images[i] for i in chosen]).mean())
    bias = stats.norm.ppf(np.mean(np.array(drawn) < values.mean()))
    left = np.array([np.concatenate(images[:i] + images[i + 1 :]).mean() for i in range(len(images))])
    skew = ((left.mean() - left) ** 3).sum() / (6 * ((left.mean() - left) ** 2).sum() ** 1.5)
    ends = [bias + (bias + z) / (1 - skew * (bias + z)) for z in (-quantile, quantile)]
    return tuple(np.quantile(drawn, stats.norm.cdf(ends)))


def test_a_loop_over_draws_of_whole_patients_gives_the_same_interval() -> None:
    patients = np.repeat(UNEQUAL, 2)
    values = skewed(patients)
    quantile = float(widened_quantile(patients, 0.9, correlation=intraclass_correlation(values, patients)))
    low, high = plain_loop(values, patients, 8000, quantile)
    found = mean_interval(values, patients, rng(), draws=8000, level=0.9)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert high - found.value > 1.2 * (found.value - low)  # longer on the side of the skew


def test_acceleration_of_a_mean_in_closed_form() -> None:
    values = np.random.default_rng(4).gamma(1, size=20)
    away = values - values.mean()
    expected = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    weights = leave_one_out(np.arange(20))
    assert acceleration(weights @ values / 19) == pytest.approx(expected)
    # Unequal patients: the influence of a ratio of sums, to first order in 1 / patients.
    patients = np.repeat(np.arange(400), np.random.default_rng(5).integers(1, 5, 400))
    values = skewed(patients)
    sums = np.bincount(patients, values) - np.bincount(patients) * values.mean()
    expected = (sums**3).sum() / (6 * (sums**2).sum() ** 1.5)
    weights = leave_one_out(patients)
    assert acceleration(weights @ values / weights.sum(axis=1)) == pytest.approx(expected, rel=0.02)
    assert acceleration(np.ones((5, 3))).tolist() == [0.0] * 3


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30).filter(lambda patients: len(set(patients)) > 1))
def test_each_patient_is_left_out_once(patients: list[int]) -> None:
    owner = np.array(patients)
    weights = leave_one_out(owner)
    for row, name in zip(weights, np.unique(owner), strict=True):
        np.testing.assert_array_equal(row, owner != name)


@given(st.integers(2, 40), st.integers(1, 5), st.floats(0, 1), st.floats(0.5, 0.99))
def test_patients_of_one_size_have_the_quantile_of_hesterberg(n: int, images: int, rho: float, level: float) -> None:
    found = widened_quantile(np.repeat(np.arange(n), images), level, correlation=rho)
    assert found == pytest.approx(np.sqrt(n / (n - 1)) * stats.t(n - 1).ppf((1 + level) / 2))


@pytest.mark.parametrize("strata", [None, np.repeat([0, 1], [17, 35])], ids=["", "in strata"])
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_quantile_makes_up_for_bias_and_spread_of_the_variance(rho: float, strata: np.ndarray | None) -> None:
    sizes = np.bincount(UNEQUAL)
    variance = sizes * (1 + rho * (sizes - 1))
    sums = np.random.default_rng(6).normal(size=(200_000, len(sizes))) * np.sqrt(variance)
    residuals = sums - sizes * sums.sum(axis=1, keepdims=True) / sizes.sum()
    for members in [slice(None)] if strata is None else [slice(0, 8), slice(8, 12)]:
        residuals[:, members] -= residuals[:, members].mean(axis=1, keepdims=True)
    estimated = (residuals**2).sum(axis=1)
    freedom = 2 * estimated.mean() ** 2 / estimated.var()
    expected = stats.t(freedom).ppf(0.975) * np.sqrt(variance.sum() / estimated.mean())
    found = widened_quantile(UNEQUAL, 0.95, correlation=rho, strata=strata)
    assert found == pytest.approx(expected, rel=0.01)
    assert widened_quantile(UNEQUAL, 0.95, correlation=[rho, 0.3], strata=strata)[0] == pytest.approx(found)


@pytest.mark.parametrize("stratum", [np.zeros(12), np.arange(12) % 3, np.arange(12) // 5])
def test_the_quantile_needs_no_matrix_of_patients(stratum: np.ndarray) -> None:
    """The form of the docstring written out as matrices, for three correlations at once."""
    rho = np.array([0.0, 0.4, 0.9])
    sizes = np.bincount(UNEQUAL).astype(float)
    same = stratum[:, None] == stratum
    center = np.eye(12) - same / same.sum(axis=1, keepdims=True)
    residual = center @ (np.eye(12) - np.outer(sizes, np.ones(12)) / sizes.sum())
    expected = []
    for part in rho:
        variance = np.diag(sizes + part * sizes * (sizes - 1))
        product = residual.T @ residual @ variance
        freedom = np.trace(product) ** 2 / np.trace(product @ product)
        expected.append(stats.t(freedom).ppf(0.975) * np.sqrt(variance.sum() / np.trace(product)))
    found = widened_quantile(UNEQUAL, 0.95, correlation=rho, strata=stratum[UNEQUAL])
    assert found == pytest.approx(np.array(expected))


@pytest.mark.parametrize("strata", [None, np.repeat([0, 1, 2], [20, 70, 11])])
def test_groups_of_patients_are_left_out_once_and_hold_equally_many(strata: np.ndarray | None) -> None:
    weights = leave_one_out(np.arange(101), strata, groups=10, rng=rng())
    assert weights.shape == (10, 101)
    np.testing.assert_array_equal((weights == 0).sum(axis=0), 1)
    assert sorted((weights == 0).sum(axis=1)) == [10] * 9 + [11]
    for name in () if strata is None else range(3):
        inside = weights[:, strata == name]
        np.testing.assert_allclose(inside.sum(axis=1), inside.shape[1])
        assert np.ptp((inside == 0).sum(axis=1)) <= 1
    np.testing.assert_array_equal(
        leave_one_out(np.arange(101), strata, groups=101), leave_one_out(np.arange(101), strata)
    )
    with pytest.raises(ValueError, match="generator"):
        leave_one_out(np.arange(101), strata, groups=10)


def test_groups_leave_the_acceleration_what_it_was() -> None:
    values = np.random.default_rng(0).gamma(1, size=1200)
    single = acceleration(leave_one_out(np.arange(1200)) @ values / 1199)
    draws, generator = [], rng()
    for _ in range(40):
        weights = leave_one_out(np.arange(1200), groups=300, rng=generator)
        draws.append(acceleration(weights @ values / weights.sum(axis=1)))
    assert np.std(draws) == pytest.approx(np.sqrt(6) / (6 * 300), rel=0.5), "as the docstring says"
    assert np.mean(draws) == pytest.approx(single, abs=4 * np.std(draws) / np.sqrt(40))


def test_likeness_within_patients_from_the_f_statistic() -> None:
    values = skewed(UNEQUAL) + np.random.default_rng(14).normal(size=52)
    sizes = np.bincount(UNEQUAL)
    f = stats.f_oneway(*(values[name == UNEQUAL] for name in range(12))).statistic
    typical = (52 - (sizes**2).sum() / 52) / 11
    expected = (f - 1) / (f + typical - 1)
    assert 0.1 < expected < 0.9
    columns = np.stack([values, 5 - 2 * values, UNEQUAL], axis=1)
    np.testing.assert_allclose(intraclass_correlation(columns, UNEQUAL), [expected, expected, 1])
    assert intraclass_correlation(np.ones(52), UNEQUAL) == 0
    assert intraclass_correlation(values, np.arange(52)) == 0
    assert intraclass_correlation(values, np.zeros(52)) == 0


CLASSES = {"a": "x", "b": "x", "c": "x", "d": "y", "e": "y", "f": "xy", "g": "xy", "h": "z"}
IMAGES = [(patient, label) for patient, labels in CLASSES.items() for label in labels]


def test_strata_keep_their_number_of_patients_and_a_lonely_one_joins_the_largest() -> None:
    patients, labels = zip(*IMAGES, strict=True)
    strata = [("a", "b", "c", "h"), ("d", "e"), ("f", "g")]
    first = {patient: patients.index(patient) for patient in CLASSES}
    drawn = patient_weights(patients, rng(), 300, labels)
    left = leave_one_out(patients, labels)
    for weights in (drawn, left):
        for members in strata:
            total = weights[:, [first[name] for name in members]].sum(axis=1)
            np.testing.assert_allclose(total, len(members))
    assert drawn[:, first["h"]].max() > 1
    np.testing.assert_allclose(left[0, [first[name] for name in "abch"]], [0, 4 / 3, 4 / 3, 4 / 3])
    # Two that are alone are drawn together.
    together = patient_weights(list("aabcd"), rng(), 300, list("xyxzz"))
    np.testing.assert_array_equal(together[:, 0] + together[:, 2], 2)
    assert set(together[:, 0]) == {0.0, 1.0, 2.0}
    assert np.isfinite(widened_quantile(patients, 0.95, strata=labels))


def test_strata_take_the_difference_between_classes_out() -> None:
    label = np.arange(40) % 2
    values = label + 0.1 * np.random.default_rng(7).normal(size=40)
    free, within = (mean_interval(values, np.arange(40), rng(), draws=5000, strata=s) for s in (None, label))
    assert within.high - within.low < 0.4 * (free.high - free.low)
    pooled = np.sqrt((values[::2].var(ddof=1) + values[1::2].var(ddof=1)) / 2)
    half = stats.t(38).ppf(0.975) * pooled / np.sqrt(40)
    assert [within.low, within.high] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.15 * half)


def test_the_order_of_images_does_not_matter_and_columns_are_as_if_alone() -> None:
    values = np.stack([skewed(UNEQUAL), skewed(UNEQUAL, 1) > 1, np.ones(52)], axis=1)
    together = np.stack(mean_limits(values, UNEQUAL, rng()))
    order = np.random.default_rng(8).permutation(52)
    np.testing.assert_allclose(np.stack(mean_limits(values[order], UNEQUAL[order], rng())), together, rtol=1e-9)
    for column, expected in zip(values.T, together.T, strict=True):
        found = mean_interval(column, UNEQUAL, rng())
        np.testing.assert_allclose([found.value, found.low, found.high], expected, rtol=1e-9)


def test_draws_without_a_value_are_left_out() -> None:
    drawn = np.random.default_rng(9).normal(size=500)
    left = np.random.default_rng(10).normal(size=30) / 30
    gaps = np.insert(drawn, [0, 100, 500], np.nan)
    assert bca_interval(0.1, gaps, left, 0.9) == bca_interval(0.1, drawn, left, 0.9)


@pytest.mark.parametrize(
    ("estimate", "drawn", "left"),
    [
        pytest.param(0.0, np.arange(1.0, 50), np.arange(5.0), id="all draws above"),
        pytest.param(60.0, np.arange(1.0, 50), np.arange(5.0), id="all draws below"),
        pytest.param(25.0, np.arange(1.0, 50), np.array([1, np.nan, 3]), id="no value without one patient"),
        pytest.param(25.0, np.full(50, np.nan), np.arange(5.0), id="no draw with a value"),
        pytest.param(np.nan, np.arange(1.0, 50), np.arange(5.0), id="no estimate"),
        pytest.param(25.0, np.arange(1.0, 50), np.arange(1.0), id="one patient"),
        pytest.param(25.0, np.arange(1.0, 50), np.arange(0.0), id="no patient"),
    ],
)
def test_undefined_intervals(estimate: float, drawn: np.ndarray, left: np.ndarray) -> None:
    found = bca_interval(estimate, drawn, left, 0.95)
    np.testing.assert_equal(found.value, estimate)
    assert np.isnan([found.low, found.high]).all()


def test_ties_with_the_estimate_count_half_and_past_the_pole_stand_the_outermost_draws() -> None:
    drawn = np.repeat([0.0, 1.0, 2.0], [10, 80, 10])
    exact, rounded = (bca_limits(value, drawn, [0, 1, 2], 0.85, quantile=1.4) for value in (1.0, 1.0 + 1e-15))
    assert exact == rounded == (0.0, 2.0)
    left = np.array([-10.0, *np.zeros(9)])  # an acceleration of about 1/6
    found = bca_interval(0.5, np.linspace(0, 1, 101), left, 0.95, quantile=20.0)
    assert found.high == 1.0
    assert found.low < 0.01


@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0.0, 0.1, 0.5, 1.0, 7.0])), min_size=1, max_size=40),
    st.floats(0.5, 0.999),
)
def test_an_interval_of_a_mean_lies_among_the_values(images: list[tuple[int, float]], level: float) -> None:
    patients, values = map(np.array, zip(*images, strict=True))
    found = mean_interval(values, patients, rng(), draws=200, level=level)
    if len(set(patients)) == 1:
        assert np.isnan(found.low)
        return
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9


def test_limits_broadcast_over_any_shape() -> None:
    drawn = np.random.default_rng(12).normal(size=(300, 2, 3))
    left = np.random.default_rng(13).normal(size=(20, 2, 3))
    low, high = bca_limits(np.zeros((2, 3)), drawn, left, 0.9, quantile=np.full((2, 3), 1.7))
    assert low.shape == high.shape == (2, 3)
    one = bca_interval(0.0, drawn[:, 1, 2], left[:, 1, 2], 0.9, quantile=1.7)
    assert (one.low, one.high) == (low[1, 2], high[1, 2])
