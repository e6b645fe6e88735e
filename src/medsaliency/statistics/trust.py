"""The trust card: what each method was shown to do, criterion by criterion, and no single score.

An estimate with its interval stands against a threshold: "pass" where the whole interval lies on the good side, "fail"
where it lies on the bad side, "not shown" otherwise. An interval without width shows nothing either way. What a
criterion asks, and where its threshold comes from, is told in ``docs/explanation/trust-card.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import pandas as pd

from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.statistics.controls import RANDOM
from medsaliency.types import Measure, MedsaliencyError, generator, nearest

Verdict = Literal["pass", "fail", "not shown"]
PASSED: Final = "pass"
FAILED: Final = "fail"
NOT_SHOWN: Final = "not shown"
BEATEN = {"beats_random": RANDOM, "beats_edge": "edge", "beats_center": "center_gaussian"}
"""The control of each criterion that asks for a better score than one control's."""
CHECKED = {"parameter_randomization": "cascading_", "data_randomization": "permuted_"}
"""What the margins of each check of randomization begin with."""
RETRAINED = {"repeatable": "repeatability", "reproducible": "reproducibility"}
"""The kind of network of each criterion that asks for the same map from a network trained anew."""
CRITERIA = (*BEATEN, *CHECKED, *RETRAINED, "stable", "localizes", "faithful", "affordable")
LIKENESSES = ("dice", "spearman", "ssim")
PARTS = frozenset({"insertion_gain", "deletion_gain", "place_rank", "road_most", "road_least"})
"""Parts of ``evidence`` and of ``road``, which are themselves judged: one half alone tells less than the whole."""
CONVENTION = "convention of this project"
ADEBAYO = "Adebayo et al. 2018, arXiv:1810.03292"
ARUN = "Arun et al. 2021, doi:10.1148/ryai.2021200267"
SOURCES = {
    "beats_random": CONVENTION,
    "beats_edge": f"{ADEBAYO} (edges as a control); test: {CONVENTION}",
    "beats_center": CONVENTION,
    "parameter_randomization": f"{ADEBAYO}; threshold: {ARUN}",
    "data_randomization": f"{ADEBAYO}; threshold: as in {ARUN}",
    "repeatable": f"{ARUN}; threshold: {CONVENTION}",
    "reproducible": f"{ARUN}; threshold: {CONVENTION}",
    "localizes": f"{ARUN}; test against controls: {CONVENTION}",
    "affordable": CONVENTION,
}
STABLE = {
    "max_sensitivity": f"Yeh et al. 2019, arXiv:1901.09392; threshold: {CONVENTION}",
    "consistency": f"Crabbé & van der Schaar 2023, arXiv:2304.06715; threshold: {CONVENTION}",
}
FAITHFUL = {
    "insertion": "Petsiuk et al. 2018, arXiv:1806.07421",
    "deletion": "Petsiuk et al. 2018, arXiv:1806.07421",
    "road": "Rong et al. 2022, arXiv:2202.00449",
    "infidelity": "Yeh et al. 2019, arXiv:1901.09392",
    "faithfulness": "Bhatt et al. 2020, arXiv:2005.00631",
    "aic": "Kapishnikov et al. 2019, arXiv:1906.02825",
    "sic": "Kapishnikov et al. 2019, arXiv:1906.02825",
}
"""Where a measure of faithfulness comes from, by the first part of its name; that random is to be beaten is ours."""


@dataclass(frozen=True)
class Thresholds:
    """Where the trust card draws its lines.

    Args:
        measure: What must be better than that of each control.
        localization: The measure by which a map lies on the lesion.
        randomization_margin: What the margins of both checks of randomization must lie above.
        likeness: How maps of two networks are compared: ``spearman``, ``ssim`` or ``dice``.
        repeatability: What the likeness of networks of one architecture must lie above, in [-1, 1).
        reproducibility: The same of two architectures.
        stability: What the rank correlation of maps of moved images must lie above, in [-1, 1).
        max_sensitivity: What the largest change under faint noise must lie below, as a share of the map, above 0.
        defined: Share of the images that must have a value of a check, in [0, 1]; with fewer nothing is shown.
        seconds: What a map of one image may take on the machine of the study, above 0.

    Raises:
        MedsaliencyError: If a value is out of its range.
    """

    measure: str = "evidence"
    localization: str = "lesion_auprc"
    randomization_margin: float = 0.0
    likeness: str = "spearman"
    repeatability: float = 0.5
    reproducibility: float = 0.5
    stability: float = 0.5
    max_sensitivity: float = 1.0
    defined: float = 0.5
    seconds: float = 10.0

    def __post_init__(self) -> None:
        for name in ("measure", "localization"):
            if not getattr(self, name):
                raise MedsaliencyError(f"trust: expected the name of a measure for {name}, got an empty one")
        if self.likeness not in LIKENESSES:
            raise MedsaliencyError(f"trust: unknown likeness {self.likeness!r}{nearest(self.likeness, LIKENESSES)}")
        if not -2 <= self.randomization_margin < 2:  # NaN too is refused by each of these
            got = self.randomization_margin
            raise MedsaliencyError(f"trust: expected randomization_margin of -2 or more and below 2, got {got}")
        for name in ("repeatability", "reproducibility", "stability"):
            if not -1 <= getattr(self, name) < 1:
                raise MedsaliencyError(f"trust: expected {name} of -1 or more and below 1, got {getattr(self, name)}")
        if not 0 <= self.defined <= 1:
            raise MedsaliencyError(f"trust: expected defined to be a share in [0, 1], got {self.defined}")
        for name in ("max_sensitivity", "seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise MedsaliencyError(f"trust: expected {name} to be finite and above 0, got {getattr(self, name)}")


class Atom(NamedTuple):
    """One row of the card: a method, a criterion and the measure that speaks to it.

    ``measure`` is what ``value`` is of; a difference from a control is named "METRIC - CONTROL". ``p`` is corrected, of
    tests against controls alone. ``reason`` says why nothing is shown, or what else there is to know.
    """

    method: str
    criterion: str
    verdict: Verdict
    measure: str = ""
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    threshold: float = math.nan
    p: float = math.nan
    source: str = CONVENTION
    reason: str = ""


def judge(low: float, high: float, threshold: float, *, higher_is_better: bool = True) -> Verdict:
    """Say on which side of a threshold an interval lies.

    One that touches the threshold or is undefined shows nothing, nor does one without width: where all patients have
    the same value resampling has no spread, and says nothing of other patients (``docs/explanation/intervals.md``).
    """
    if _no_width(low, high):
        return NOT_SHOWN
    if low > threshold:
        return PASSED if higher_is_better else FAILED
    if high < threshold:
        return FAILED if higher_is_better else PASSED
    return NOT_SHOWN


def combine(verdicts: Iterable[str]) -> Verdict:
    """One verdict of several on the same criterion: "fail" if one fails, "pass" if all pass, else "not shown"."""
    given = set(verdicts)
    if FAILED in given:
        return FAILED
    return PASSED if given == {PASSED} else NOT_SHOWN


def trust_card(
    methods: Sequence[str],
    *,
    scores: pd.DataFrame,
    measures: Mapping[str, Measure],
    against_controls: pd.DataFrame,
    networks: pd.DataFrame,
    timings: pd.DataFrame,
    thresholds: Thresholds,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Judge each method by each criterion.

    Args:
        methods: The explanations, in order; no controls.
        scores: Of metrics and checks: sample, patient, method, metric, value, reason.
        measures: What the study's metrics and checks measure.
        against_controls: One row a metric x method x control: see ``report.contents``.
        networks: Likeness of maps by networks trained anew: method, kind, measure, images, value, low, high,
            two_images (the same likeness between one network's maps of two images).
        timings: kind, name, images, seconds.
        thresholds: Where the lines are.
        seed: Of the bootstrap over patients behind the intervals of checks.
        draws: Bootstrap samples.
        level: Coverage aimed at.

    Returns:
        Rows of :class:`Atom`, at least one a method x criterion, in the order of ``methods`` and ``CRITERIA``.
    """
    tables = _Tables(scores, measures, against_controls, networks, timings, thresholds, seed, draws, level)
    atoms = [atom for method in methods for criterion in CRITERIA for atom in tables.atoms(method, criterion)]
    return pd.DataFrame(atoms, columns=list(Atom._fields))


@dataclass(frozen=True, eq=False)
class _Tables:
    scores: pd.DataFrame
    measures: Mapping[str, Measure]
    against_controls: pd.DataFrame
    networks: pd.DataFrame
    timings: pd.DataFrame
    thresholds: Thresholds
    seed: int
    draws: int
    level: float

    def atoms(self, method: str, criterion: str) -> Iterator[Atom]:
        """The rows of one method and criterion."""
        if criterion in BEATEN:
            yield self._against(method, criterion, self.thresholds.measure, BEATEN[criterion])
        elif criterion in CHECKED:
            yield from self._margins(method, criterion)
        elif criterion in RETRAINED:
            yield self._retrained(method, criterion)
        elif criterion == "stable":
            yield from self._stable(method)
        elif criterion == "localizes":
            for control in BEATEN.values():
                yield self._against(method, criterion, self.thresholds.localization, control)
        elif criterion == "faithful":
            yield from self._faithful(method)
        else:
            yield self._affordable(method)

    def _against(self, method: str, criterion: str, metric: str, control: str, source: str = "") -> Atom:
        """Judge a difference from a control by its corrected permutation test."""
        table = self.against_controls
        found = table[(table["method"] == method) & (table["metric"] == metric) & (table["control"] == control)]
        nothing = Atom(
            method, criterion, NOT_SHOWN, f"{metric} - {control}", threshold=0.0, source=source or SOURCES[criterion]
        )
        if found.empty or not math.isfinite(found["difference"].iloc[0]):
            return nothing._replace(reason=self._why_uncompared(method, metric, control))
        row = found.iloc[0]
        value, low, high, p, least = (
            float(row[key]) for key in ("difference", "low", "high", "p_corrected", "detectable")
        )
        shown = nothing._replace(value=value, low=low, high=high, p=p)
        if row["verdict"] in ("better", "worse"):
            return shown._replace(verdict=PASSED if row["verdict"] == "better" else FAILED)
        could = f"one of {least:.3g} would have been" if math.isfinite(least) else "how large one may be is not known"
        return shown._replace(reason=f"no difference shown; {could}")

    def _why_uncompared(self, method: str, metric: str, control: str) -> str:
        if metric not in self.measures:
            return f"the study did not measure {metric}; add the metric that gives it to evaluate.metrics"
        if control not in set(self.scores["method"]):
            return f"the study did not run the control {control}; add it to explain.methods"
        return self._why_undefined(method, metric) or "no image has a value of both"

    def _why_undefined(self, method: str, metric: str) -> str:
        """The most frequent reason of undefined values; empty where there is none."""
        rows = self.scores[(self.scores["method"] == method) & (self.scores["metric"] == metric)]
        missing = rows.loc[rows["value"].isna(), "reason"].value_counts()
        return "" if missing.empty else f"no value on {missing.sum()} of {len(rows)} images ({missing.index[0]})"

    def _estimated(self, method: str, criterion: str, metric: str, threshold: float, source: str) -> Atom:
        """Judge a method's mean of a check by its interval over patients."""
        rows = self.scores[(self.scores["method"] == method) & (self.scores["metric"] == metric)]
        defined, why = rows["value"].notna(), self._why_undefined(method, metric)
        nothing = Atom(method, criterion, NOT_SHOWN, metric, threshold=threshold, source=source)
        if not defined.any():
            return nothing._replace(reason=why or "the check was not run on this method")
        rng = generator(self.seed, "trust", method, metric)
        found = mean_interval(rows["value"], rows["patient"], rng, draws=self.draws, level=self.level)
        shown = nothing._replace(value=found.value, low=found.low, high=found.high)
        if not math.isfinite(found.low + found.high):
            return shown._replace(reason="the mean has no interval, as of a single patient")
        if defined.mean() < self.thresholds.defined:
            return shown._replace(reason=f"too few images to judge: {why}")
        verdict = judge(found.low, found.high, threshold, higher_is_better=self.measures[metric].higher_is_better)
        return shown._replace(verdict=verdict, reason=_reason(verdict, found.low, found.high, why))

    def _margins(self, method: str, criterion: str) -> Iterator[Atom]:
        start = CHECKED[criterion]
        margins = [name for name in self.measures if name.startswith(start) and name.endswith("_margin")]
        if not margins:
            yield _unchecked(method, criterion, SOURCES[criterion], criterion)
        for name in margins:
            yield self._estimated(method, criterion, name, self.thresholds.randomization_margin, SOURCES[criterion])

    def _stable(self, method: str) -> Iterator[Atom]:
        """Rank correlations under moves, and the change under noise; overlaps have no threshold of their own."""
        family = [name for name, measure in self.measures.items() if measure.family == "stability"]
        judged = [name for name in family if name == "max_sensitivity" or name.endswith("_consistency")]
        if not judged:
            yield _unchecked(method, "stable", STABLE["consistency"], "equivariance or max_sensitivity")
        for name in judged:
            limit = self.thresholds.max_sensitivity if name == "max_sensitivity" else self.thresholds.stability
            yield self._estimated(method, "stable", name, limit, STABLE.get(name, STABLE["consistency"]))

    def _faithful(self, method: str) -> Iterator[Atom]:
        judged = [name for name, measure in self.measures.items() if judges_faithfulness(name, measure)]
        if not judged:
            metrics = "evidence_curves, road or insertion_deletion"
            reason = f"the study measured no faithfulness; add {metrics} to evaluate.metrics"
            yield Atom(method, "faithful", NOT_SHOWN, reason=reason)
        for name in judged:
            origin = FAITHFUL.get(name.split("_")[0])
            source = f"{origin}; test against random: {CONVENTION}" if origin else CONVENTION
            yield self._against(method, "faithful", name, RANDOM, source)

    def _retrained(self, method: str, criterion: str) -> Atom:
        """Judge the likeness by two lines at once: the threshold, and the same between two different images."""
        kind, likeness, table = RETRAINED[criterion], self.thresholds.likeness, self.networks
        line = self.thresholds.repeatability if kind == "repeatability" else self.thresholds.reproducibility
        nothing = Atom(method, criterion, NOT_SHOWN, likeness, threshold=line, source=SOURCES[criterion])
        found = table[(table["method"] == method) & (table["kind"] == kind) & (table["measure"] == likeness)]
        if found.empty:
            change = "training.seed" if kind == "repeatability" else "model.architecture"
            todo = f"run the study with another {change} as OTHER, then medsaliency report RUN --with OTHER"
            return nothing._replace(reason=f"no such network was compared; {todo}")
        value, low, high, between = (float(found.iloc[0][key]) for key in ("value", "low", "high", "two_images"))
        shown, why = nothing._replace(value=value, low=low, high=high), ""
        if between > line:
            shown, why = shown._replace(threshold=between), "the threshold is the likeness of maps of two images"
        if not math.isfinite(low + high):
            return shown._replace(reason="the likeness has no interval, as of a single patient or of no image")
        verdict = judge(low, high, shown.threshold)
        if verdict == PASSED and not math.isfinite(between):
            return shown._replace(reason="there are no maps of two images to compare with")
        return shown._replace(verdict=verdict, reason=_reason(verdict, low, high, why))

    def _affordable(self, method: str) -> Atom:
        """Judge the seconds an image as they were measured: what one machine took has no interval over patients."""
        nothing = Atom(method, "affordable", NOT_SHOWN, "seconds", threshold=self.thresholds.seconds)
        rows = self.timings[(self.timings["kind"] == "method") & (self.timings["name"] == method)]
        images, seconds = float(rows["images"].sum()), float(rows["seconds"].sum(skipna=False))
        if not (images > 0 and math.isfinite(seconds)):
            return nothing._replace(reason="the time was not measured")
        each = seconds / images
        verdict: Verdict = PASSED if each <= nothing.threshold else FAILED
        return nothing._replace(verdict=verdict, value=each, reason="measured once, so without an interval")


def judges_faithfulness(name: str, measure: Measure) -> bool:
    """Tell whether a measure speaks to faithfulness on the card.

    Information curves count with WebP alone: on the axis of gray-level entropy most images are lost, and as published
    they do not tell methods from noise (``docs/explanation/metric-validity.md``).
    """
    if measure.family == "information":
        return name.endswith("_webp")
    return measure.family == "faithfulness" and name not in PARTS


def _unchecked(method: str, criterion: str, source: str, check: str) -> Atom:
    reason = f"the study did not run the check {check}; add it to evaluate.checks"
    return Atom(method, criterion, NOT_SHOWN, source=source, reason=reason)


def _no_width(low: float, high: float) -> bool:
    return math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12)  # equal but for rounding


def _reason(verdict: Verdict, low: float, high: float, more: str) -> str:
    nothing = "there is no spread, so the interval has no width" if _no_width(low, high) else ""
    held = [nothing or "the interval holds the threshold"] if verdict == NOT_SHOWN else []
    return "; ".join([*held, *([more] if more else [])])
