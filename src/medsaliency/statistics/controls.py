"""Each method against the controls: does it do better than a map that knows nothing of the model?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import Floats, mean_limits
from medsaliency.statistics.comparison import common_images
from medsaliency.statistics.detectable import detectable
from medsaliency.statistics.max_t import Block, OneAmongDraws, SignFlips, step_down
from medsaliency.statistics.ties import tie_decimals
from medsaliency.statistics.verdict import FAMILIES, verdicts
from medsaliency.types import Measure, generator

RANDOM = "random"
"""The control of which there are many draws."""
COLUMNS = [
    *("metric", "method", "control", "draws", "patients", "images", "difference", "low", "high"),
    *("p", "p_corrected", "verdict", "superiority", "detectable"),
]


@dataclass(frozen=True)
class Comparison:
    """The methods and one control on one metric.

    Args:
        metric: Name.
        control: Name.
        methods: Names (M,).
        patients: Names (P,), sorted.
        owner: (n,) each image's patient.
        images: (n, M) value of each method less the mean of the control's draws.
        own: (P, M) patient means of the methods.
        draws: (P, R) patient means of the control's draws.
        decimals: To which differences are rounded, so that ties are ties.
    """

    metric: str
    control: str
    methods: list[str]
    patients: list[str]
    owner: list[str]
    images: Floats
    own: Floats
    draws: Floats
    decimals: int

    @property
    def differences(self) -> Floats:
        """Of each patient (P, M), to the mean of the draws."""
        return np.asarray(np.round(self.own - self.draws.mean(axis=1, keepdims=True), self.decimals))

    def among_draws(self, method: int) -> Floats:
        """Of the method and of each draw to the mean of all others, (P, R + 1)."""
        values = np.concatenate([self.own[:, [method]], self.draws], axis=1)
        count = values.shape[1]
        away = (values - values.mean(axis=1, keepdims=True)) * count / (count - 1)
        return np.asarray(np.round(away, self.decimals))

    def superiority(self, sign: float) -> Floats:
        """Share of patients and draws on which the method is better, ties half: (M,)."""
        gain = np.round(sign * (self.own[:, :, None] - self.draws[:, None, :]), self.decimals)
        return np.asarray(((np.sign(gain) + 1) / 2).mean(axis=(0, 2)))


def against_controls(
    scores: pd.DataFrame,
    draws_table: pd.DataFrame,
    measures: Mapping[str, Measure],
    controls: Collection[str],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
    permutations: int = 10000,
    alpha: float = 0.05,
    power: float = 0.8,
    families: int = FAMILIES,
) -> pd.DataFrame:
    """Compare every method that is not a control with every control, on patients' means.

    Against one map of a control, the signs of the patients' differences are permuted. Against many draws of the random
    map it is permuted which of a patient's values is the method's. See :mod:`medsaliency.statistics.max_t` for the
    statistic and for the correction, which is over all methods, metrics and controls.

    Args:
        scores: Columns sample, patient, method, metric, value; the controls among the methods.
        draws_table: Columns sample, patient, metric, draw, value: scores of several independent random maps an image.
            For a metric that it has, ``random`` is these draws, on the images where all have a value. Where there is no
            such image, ``random`` is the one map in ``scores``.
        measures: The direction of each metric.
        controls: Names of methods that are controls.
        seed: Of permutations and intervals.
        draws: Bootstrap samples.
        level: Coverage of the intervals.
        permutations: Of patients; 10,000 take about 2 s for 20 methods, 20 metrics and 4 controls.
        alpha: Level of the verdicts.
        power: With which ``detectable`` would have been shown.
        families: Tables of tests that share the error ``alpha``; 1 where pairs of methods are not compared.

    Returns:
        One row a metric, method and control that have images in common.

        - metric, method, control, draws (of the control's map, an image), patients, images;
        - difference (method less control, mean over images, in the metric's units), low, high (over patients);
        - p (of this comparison by itself, two-sided), p_corrected;
        - verdict: ``better``, ``worse`` or ``not shown``, of the method, in the metric's direction;
        - superiority: share of patients, and of draws, on which the method is better, ties half;
        - detectable: the smallest absolute difference that this sample would have shown; NaN where it cannot be said,
          or where a difference was shown.
    """
    order = [str(name) for name in scores["method"].unique()]
    methods = [name for name in order if name not in controls]
    found = list(_comparisons(common_images(scores), draws_table, methods, [n for n in order if n in controls]))
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    tests = permutation_tests(found, seed=seed, permutations=permutations, alpha=alpha, families=families)
    parts = []
    for each, (p, corrected) in zip(found, tests.each, strict=True):
        sign = 1.0 if measures[each.metric].higher_is_better else -1.0
        names = ("controls", each.control, each.metric)
        mean, low, high = mean_limits(each.images, each.owner, generator(seed, *names), draws=draws, level=level)
        differences = each.differences
        verdict = verdicts(sign * differences.mean(axis=0), sign * mean, corrected, alpha)
        critical = np.full(len(each.patients) + 1, tests.critical)
        least = [
            detectable(own, critical, generator(seed, *names, "detectable"), scores="values", power=power)
            if word == "not shown"
            else float("nan")
            for own, word in zip(differences.T, verdict, strict=True)
        ]
        columns: dict[str, Any] = {"metric": each.metric, "method": each.methods, "control": each.control}
        columns |= {"draws": each.draws.shape[1], "patients": len(each.patients), "images": len(each.owner)}
        columns |= {"difference": mean, "low": low, "high": high, "p": p, "p_corrected": corrected}
        columns |= {"verdict": verdict, "superiority": each.superiority(sign), "detectable": least}
        parts.append(pd.DataFrame(columns, columns=COLUMNS))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Tests:
    """For each comparison its p-values and corrected p-values, (M,) each; and what the statistic must reach."""

    each: list[tuple[Floats, Floats]]
    critical: float


def permutation_tests(
    found: list[Comparison], *, seed: int, permutations: int, alpha: float, families: int = 1
) -> Tests:
    """All tests, corrected over all. Those against one map share their signs.

    Those of one method against many draws share their choices over metrics, and not with other methods: to take the
    same draw for several methods would make their statistics nearly equal, as those of different methods are not, and
    the largest of them too small (with ten unrelated methods, more than one study in ten said something false).
    """
    patients = sorted({name for each in found for name in each.patients})
    places = [np.searchsorted(patients, each.patients) for each in found]
    blocks: list[Block] = []
    cells: list[tuple[int, int]] = []  # comparison and method of each hypothesis, in the order of the blocks
    single = [i for i, each in enumerate(found) if each.draws.shape[1] == 1]
    if single:
        blocks.append(SignFlips(np.hstack([_placed(found[i].differences, places[i], len(patients)) for i in single])))
        cells += [(i, m) for i in single for m in range(len(found[i].methods))]
    for count in sorted({each.draws.shape[1] for each in found} - {1}):
        many = [i for i, each in enumerate(found) if each.draws.shape[1] == count]
        for method in dict.fromkeys(name for i in many for name in found[i].methods):
            own = [(i, found[i].methods.index(method)) for i in many if method in found[i].methods]
            values = [_placed(found[i].among_draws(m), places[i], len(patients)) for i, m in own]
            blocks.append(OneAmongDraws(np.stack(values, axis=2)))
            cells += own
    result = step_down(blocks, generator(seed, "controls"), permutations=permutations, alpha=alpha / families)
    each = [(np.full(len(part.methods), np.nan), np.full(len(part.methods), np.nan)) for part in found]
    for (i, m), p, corrected in zip(cells, result.p, result.p_corrected, strict=True):
        each[i][0][m], each[i][1][m] = p, min(1.0, families * corrected)
    return Tests(each, result.critical)


def _placed(values: Floats, places: np.ndarray, patients: int) -> Floats:
    """Rows of ``values`` at the places of their patients among all, NaN elsewhere."""
    result = np.full((patients, values.shape[1]), np.nan)
    result[places] = values
    return result


def _comparisons(
    common: pd.DataFrame, draws_table: pd.DataFrame, methods: list[str], controls: list[str]
) -> Iterator[Comparison]:
    """Every metric with every control, in the order of ``common`` and of ``controls``."""
    for metric, group in common.groupby("metric", sort=False):
        table = group.pivot(index="sample", columns="method", values="value").sort_index()
        patients = group.drop_duplicates("sample").set_index("sample")["patient"].astype(str)
        present = [name for name in methods if name in table]
        several = draws_table[draws_table["metric"] == metric] if len(draws_table) else draws_table
        for control in controls:
            drawn = table[[name for name in (control,) if name in table]]
            if control == RANDOM and len(several):
                whole = several.pivot(index="sample", columns="draw", values="value").dropna()
                drawn = drawn if table.index.intersection(whole.index).empty else whole
            samples = table.index.intersection(drawn.index)
            if present and drawn.shape[1] and len(samples):
                own, drawn = table.loc[samples, present], drawn.loc[samples]
                yield _comparison(str(metric), control, own, drawn, patients.loc[samples])


def _comparison(
    metric: str, control: str, own: pd.DataFrame, drawn: pd.DataFrame, patients: pd.Series[str]
) -> Comparison:
    means, control_means = own.groupby(patients).mean(), drawn.groupby(patients).mean()
    values, other = own.to_numpy(dtype=np.float64), drawn.to_numpy(dtype=np.float64)
    return Comparison(
        metric=metric,
        control=control,
        methods=[str(name) for name in own.columns],
        patients=[str(name) for name in means.index],
        owner=patients.tolist(),
        images=values - other.mean(axis=1, keepdims=True),
        own=means.to_numpy(dtype=np.float64),
        draws=control_means.to_numpy(dtype=np.float64),
        decimals=tie_decimals(np.concatenate([values, other], axis=1)),
    )
