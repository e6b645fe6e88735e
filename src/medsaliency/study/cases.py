"""The images that a report shows one by one, chosen by rule, with what the model saw of them step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from medsaliency.attribution import CONTROLS
from medsaliency.evaluation.baselines import make_baseline
from medsaliency.evaluation.evidence_curves import EvidenceCurves
from medsaliency.report.contents import Case, Strip
from medsaliency.report.slices import cut
from medsaliency.report.wording import metric_label
from medsaliency.statistics.calibration import calibrate
from medsaliency.statistics.controls import RANDOM
from medsaliency.study.config import Study
from medsaliency.study.store import Store
from medsaliency.types import generator

STEPS = "insertion_gain"
"""The measure whose curve says what the model says of a class as a map shows it the image."""


def cases_of(store: Store, study: Study, most: int) -> list[Case]:
    """The cases of a run, ``most`` of them at most, and ``cases.csv``, which says which image each one is.

    A volume is cut to one slice, which the case names; controls have no say in which.
    """
    kept = store.maps()
    samples = kept.samples
    predictions = store.read_table("predictions.parquet").set_index("sample").loc[samples]
    scores = store.read_table("scores.parquet")
    targets = scores.drop_duplicates("sample").set_index("sample")["target"].to_dict()
    probabilities = predictions.filter(regex=r"^p_\d+$")
    temperature = store.read_json("statistics/calibration.json")["temperature"]
    strips = Strips(store, study)
    methods = [name for name in study.explain.methods if name not in CONTROLS] or None
    why = choose(predictions, *_ordering(study, scores, predictions), most, study.seed)
    cases: list[Case] = []
    for number, (name, reason) in enumerate(why.items(), 1):
        at = samples.index(name)
        own = probabilities.loc[name].to_numpy(dtype=np.float64)
        image = kept.image(at)
        maps = {method: kept.map(method, at) for method in study.explain.methods}
        case = Case(
            sample=f"Case {number}",
            why=reason,
            image=image,
            lesion=kept.lesion(at),
            label=int(predictions["label"].to_dict()[name]),
            target=int(targets[name]),
            probabilities=own.astype(np.float32),
            maps=maps,
            calibrated=None if temperature is None else calibrate(own[None], temperature)[0].astype(np.float32),
            strips=list(strips(name, image, maps)),
            marker=kept.marker(at),
        )
        cases.append(cut(case, methods))
    # Names of files can be names of patients: the report numbers its cases, and this table stays in the run's folder.
    store.write_csv("cases.csv", pd.DataFrame({"case": range(1, len(cases) + 1), "sample": list(why)}))
    return cases


def choose(predictions: pd.DataFrame, values: pd.Series[float], words: str, most: int, seed: int) -> dict[str, str]:
    """Choose images by rule: those of the highest, middle and lowest value, errors, and the rest at random.

    Of ``most`` images a sixth each, and at least one, have the highest, the middle and the lowest value, a quarter are
    errors, the most confident first; an image is not chosen twice.

    Args:
        predictions: Indexed by sample: label, predicted and p_0 ...
        values: By sample, NaN where unknown.
        words: What the value is, as in "highest mean evidence".
        most: Images at most.
        seed: Of what is left to chance.

    Returns:
        The rule by which each was chosen, in that order.
    """
    confidence = predictions.filter(regex=r"^p_\d+$").max(axis=1)
    wrong = predictions["label"] != predictions["predicted"]
    known = values.reindex(predictions.index).dropna().sort_values(kind="stable")
    errors = confidence[wrong].sort_values(ascending=False, kind="stable")
    middle = known.iloc[(known - known.median()).abs().argsort(kind="stable")]
    sixth, quarter = max(1, most // 6), max(1, most // 4)
    by_chance = sorted(predictions.index, key=lambda name: generator(seed, str(name), "case").random())
    groups: list[tuple[Sequence[Any], int, str]] = [
        (known.index[::-1].tolist(), sixth, f"highest {words}"),
        (middle.index.tolist(), sixth, f"closest to the median {words}"),
        (known.index.tolist(), sixth, f"lowest {words}"),
        (errors.index.tolist(), quarter, "error, the most confident first"),
        (by_chance, most, "chosen at random"),
    ]
    why: dict[str, str] = {}
    for names, many, reason in groups:
        left = [str(name) for name in names if name not in why]
        why.update(dict.fromkeys(left[: min(many, most - len(why))], reason))
    return why


def _ordering(study: Study, scores: pd.DataFrame, predictions: pd.DataFrame) -> tuple[pd.Series[float], str]:
    """The value by which images are ordered, and what it is: the primary measure, else the model's confidence."""
    own = scores[(scores["metric"] == study.thresholds.measure) & ~scores["method"].isin(CONTROLS)]
    values = own.groupby("sample")["value"].mean().dropna()
    if len(values):
        return values, f"{metric_label(study.thresholds.measure).lower()}, the mean over methods"
    return predictions.filter(regex=r"^p_\d+$").max(axis=1), "confidence"


class Strips:
    """What the model saw of an image as the maps of a few methods showed it, and what it said of the class.

    The methods are those of the highest and the lowest mean of the primary measure, and the control ``random``. A run
    without evidence curves has none.

    Args:
        store: The run.
        study: Its configuration.
    """

    def __init__(self, store: Store, study: Study) -> None:
        self.study = study
        self.metric: EvidenceCurves | None = None
        self.methods: Mapping[str, str] = {}
        if "evidence_curves" not in study.evaluate.metrics:
            return
        self.metric = EvidenceCurves(**study.evaluate.metrics["evidence_curves"])
        self.methods = _extremes(store, study)
        steps = store.read_table("curves.parquet", [("metric", "==", STEPS), ("method", "in", list(self.methods))])
        self.curves = {(row["sample"], row["method"]): row["y"] for _, row in steps.iterrows()}

    def __call__(self, sample: str, image: np.ndarray, maps: Mapping[str, np.ndarray]) -> Iterator[Strip]:
        """The strips of one image (C, H, W), or of a volume (C, D, H, W), from its maps."""
        if self.metric is None:
            return
        shown = torch.from_numpy(image)
        base = make_baseline(shown[None], self.metric.baseline, self.metric.sigma)[0]
        for method, why in self.methods.items():
            if (sample, method) not in self.curves:
                continue
            # The stream of the metric itself, so that the pixels are those that it showed.
            rng = generator(self.study.seed, sample, "evidence_curves")
            masks = self.metric.masks(maps[method], rng)[0]
            pictures = torch.where(masks[:, None], shown, base).numpy()
            scores = tuple(float(value) for value in self.curves[sample, method])
            yield Strip(method, why, self.metric.fractions, scores, pictures)


def _extremes(store: Store, study: Study) -> dict[str, str]:
    """The methods whose strips are shown, and why."""
    summary = store.read_table("statistics/summary.parquet")
    own = summary[(summary["metric"] == study.thresholds.measure) & ~summary["method"].isin(CONTROLS)]
    means = own.set_index("method")["mean"].dropna()
    label = metric_label(study.thresholds.measure).lower()
    found: dict[str, str] = {}
    if len(means):
        found[str(means.idxmax())] = f"highest mean {label}"
        found.setdefault(str(means.idxmin()), f"lowest mean {label}")
    if RANDOM in study.explain.methods:
        found[RANDOM] = "control"
    return found
