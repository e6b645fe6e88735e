import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.statistics.controls import COLUMNS, Comparison, against_controls, permutation_tests
from medsaliency.types import Measure, generator

MEASURES = {"up": Measure("up", True, (0, 1), ""), "down": Measure("down", False, (0, 1), "")}
METHODS = ("good", "same", "random", "edge")
CONTROLS = frozenset({"random", "edge", "center_gaussian"})
NO_DRAWS = pd.DataFrame(columns=["sample", "patient", "metric", "draw", "value"])


def study(patients: int = 12, count: int = 6, effect: float = 2.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one or two images a patient, and of ``count`` random maps an image, the first as in the scores."""
    rng = np.random.default_rng(0)
    rows, drawn = [], []
    for metric, direction in (("up", 1), ("down", -1)):
        for patient in range(patients):
            level = rng.normal()
            for image in range(1 + patient % 2):
                sample = f"s{patient}-{image}"
                random = level + rng.normal(size=count)
                values = {"good": level + rng.normal() + direction * effect, "same": level + rng.normal()}
                values |= {"random": random[0], "edge": level + rng.normal()}
                rows += [(sample, f"p{patient}", 0, name, metric, value, "") for name, value in values.items()]
                drawn += [(sample, f"p{patient}", metric, draw, value) for draw, value in enumerate(random)]
    scores = pd.DataFrame(rows, columns=["sample", "patient", "label", "method", "metric", "value", "reason"])
    return scores, pd.DataFrame(drawn, columns=NO_DRAWS.columns)


SCORES, DRAWN = study()


def compare(scores: pd.DataFrame = SCORES, drawn: pd.DataFrame = DRAWN, **changes: object) -> pd.DataFrame:
    how = {"seed": 0, "draws": 200, "permutations": 4096} | changes
    return against_controls(scores, drawn, MEASURES, CONTROLS, **how)  # type: ignore[arg-type]


def test_every_method_meets_every_control_that_was_run() -> None:
    found = compare()
    assert found.columns.tolist() == COLUMNS
    expected = [(m, name, c) for m in ("up", "down") for c in ("random", "edge") for name in ("good", "same")]
    assert list(found[["metric", "method", "control"]].itertuples(index=False, name=None)) == expected
    assert found["draws"].tolist() == [6, 6, 1, 1] * 2
    assert (found["patients"] == 12).all()
    assert (found["images"] == 18).all()


def test_verdicts_follow_the_direction_of_the_metric() -> None:
    found = compare().set_index(["metric", "method", "control"])
    assert (found.xs("good", level="method")["verdict"] == "better").all()
    assert (found.xs("same", level="method")["verdict"] == "not shown").all()
    assert found.loc[("down", "good", "edge"), "difference"] < 0
    assert (found.xs("good", level="method")["superiority"] > 0.8).all()
    assert (
        compare(SCORES.assign(value=-SCORES["value"]), DRAWN.assign(value=-DRAWN["value"]))["verdict"]
        .isin(["worse", "not shown"])
        .all()
    )


def test_one_map_of_a_control_is_the_permutation_test_of_scipy() -> None:
    scores = SCORES[(SCORES["metric"] == "up") & SCORES["method"].isin(["good", "edge"])]
    (row,) = compare(scores, NO_DRAWS, permutations=2**12, families=1).to_dict("records")
    table = scores.pivot_table(index="patient", columns="method", values="value")

    def mean(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(x - y, axis=axis)

    expected = stats.permutation_test((table["good"], table["edge"]), mean, permutation_type="samples", vectorized=True)
    assert row["p"] == row["p_corrected"] == pytest.approx(expected.pvalue)


def test_differences_are_means_over_images_and_draws() -> None:
    found = compare(level=0.9).set_index(["metric", "method", "control"])
    own = SCORES[(SCORES["metric"] == "up") & (SCORES["method"] == "same")].set_index("sample")
    several = DRAWN[DRAWN["metric"] == "up"].pivot(index="sample", columns="draw", values="value")
    away = (own["value"] - several.mean(axis=1)).sort_index()
    rng = generator(0, "controls", "random", "up")
    expected = mean_interval(away, own["patient"].loc[away.index], rng, draws=200, level=0.9)
    row = found.loc[("up", "same", "random")]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((expected.value, expected.low, expected.high))
    patients = own.groupby("patient")["value"].mean()
    drawn = several.groupby(own["patient"]).mean()
    wins = (patients.to_numpy()[:, None] > drawn.loc[patients.index].to_numpy()).mean()
    assert row["superiority"] == pytest.approx(wins)


def test_many_draws_find_what_a_single_one_cannot() -> None:
    # The mean of twenty draws is near what a random map scores; a single one is far from it.
    scores, drawn = study(patients=14, count=20, effect=1.2)
    several, single = (
        compare(scores, own).set_index(["control", "method", "metric"]).sort_index() for own in (drawn, NO_DRAWS)
    )
    assert (several.loc[("random", "good"), "verdict"] == "better").all()
    assert (single.loc[("random", "good"), "verdict"] == "not shown").any()


def far_from_draws(patients: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A method whose scores vary and are all well above those of five random maps, which hardly vary."""
    rng = np.random.default_rng(0)
    own = [(f"s{i}", f"p{i}", 0, "good", "up", rng.uniform(0.2, 0.8), "") for i in range(patients)]
    drawn = [(f"s{i}", f"p{i}", "up", k, rng.normal(0.01, 0.002)) for i in range(patients) for k in range(5)]
    scores = pd.DataFrame(own, columns=SCORES.columns)
    return pd.concat([scores, scores.assign(method="random", value=0.01)]), pd.DataFrame(drawn, columns=DRAWN.columns)


def test_what_is_far_above_all_draws_on_all_patients_is_shown() -> None:
    (row,) = compare(*far_from_draws(16), permutations=20000).to_dict("records")
    assert (row["superiority"], row["verdict"]) == (1, "better")
    # Of 2^16 signs and 6^16 choices no drawn ones surpass it, but for chance.
    assert row["p"] < 3e-4


def test_choices_among_draws_do_not_overrule_the_signs_of_few_patients() -> None:
    (row,) = compare(*far_from_draws(5), permutations=20000, families=1).to_dict("records")
    assert row["p"] == pytest.approx(2 / 2**5)
    assert row["verdict"] == "not shown"


def simulated(rng: np.random.Generator, spread: float, *, skewed: bool) -> list[Comparison]:
    """Five methods, two metrics, five draws, sixteen patients; equal means."""
    names = [f"p{i:02d}" for i in range(16)]
    found = []
    for metric in ("up", "down"):
        own, drawn = rng.normal(size=(16, 5)), rng.normal(size=(16, 5))
        if skewed:
            own, drawn = np.exp(1.5 * own), np.exp(1.5 * drawn)
        own = spread * own
        away = own - drawn.mean(axis=1, keepdims=True)
        found.append(Comparison(metric, "random", list("abcde"), names, names, away, own, drawn, 12))
    return found


@pytest.mark.parametrize(("spread", "skewed"), [(5, False), (1, True)])
def test_neither_unequal_spread_nor_skewed_scores_make_false_statements(spread: float, skewed: bool) -> None:
    found = []
    for seed in range(60):
        studied = simulated(np.random.default_rng(seed), spread, skewed=skewed)
        tests = permutation_tests(studied, seed=seed, permutations=999, alpha=0.05)
        found.append(min(each.p_corrected.min() for each in tests) <= 0.05)
    assert np.sum(found) <= 8, "the probability of more is below 0.5 % at a rate of 5 %"


def test_without_draws_the_random_map_of_the_scores_is_taken() -> None:
    found = compare(drawn=NO_DRAWS)
    assert (found["draws"] == 1).all()
    only_up = compare(drawn=DRAWN[DRAWN["metric"] == "up"])
    assert only_up[only_up["control"] == "random"]["draws"].tolist() == [6, 6, 1, 1]
    assert only_up[["p", "p_corrected"]].notna().all(axis=None)


def test_patients_may_be_absent_from_a_metric() -> None:
    scores = SCORES.copy()
    scores.loc[(scores["metric"] == "down") & (scores["patient"] == "p3") & (scores["method"] == "good"), "value"] = (
        np.nan
    )
    drawn = DRAWN.copy()
    drawn.loc[(drawn["metric"] == "up") & (drawn["sample"] == "s5-1") & (drawn["draw"] == 2), "value"] = np.nan
    found = compare(scores, drawn).set_index(["metric", "method", "control"])
    assert found.loc[("down", "good", "edge"), "patients"] == 11
    assert found.loc[("up", "good", "edge"), "patients"] == 12
    assert (found.loc[("up", "good", "random"), "images"], found.loc[("up", "good", "edge"), "images"]) == (17, 18)
    assert found.loc[("down", "good", "edge"), "verdict"] == "better"


def test_corrected_over_all_and_twice_for_two_families() -> None:
    one, two = compare(families=1), compare(families=2)
    assert (one["p_corrected"] >= one["p"]).all()
    np.testing.assert_allclose(two["p_corrected"], (2 * one["p_corrected"]).clip(upper=1))
    alone = compare(SCORES[SCORES["metric"] == "up"], families=1)
    weak = (alone["method"] == "same").to_numpy()
    assert (one["p_corrected"].to_numpy()[:4][weak] >= alone["p_corrected"][weak] - 0.05).all()


def test_detectable_is_of_what_is_not_shown() -> None:
    found = compare()
    shown = found["verdict"] != "not shown"
    assert (found["detectable"].isna() == shown).all()
    assert (found.loc[~shown, "detectable"] > 0).all()


def test_the_order_of_rows_changes_nothing() -> None:
    shuffled = SCORES.sample(frac=1, random_state=1)
    order = {name: place for place, name in enumerate(METHODS)}
    shuffled = shuffled.sort_values("method", key=lambda names: names.map(order), kind="stable")
    shuffled = shuffled.sort_values("metric", ascending=False, kind="stable")
    pd.testing.assert_frame_equal(compare(), compare(shuffled, DRAWN.sample(frac=1, random_state=2)))


def test_equal_scores_and_a_single_patient_show_nothing() -> None:
    equal = compare(SCORES.assign(value=0.1 + 0.2), DRAWN.assign(value=0.3))
    assert (equal["p"] == 1).all()
    assert (equal["superiority"] == 0.5).all()
    assert equal["detectable"].isna().all()
    one = compare(SCORES[SCORES["patient"] == "p1"], DRAWN[DRAWN["patient"] == "p1"])
    assert (one["verdict"] == "not shown").all()
    assert one["low"].isna().all()


def test_nothing_to_compare() -> None:
    for scores in (SCORES[~SCORES["method"].isin(CONTROLS)], SCORES[SCORES["method"] == "edge"], SCORES[:0]):
        found = compare(scores, NO_DRAWS)
        assert found.empty
        assert found.columns.tolist() == COLUMNS


def test_draws_that_no_image_has_in_full_give_way_to_the_single_map() -> None:
    drawn = DRAWN.assign(value=DRAWN["value"].where(DRAWN["draw"] != 1))
    pd.testing.assert_frame_equal(compare(drawn=drawn), compare(drawn=NO_DRAWS))
