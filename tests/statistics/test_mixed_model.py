from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.formula.api as smf

from medsaliency.statistics.mixed_model import COEFFICIENT_COLUMNS, TERM_COLUMNS, TERMS, mixed_model
from medsaliency.types import MedsaliencyError

CLASSES = ["benign", "malignant", "normal"]


class World:
    """Scores of M methods on images of patients; images of a patient are alike, and methods vary ``unlike`` or not."""

    def __init__(
        self,
        seed: int,
        *,
        patients: int = 30,
        methods: int = 5,
        most: int = 3,
        spread: float = 0.1,
        unlike: bool = True,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.patient = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
        n = len(self.patient)
        self.label = (np.arange(patients) % 3)[self.patient]
        self.confidence = rng.uniform(0.4, 1, n)
        self.correct = rng.random(n) < 0.7
        self.size = np.where(self.label < 2, np.exp(rng.normal(-4, 0.7, n)), np.nan)
        self.place = np.where(self.label < 2, rng.uniform(0, 1, n), np.nan)
        scale = spread * (np.linspace(0.3, 2, methods) if unlike else np.ones(methods))
        own, shared = unlike * rng.normal(size=(patients, methods)), rng.normal(size=patients)
        self.value = 0.5 + spread * (shared[self.patient, None] + rng.normal(size=(n, 1)))
        self.value = self.value + scale * (rng.normal(size=(n, methods)) + own[self.patient])

    def tables(self, metric: str = "m") -> tuple[pd.DataFrame, pd.DataFrame]:
        n, methods = self.value.shape
        names = [f"s{i:03}" for i in range(n)]
        about = {"sample": names, "patient": [f"p{i}" for i in self.patient], "label": self.label}
        wide = pd.DataFrame(self.value, columns=[f"e{k}" for k in range(methods)]).assign(**about)
        long = wide.melt(list(about), var_name="method", value_name="value").assign(metric=metric)
        known = {"confidence": self.confidence, "correct": self.correct}
        lesion = {"lesion_size": self.size, "lesion_place": self.place}
        return long, pd.DataFrame({"sample": names, **known, **lesion})

    def found(self, **more: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            terms, coefficients = mixed_model(*self.tables(), ["m"], classes=CLASSES, **more)
        return terms.set_index("term"), coefficients.set_index(["term", "level"])


def plant(world: World, term: str, effect: float) -> None:
    if term == "method":
        world.value[:, 1] += effect
    elif term == "class":
        world.value[world.label == 1] += effect
    elif term == "method:class":
        world.value[world.label == 1, 1] += effect
    elif term == "correct":
        world.value[world.correct] += effect
    elif term == "confidence":
        world.value += effect * ((world.confidence - world.confidence.mean()) / world.confidence.std())[:, None]
    else:
        values = np.log(world.size) if term == "lesion_size" else world.place
        world.value += np.nan_to_num(effect * (values - np.nanmean(values)) / np.nanstd(values))[:, None]


# What each planted effect is on the scale of its coefficient, times the effect: for `method` one of five is raised,
# for `class` one of three.
PLANTED = {
    "method": ("e1", lambda world: 4 / 5),
    "class": ("malignant", lambda world: 1 - (world.label == 1).mean()),
    "method:class": ("e1:malignant", lambda world: 4 / 5 * (1 - (world.label == 1).mean())),
    "confidence": ("", lambda world: 1.0),
    "correct": ("", lambda world: 1.0),
    "lesion_size": ("", lambda world: 1.0),
    "lesion_place": ("", lambda world: 1.0),
}


@pytest.mark.parametrize("term", TERMS)
def test_each_planted_effect_is_found_at_its_size_and_only_there(term: str) -> None:
    world = World(0, patients=60)
    before, _ = world.found()
    assert (before["p_corrected"] > 0.05).all()
    effect = 0.4 if term == "method:class" else 0.2
    plant(world, term, effect)
    terms, coefficients = world.found()
    assert terms.loc[term, "p_corrected"] < 0.001
    level, share = PLANTED[term]
    low, high = coefficients.loc[(term, level), ["low", "high"]]
    assert low < effect * share(world) < high
    assert high - low < effect
    # An effect in one cell is also one in the means of its row and column.
    others = [name for name in TERMS if name not in {"method:class": TERMS, "class": TERMS}.get(term, (term,))]
    if term in ("lesion_size", "lesion_place"):
        others = [name for name in others if name not in ("class", "confidence", "correct")]
    assert (terms.loc[others, "p_corrected"] > 0.05).all()


def test_tables_are_complete_and_counted() -> None:
    world = World(1)
    terms, coefficients = mixed_model(*world.tables(), ["m", "absent"], classes=CLASSES)
    assert list(terms) == TERM_COLUMNS
    assert list(coefficients) == COEFFICIENT_COLUMNS
    assert terms["term"].tolist() == list(TERMS)
    assert (terms["reason"] == "").all()
    lesions = world.label < 2
    assert terms["images"].tolist() == [len(lesions)] * 5 + [lesions.sum()] * 2
    assert terms["patients"].tolist() == [30] * 5 + [20] * 2
    counts = coefficients["term"].value_counts().to_dict()
    assert counts == {"method:class": 15, "method": 5, "class": 3} | dict.fromkeys(TERMS[3:], 1)
    assert coefficients.loc[coefficients["term"] == "method", "estimate"].sum() == pytest.approx(0, abs=1e-12)


def test_neither_the_order_of_rows_nor_other_metrics_change_a_number() -> None:
    scores, covariates = World(2).tables()
    alone = mixed_model(scores, covariates, ["m"], classes=CLASSES)
    other, _ = World(2, spread=1.0).tables("other")
    mixed = pd.concat([other, scores.sample(frac=1, random_state=0)])
    terms, coefficients = mixed_model(mixed, covariates[::-1], ["other", "m"], classes=CLASSES)
    columns = ["statistic", "df", "df_error", "p", "images", "patients"]
    np.testing.assert_allclose(terms.loc[terms["metric"] == "m", columns], alone[0][columns], rtol=1e-6)
    merged = coefficients[coefficients["metric"] == "m"].merge(alone[1], on=["term", "level"])
    np.testing.assert_allclose(merged["low_x"], merged["low_y"], rtol=1e-4, atol=1e-9)


def test_one_image_a_patient_as_the_mixed_analysis_of_variance_of_pingouin() -> None:
    world = World(3, most=1)
    world.confidence[:] = 1.0
    world.correct[:] = True
    terms, _ = world.found()
    scores, _ = world.tables()
    peer = pingouin.mixed_anova(scores, dv="value", within="method", between="label", subject="patient")
    peer = peer.set_index("Source")["F"]
    assert terms.loc["method", "statistic"] == pytest.approx(peer["method"])
    assert terms.loc["class", "statistic"] == pytest.approx(peer["label"])
    assert terms.loc["method:class", "statistic"] == pytest.approx(peer["Interaction"])
    assert (terms.loc["class", "df"], terms.loc["class", "df_error"]) == (2, 27)


def test_one_class_is_corrected_as_the_repeated_measures_analysis_of_pingouin() -> None:
    world = World(4, most=1)
    world.label[:] = 0
    terms, _ = world.found()
    scores, _ = world.tables()
    peer = pingouin.rm_anova(scores, dv="value", within="method", subject="patient", correction=True)
    epsilon = pingouin.epsilon(scores.pivot(index="patient", columns="method", values="value"), correction="hf")
    assert terms.loc["method", "statistic"] == pytest.approx(peer["F"].iloc[0])
    assert terms.loc["method", "df"] == pytest.approx(4 * epsilon)
    assert terms.loc["method", "df_error"] == pytest.approx(4 * 29 * epsilon)


def test_effects_of_images_are_those_of_the_whole_model_in_statsmodels() -> None:
    world = World(13, methods=4, unlike=False)
    plant(world, "confidence", 0.03)
    scores, covariates = world.tables()
    table = scores.merge(covariates, on="sample").assign(correct=lambda t: t["correct"].astype(float))
    table["confidence"] = (table["confidence"] - world.confidence.mean()) / world.confidence.std()
    formula = "value ~ C(method) * C(label) + confidence + correct"
    peer = smf.mixedlm(formula, table, groups="patient", re_formula="1", vc_formula={"image": "0 + C(sample)"}).fit()
    _, coefficients = world.found()
    for term in ("confidence", "correct"):
        low, high, estimate = coefficients.loc[(term, ""), ["low", "high", "estimate"]]
        assert estimate == pytest.approx(peer.fe_params[term], rel=1e-3)
        # Theirs comes from the curvature of the likelihood, ours from least squares; t of 25 patients left, not 1.96.
        assert (high - low) / 2 == pytest.approx(2.0595 * peer.bse_fe[term], rel=0.01)


def test_where_nothing_is_planted_five_in_a_hundred_are_called_an_effect() -> None:
    worlds = [World(seed).tables(f"m{seed}") for seed in range(60)]
    scores, covariates = (
        pd.concat([table.assign(sample=f"{k}/" + table["sample"]) for k, table in enumerate(tables)])
        for tables in zip(*worlds, strict=True)
    )
    terms, _ = mixed_model(scores, covariates, [f"m{seed}" for seed in range(60)], classes=CLASSES)
    called = terms["p"] < 0.05
    # Three of 60 are expected of each term, and ten or more once in 1,500 times; 21 of all 420.
    assert (called.groupby(terms["term"]).sum() < 10).all()
    assert 10 <= called.sum() <= 32
    assert (terms["p_corrected"] > 0.05).all()


def reasons(world: World) -> dict[str, str]:
    return world.found()[0]["reason"].to_dict()


def test_without_variation_there_is_a_reason_and_the_rest_is_tested() -> None:
    world = World(6)
    world.correct[:] = True
    world.size[:] = 0.1
    found = reasons(world)
    assert {term for term in TERMS if found[term]} == {"correct", "lesion_size"}
    assert found["correct"] == found["lesion_size"] == "the same on all images"
    world = World(6)
    world.label[:] = 2
    found = reasons(world)
    assert found["class"] == found["method:class"] == "the same on all images"
    assert not found["method"]
    assert not found["confidence"]


def test_what_is_known_of_no_image_has_a_reason_and_what_is_missing_takes_its_image() -> None:
    world = World(7)
    world.size[:] = world.place[:] = np.nan
    world.confidence[:3] = np.nan
    terms, _ = world.found()
    assert terms.loc["lesion_place", "reason"] == "not known of any image"
    assert terms.loc["method", "images"] == len(world.label)
    assert terms.loc["confidence", "images"] == len(world.label) - 3
    scores, covariates = world.tables()
    unknown, _ = mixed_model(scores.assign(label=None), covariates, ["m"], classes=CLASSES)
    unknown = unknown.set_index("term")["reason"]
    assert unknown["class"] == unknown["method:class"] == "not known of any image"
    assert not unknown["method"]
    assert not unknown["confidence"]


def test_a_class_or_an_error_of_one_patient_only_is_too_thin() -> None:
    world = World(8, most=1)
    world.label[:] = np.arange(30) % 2
    world.label[0] = 2
    world.correct[:] = np.arange(30) != 4
    found = reasons(world)
    assert found["class"] == found["method:class"] == "class 'normal': 1 patient, at least 2 needed"
    assert found["correct"] == "wrong predictions: 1 patient, at least 2 needed"
    assert not found["confidence"]


def test_covariates_that_say_the_same_cannot_be_told_apart() -> None:
    world = World(9)
    world.label[world.label == 2] = 0
    world.correct[:] = world.label == 1
    found = reasons(world)
    assert found["class"] == found["correct"] == "cannot be told apart from the other covariates"
    assert not found["confidence"]
    assert not found["method:class"]


@pytest.mark.parametrize("patients", [4, 5])
def test_few_patients_have_a_reason(patients: int) -> None:
    world = World(10, patients=patients, most=4)
    world.size[:] = np.nan
    found = reasons(world)
    assert found["class"] == f"patients: {patients}, at least 6 needed"
    assert found["method"] == ("" if patients == 5 else "patients: 4, at least 5 needed")


def test_scores_that_do_not_vary_have_a_reason() -> None:
    world = World(11)
    world.value[:] = 0.1 + 0.2
    assert set(reasons(world).values()) == {"scores do not vary beyond these effects"}
    world.value[:] = np.linspace(0, 1, len(world.value))[:, None]
    found = reasons(world)
    assert found["method"] == "scores do not vary beyond these effects"
    assert not found["class"]


def test_patients_whose_means_are_equal_have_a_reason() -> None:
    world = World(11, patients=6, most=1)
    world.patient, world.label = np.repeat(np.arange(6), 2), np.zeros(12, dtype=int)
    world.value = np.tile([[0.0], [1.0]], (6, 5))
    world.confidence, world.correct = np.full(12, 0.5), np.arange(12) < 6
    world.size = world.place = np.full(12, np.nan)
    assert reasons(world)["correct"] == "scores do not vary beyond these effects"


def test_a_single_method_has_no_contrast() -> None:
    found = reasons(World(12, methods=1))
    assert found["method"] == found["method:class"] == "a single method"
    assert not found["class"]


def test_without_a_common_image_nothing_can_be_said() -> None:
    scores, covariates = World(13, methods=2).tables()
    even = scores["sample"].str[-1].isin(list("02468"))
    scores.loc[even == (scores["method"] == "e0"), "value"] = np.nan
    terms, coefficients = mixed_model(scores, covariates, ["m"], classes=CLASSES)
    assert set(terms["reason"]) == {"no image with a value of every method and all covariates known"}
    assert terms[["statistic", "df", "p", "p_corrected"]].isna().all(axis=None)
    assert coefficients.empty


def test_images_that_repeat_a_patient_add_nothing() -> None:
    world = World(14, most=1)
    scores, covariates = world.tables()
    again = [table.assign(sample=table["sample"] + "again") for table in (scores, covariates)]
    once, _ = mixed_model(scores, covariates, ["m"], classes=CLASSES)
    twice, _ = mixed_model(pd.concat([scores, again[0]]), pd.concat([covariates, again[1]]), ["m"], classes=CLASSES)
    np.testing.assert_allclose(twice[["statistic", "p"]], once[["statistic", "p"]])


def test_covariates_must_be_one_a_sample_and_in_range() -> None:
    scores, covariates = World(15).tables()
    for wrong, message in (
        (covariates[1:], "got none for 's000'"),
        (pd.concat([covariates, covariates[:1]]), "got several for 's000'"),
        (covariates.assign(confidence=80.0), r"confidence within \[0, 1\] or missing, got 80.0 for 's000'"),
        (covariates.assign(lesion_size=0.0), r"lesion_size within \(0, 1\] or missing, got 0.0"),
    ):
        with pytest.raises(MedsaliencyError, match=message):
            mixed_model(scores, wrong, ["m"], classes=CLASSES)


def test_correctness_may_be_unknown_of_some() -> None:
    scores, covariates = World(16).tables()
    correct = covariates["correct"].astype(object)
    correct[0] = None
    terms, _ = mixed_model(scores, covariates.assign(correct=correct), ["m"], classes=CLASSES)
    assert terms.set_index("term").loc["correct", "images"] == len(covariates) - 1
