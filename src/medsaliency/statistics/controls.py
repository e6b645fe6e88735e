"""Each method against the controls: does it do better than a map that knows nothing of the model?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.statistics.bootstrap import Floats, mean_limits
from medsaliency.statistics.comparison import common_images
from medsaliency.statistics.detectable import detectable, permutation_critical
from medsaliency.statistics.step_down import Corrected, Exchangeable, step_down
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
    permutations: int = 50_000,
    alpha: float = 0.05,
    power: float = 0.8,
    families: int = FAMILIES,
) -> pd.DataFrame:
    """Compare every method that is not a control with every control, on patients' means.

    The signs of the patients' differences are permuted, and against many draws of the random map also which of a
    patient's values is the method's: see :func:`permutation_tests`, and :mod:`medsaliency.statistics.step_down` for the
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
        permutations: Of patients, at least; more are made where :func:`~medsaliency.statistics.step_down.needed` says
            that these are too few for so many tests.
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
    for each, own in zip(found, tests, strict=True):
        sign = 1.0 if measures[each.metric].higher_is_better else -1.0
        names = ("controls", each.control, each.metric)
        mean, low, high = mean_limits(each.images, each.owner, generator(seed, *names), draws=draws, level=level)
        differences = each.differences
        verdict = verdicts(sign * differences.mean(axis=0), sign * mean, own.p_corrected, alpha)
        critical = permutation_critical(len(each.patients), own.critical)
        least = [
            detectable(difference, critical, generator(seed, *names, "detectable"), scores="values", power=power)
            if word == "not shown"
            else float("nan")
            for difference, word in zip(differences.T, verdict, strict=True)
        ]
        columns: dict[str, Any] = {"metric": each.metric, "method": each.methods, "control": each.control}
        columns |= {"draws": each.draws.shape[1], "patients": len(each.patients), "images": len(each.owner)}
        columns |= {"difference": mean, "low": low, "high": high, "p": own.p, "p_corrected": own.p_corrected}
        columns |= {"verdict": verdict, "superiority": each.superiority(sign), "detectable": least}
        parts.append(pd.DataFrame(columns, columns=COLUMNS))
    return pd.concat(parts, ignore_index=True)


def permutation_tests(
    found: list[Comparison], *, seed: int, permutations: int, alpha: float, families: int = 1
) -> list[Corrected]:
    """Of each comparison its methods' tests, corrected over all comparisons and for ``families``.

    All are tested twice, and of each the larger p-value counts.

    - The signs of patients' differences are permuted. That is right if differences are symmetric, whatever their
      spread.
    - Against many draws it is permuted which value is the method's; against one map, signs. That is right if a
      method's values are distributed as the control's are, symmetric or not.

    So it is enough if either is right. The first alone errs where scores are skew, as is their difference to a mean of
    draws. The second alone errs where a method's scores vary more among patients than those of random maps do: permuted
    choices are mostly draws, which are too alike, and equal means would far too often be said to differ.
    """
    patients = sorted({name for each in found for name in each.patients})
    places = [np.searchsorted(patients, each.patients) for each in found]
    sizes = [len(each.methods) for each in found]
    signs = [_placed(each.differences, own, len(patients)) for each, own in zip(found, places, strict=True)]
    how: dict[str, Any] = {"permutations": permutations, "alpha": alpha / families}
    result = step_down([Exchangeable.sign_flips(np.hstack(signs))], generator(seed, "controls", "signs"), **how)
    worst, critical = np.array([result.p, result.p_corrected]), result.critical
    if any(each.draws.shape[1] > 1 for each in found):
        blocks, cells = _among_draws(found, places, signs)
        result = step_down(blocks, generator(seed, "controls", "draws"), **how)
        worst[:, cells] = np.maximum(worst[:, cells], [result.p, result.p_corrected])
        critical = min(critical, result.critical)
    worst[1] = (families * worst[1]).clip(max=1)
    return [Corrected(p, corrected, critical) for p, corrected in np.split(worst, np.cumsum(sizes)[:-1], axis=1)]


def _among_draws(
    found: list[Comparison], places: list[np.ndarray], signs: list[Floats]
) -> tuple[list[Exchangeable], list[int]]:
    """What is permuted together, and the place of each hypothesis among all. Those of one map share their signs.

    Those of one method against many draws share their choices over metrics, and not with other methods: to take the
    same draw for several methods would make their statistics nearly equal, as those of different methods are not, and
    the smallest of their p-values too large (with ten unrelated methods, more than one study in ten said something
    false).
    """
    starts = np.cumsum([0, *(len(each.methods) for each in found)])
    blocks: list[Exchangeable] = []
    cells: list[int] = []
    single = [i for i, each in enumerate(found) if each.draws.shape[1] == 1]
    if single:
        blocks.append(Exchangeable.sign_flips(np.hstack([signs[i] for i in single])))
        cells += [int(starts[i]) + m for i in single for m in range(len(found[i].methods))]
    for count in sorted({each.draws.shape[1] for each in found} - {1}):
        many = [i for i, each in enumerate(found) if each.draws.shape[1] == count]
        for method in dict.fromkeys(name for i in many for name in found[i].methods):
            own = [(i, found[i].methods.index(method)) for i in many if method in found[i].methods]
            values = [_placed(found[i].among_draws(m), places[i], len(signs[i])) for i, m in own]
            blocks.append(Exchangeable(np.stack(values, axis=2)))
            cells += [int(starts[i]) + m for i, m in own]
    return blocks, cells


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
