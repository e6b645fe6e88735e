"""What a score depends on: the method, the class, the model's confidence and correctness, the lesion's size and place.

Every image carries one score of each method and a patient may have several images, so the model is

    score = method * class + confidence + correct (+ lesion size + lesion place)
            + patient + patient x method + image + rest,

the second line random. On images that have all methods it falls into two independent parts, as a split-plot analysis
does (Searle, Casella & McCulloch 1992, doi:10.1002/9780470316856). The mean of an image's scores over methods carries
what concerns the image: class, confidence, correct, lesion. The contrasts between its scores carry what concerns the
methods: method and method:class. Each part is a linear model with a random intercept of the patient
(:mod:`medsaliency.statistics.random_intercept`); among contrasts that intercept is the patient x method effect.

The common mixed model, with random intercepts of patient and image only and Wald z tests, takes all methods to vary
alike. Explanation methods do not, and such tests then call differences far more often than they say. Here contrasts
vary and correlate as they do, and F tests count patients. Scores are bounded and often skewed, so that p values and
intervals are approximate, as those of means of few patients are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsaliency.statistics.bootstrap import Floats
from medsaliency.statistics.comparison import common_images
from medsaliency.statistics.friedman import holm
from medsaliency.statistics.random_intercept import ROUNDING, RandomIntercept, fit, rank, residual_squares
from medsaliency.types import MedsaliencyError

TERMS = ("method", "class", "method:class", "confidence", "correct", "lesion_size", "lesion_place")
IMAGE = ("class", "confidence", "correct")
LESION = ("lesion_size", "lesion_place")
PATIENTS = 5
"""Fewest patients that a model is fitted to."""
THIN = 2
"""Fewest patients with images of a class, and with right and with wrong predictions, where that is tested."""
INTERCEPT = "intercept"
TERM_COLUMNS = ["metric", "term", "statistic", "df", "df_error", "p", "p_corrected", "images", "patients", "reason"]
COEFFICIENT_COLUMNS = ["metric", "term", "level", "estimate", "low", "high", "p"]


def mixed_model(
    scores: pd.DataFrame,
    covariates: pd.DataFrame,
    metrics: Sequence[str],
    *,
    classes: Sequence[str],
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test each of ``TERMS`` for each metric, and estimate its coefficients.

    A term uses the images that all methods have and whose covariates in its model are known. The two lesion terms come
    from a model of their own, with class, confidence and correct, of the images with a lesion.

    Args:
        scores: Columns sample, patient, label (index of a class, or missing), method, metric, value; explanations only,
            no controls.
        covariates: One row a sample: sample, confidence in [0, 1], correct (bool), lesion_size (share of the image's
            pixels in (0, 1]; its logarithm enters the model), lesion_place (distance of the lesion's centroid from the
            image's center, as a share of half the diagonal). Missing where unknown or without a lesion.
        metrics: Those wanted; one without any value has no row.
        classes: Names by index.
        level: Coverage aimed at by the interval of each coefficient by itself.

    Returns:
        Terms: metric, term, statistic (F), df, df_error (both corrected for methods that vary unlike, so not whole;
        df_error counts patients), p, p_corrected (Holm over all terms and metrics), images, patients (in the term's
        model), reason (why there is no test, empty where there is one).

        Coefficients of the tested terms: metric, term, level, estimate, low, high, p (t test, not corrected), in the
        metric's own units. ``method``: difference from the mean of all methods. ``class``: difference from the mean of
        all images, the other covariates being equal. ``method:class``, with levels of that form: how far the method's
        difference in the class departs from its difference on all images. ``correct``: right less wrong predictions.
        The others: change for one standard deviation more.

    Raises:
        MedsaliencyError: If a sample has no or several rows of covariates, or one is out of its range.
    """
    known = _checked(scores, covariates)
    common = common_images(scores)
    tests: list[dict[str, object]] = []
    coefficients: list[tuple[object, ...]] = []
    for metric in metrics:
        methods = scores.loc[scores["value"].notna() & (scores["metric"] == metric), "method"].unique().tolist()
        if not methods:
            continue
        images = _images(common[common["metric"] == metric], methods, known, classes)
        parts = (
            _methods_part(images),
            _images_part(images, IMAGE, IMAGE),
            _images_part(images, IMAGE + LESION, LESION),
        )
        found = {term: part for part in parts for term in part.tested}
        for term in TERMS:
            tests.append({"metric": metric, "term": term, **found[term].test(term)})
            coefficients += [(metric, term, *row) for row in found[term].coefficients(term, level)]
    terms = pd.DataFrame(tests, columns=TERM_COLUMNS)
    terms["p_corrected"] = holm(terms["p"].to_numpy(dtype=np.float64))
    return terms, pd.DataFrame(coefficients, columns=COEFFICIENT_COLUMNS)


@dataclass(frozen=True, eq=False)
class _Images:
    """Images of one metric: ``scores`` (n, M) of the methods, and what is ``known`` of each image (n rows)."""

    scores: Floats
    methods: list[str]
    known: pd.DataFrame

    def that_know(self, covariates: Sequence[str]) -> _Images:
        complete = self.known[list(covariates)].notna().all(axis=1).to_numpy()
        return _Images(self.scores[complete], self.methods, self.known[complete])


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of the model.

    Args:
        images: Those that it is fitted to.
        levels: (c, m) turn coefficients of the model's c responses into those of ``names``.
        names: m methods, or one empty name.
        tested: For each term of this part the covariate whose columns stand for it, or ``INTERCEPT``.
        design: (n, p), centered but for the intercept, which so stands for the mean over images.
        columns: (p,) the covariate of each column.
        model: Fitted, or None where nothing can be tested.
        reasons: Why a covariate cannot be tested; under ``INTERCEPT``, why nothing can.
    """

    images: _Images
    levels: Floats
    names: list[str]
    tested: dict[str, str]
    design: Floats
    columns: NDArray[np.str_]
    model: RandomIntercept | None
    reasons: dict[str, str]

    def reason(self, term: str) -> str:
        return self.reasons.get(self.tested[term]) or self.reasons.get(INTERCEPT, "")

    def test(self, term: str) -> dict[str, object]:
        """The row of the table of terms, but for the metric, the term and the correction."""
        known, reason = self.images.known, self.reason(term)
        row: dict[str, object] = {"statistic": np.nan, "df": np.nan, "df_error": np.nan, "p": np.nan}
        if self.model and not reason:
            row = asdict(self.model.test(self.columns == self.tested[term]))
        return {**row, "images": len(known), "patients": known["patient"].nunique(), "reason": reason}

    def coefficients(self, term: str, level: float) -> list[tuple[str, float, float, float, float]]:
        """Level, estimate, low, high and p of each coefficient of a term; none where it cannot be tested."""
        if self.model is None or self.reason(term):
            return []
        from scipy.stats import t as student

        covariate = self.tested[term]
        own = self.columns == covariate
        rows, classes = np.eye(len(own))[own], [""]
        if covariate == "class":  # of centered indicators only contrasts are estimable: each class less the mean
            places = self.images.known["class"].cat.codes.to_numpy()
            rows, classes = rows[:0], list(self.images.known["class"].cat.categories)
            rows = np.stack([np.where(own, self.design[np.argmax(places == k)], 0) for k in range(len(classes))])
        estimates = rows @ self.model.coefficients @ self.levels
        errors = self.model.standard_errors(rows, self.levels)
        half = student.ppf((1 + level) / 2, self.model.freedom) * errors
        ratios = np.divide(np.abs(estimates), errors, out=np.full_like(errors, np.nan), where=errors > 0)
        p = 2 * student.sf(ratios, self.model.freedom)
        names = [[":".join(part for part in (name, label) if part) for name in self.names] for label in classes]
        table = (np.array(names), estimates, estimates - half, estimates + half, p)
        return list(zip(*(part.T.ravel().tolist() for part in table), strict=True))


def _methods_part(images: _Images) -> _Part:
    """Orthonormal contrasts between the methods: do they differ, and unlike from class to class?"""
    from scipy.linalg import helmert

    contrasts = helmert(len(images.methods)).T
    tested = {"method": INTERCEPT, "method:class": "class"}
    return _part(images, contrasts, contrasts.T, images.methods, tested, ("class",))


def _images_part(images: _Images, covariates: Sequence[str], tested: Sequence[str]) -> _Part:
    """The mean of each image over methods: what does it depend on?"""
    mean = np.full((len(images.methods), 1), 1 / len(images.methods))
    return _part(images, mean, np.ones((1, 1)), [""], {name: name for name in tested}, covariates)


def _part(
    images: _Images,
    contrasts: Floats,
    levels: Floats,
    names: list[str],
    tested: dict[str, str],
    covariates: Sequence[str],
) -> _Part:
    """Choose images and columns of the design, and find out before fitting what cannot be tested."""
    count = len(images.known)
    reasons = {name: "not known of any image" for name in covariates if count and images.known[name].isna().all()}
    images = images.that_know([name for name in covariates if name not in reasons])
    known = images.known.assign(**{"class": images.known["class"].cat.remove_unused_categories()})
    images = _Images(images.scores, images.methods, known)
    values = {name: known[name].nunique() for name in covariates}
    reasons |= {name: "the same on all images" for name in covariates if values[name] == 1}
    used = [name for name in covariates if values[name] > 1]
    design, columns = _design(known, used)
    reason = _unfit(images, design, contrasts)
    if reason:
        return _Part(images, levels, names, tested, design, columns, None, reasons | {INTERCEPT: reason})
    model = fit(images.scores @ contrasts, design, known["patient"])
    if residual_squares(model.response, model.design) <= ROUNDING**2 * (images.scores**2).sum():
        reasons[INTERCEPT] = "scores do not vary beyond these effects"
    for name in used:
        if model.rank - rank(model.design[:, columns != name]) < rank(design[:, columns == name]):
            reasons[name] = "cannot be told apart from the other covariates"
        elif name in ("class", "correct"):
            reasons |= _thin(name, known.groupby(name, observed=True)["patient"].nunique())
    return _Part(images, levels, names, tested, design, columns, model, reasons)


def _design(known: pd.DataFrame, covariates: Sequence[str]) -> tuple[Floats, NDArray[np.str_]]:
    """Intercept and centered columns: an indicator a class, right or wrong, and others in standard deviations."""
    columns, names = [np.ones(len(known))], [INTERCEPT]
    for covariate in covariates:
        if covariate == "class":
            indicators = pd.get_dummies(known["class"], dtype=float).to_numpy()
            columns += list((indicators - indicators.mean(axis=0)).T)
            names += ["class"] * indicators.shape[1]
        else:
            values = known[covariate].to_numpy(dtype=np.float64)
            columns.append((values - values.mean()) / (1 if covariate == "correct" else values.std()))
            names.append(covariate)
    return np.stack(columns, axis=1), np.array(names)


def _thin(covariate: str, patients: pd.Series[int]) -> dict[str, str]:
    """The reason if a class, or right or wrong predictions, have fewer than ``THIN`` patients."""
    if patients.min() >= THIN:
        return {}
    group = patients.idxmin()
    what = f"class {group!r}" if covariate == "class" else f"{'right' if group else 'wrong'} predictions"
    return {covariate: f"{what}: {patients.min()} patient, at least {THIN} needed"}


def _unfit(images: _Images, design: Floats, contrasts: Floats) -> str:
    """Why nothing can be tested; empty where a model can be fitted."""
    patients, effects = images.known["patient"].nunique(), rank(design)
    if not contrasts.size:
        return "a single method"
    if not len(design):
        return "no image with a value of every method and all covariates known"
    if patients < PATIENTS or patients <= effects:
        return f"patients: {patients}, at least {max(PATIENTS, effects + 1)} needed"
    return ""


def _images(common: pd.DataFrame, methods: list[str], known: pd.DataFrame, classes: Sequence[str]) -> _Images:
    """The scores of one metric as a table of images and methods, with what is known of each image."""
    table = common.pivot(index="sample", columns="method", values="value").reindex(columns=methods)
    images = common.drop_duplicates("sample").set_index("sample").loc[table.index]
    names = [None if pd.isna(label) else classes[int(label)] for label in images["label"]]
    about = known.reindex(table.index).assign(patient=images["patient"].astype(str))
    about["class"] = pd.Categorical(names, categories=list(classes))
    return _Images(table.to_numpy(dtype=np.float64), methods, about)


def _checked(scores: pd.DataFrame, covariates: pd.DataFrame) -> pd.DataFrame:
    """The covariates as floats by sample, with the logarithm of the lesion's size."""
    repeated = covariates["sample"][covariates["sample"].duplicated()]
    missing = scores["sample"][~scores["sample"].isin(covariates["sample"])]
    for found, count in ((repeated, "several"), (missing, "none")):
        if len(found):
            raise MedsaliencyError(
                f"mixed_model: expected one row of covariates a sample, got {count} for {found.iloc[0]!r}; give one, "
                "with missing values where unknown"
            )
    known = covariates.set_index("sample")[["confidence", "correct", *LESION]].astype("Float64").astype(np.float64)
    for name, low in (
        ("confidence", 0.0),
        ("correct", 0.0),
        ("lesion_size", np.nextafter(0, 1)),
        ("lesion_place", 0.0),
    ):
        wrong = known[name][(known[name] < low) | (known[name] > 1)]
        if len(wrong):
            raise MedsaliencyError(
                f"mixed_model: expected {name} within {'(' if low else '['}0, 1] or missing, got {wrong.iloc[0]} for "
                f"{wrong.index[0]!r}"
            )
    return known.assign(lesion_size=np.log(known["lesion_size"]))
