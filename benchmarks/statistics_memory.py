"""What statistics cost as a study grows: seconds (of the clock, and of the processors, which other work does not slow
down), and memory at the peak, of each table by itself.

Scores, curves and predictions of a made-up study are put into memory, and each table of the statistics is made from
them in a process of its own. Memory is what the process held at its peak above what it held with the tables read;
``peak`` is all that it held, with the libraries.

Run, some minutes on two cores:

    python benchmarks/statistics_memory.py --images 1000 10000 --json runs/statistics_memory.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medsaliency.evaluation.lesion_overlap import THRESHOLDS
from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.statistics.calibration import calibration
from medsaliency.statistics.comparison import common_images, exclusions, summarize
from medsaliency.statistics.controls import against_controls
from medsaliency.statistics.curves import aggregate
from medsaliency.statistics.friedman import friedman
from medsaliency.statistics.metric_agreement import concordance, metric_agreement
from medsaliency.statistics.mixed_model import mixed_model
from medsaliency.statistics.pairwise import pairwise
from medsaliency.statistics.performance import performance
from medsaliency.statistics.reliability import reliability
from medsaliency.statistics.steps import steps
from medsaliency.statistics.trust import Thresholds, trust_card
from medsaliency.statistics.tuned_overlap import tuned_overlap
from medsaliency.study.cost import measured
from medsaliency.types import Family, Measure, generator

CONTROLS = ("random", "edge", "center_gaussian")
RANDOM_DRAWS = 5
METRICS: dict[str, Family] = {
    "evidence": "faithfulness",
    "insertion_gain": "faithfulness",
    "lesion_auprc": "localization",
    "lesion_iou": "localization",
    "sic_mean": "information",
    "max_sensitivity": "stability",
}
"""Measures of the made-up study; further ones are called ``measure_7`` and so on."""
CURVES: dict[str, Sequence[float]] = {
    "insertion_gain": (0.01, 0.03, 0.1, 0.3),
    "lesion_iou": THRESHOLDS,
    "sic_mean": tuple(np.linspace(0, 1, 26).tolist()),
}
CLASSES = ("healthy", "lesion", "other")
STATUS = Path("/proc/self/status")
SHOWN = ("seconds", "cpu", "mb", "peak_mb")
LIMIT = 600
"""Seconds after which a table is given up."""


@dataclass(frozen=True)
class Size:
    """How large the made-up study is."""

    images: int
    methods: int
    metrics: int


class Made:
    """The tables of a made-up study, of patients with one to three images each.

    Methods differ a little, images of a patient are alike, and every hundredth image lacks a measure's values.
    """

    def __init__(self, size: Size) -> None:
        rng = generator(0, "images", str(size.images))
        owner = np.repeat(np.arange(size.images), rng.integers(1, 4, size.images))[: size.images]
        labels = rng.integers(len(CLASSES), size=size.images)
        self.images = pd.DataFrame(
            {
                "sample": [f"image {number:06d}" for number in range(size.images)],
                "patient": [f"patient {number:06d}" for number in owner],
                "label": labels,
                "target": labels,
            }
        )
        self.methods = [*(f"method_{number}" for number in range(size.methods - len(CONTROLS))), *CONTROLS]
        more: dict[str, Family] = {f"measure_{number}": "other" for number in range(len(METRICS), size.metrics)}
        families = dict(list((METRICS | more).items())[: size.metrics])
        self.measures = {
            name: Measure(name, name != "max_sensitivity", (-10.0, 10.0), name, family)
            for name, family in families.items()
        }
        self.of_image = rng.normal(size=(size.images, size.metrics)) + rng.normal(size=(size.images, 1))[owner]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """As ``scores.parquet``."""
        table = self._scores("method", self.methods, 0.02 * (np.arange(len(self.methods)) % 5))
        return table.assign(reason=np.where(table["value"].isna(), "made undefined", ""))

    @cached_property
    def draws(self) -> pd.DataFrame:
        """As ``draws.parquet``: further random maps."""
        return self._scores("draw", list(range(RANDOM_DRAWS)), np.zeros(RANDOM_DRAWS)).assign(method="random")

    @cached_property
    def repeats(self) -> pd.DataFrame:
        """As ``repeats.parquet``: scores computed twice."""
        noise = generator(0, "repeats").normal(size=len(self.scores))
        again = self.scores.assign(value=self.scores["value"] + noise, repeat=1)
        return pd.concat([self.scores.assign(repeat=0), again], ignore_index=True)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """As ``curves.parquet``, with the label: lists of numbers in each row."""
        parts = []
        for name in [name for name in CURVES if name in self.measures]:
            x = np.array(CURVES[name])
            y = generator(0, "curves", name).uniform(size=(len(self.images) * len(self.methods), len(x)))
            rows = self._rows("method", self.methods, ["metric"], [name])
            parts.append(rows.assign(x=[x] * len(y), y=list(y)))
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """As ``predictions.parquet``."""
        labels = self.images["label"].to_numpy()
        powers = np.exp(generator(0, "logits").normal(size=(len(labels), len(CLASSES))))
        powers[np.arange(len(labels)), labels] *= 4
        shares = powers / powers.sum(axis=1, keepdims=True)
        return self.images.assign(predicted=shares.argmax(axis=1), **{f"p_{k}": own for k, own in enumerate(shares.T)})

    @cached_property
    def covariates(self) -> pd.DataFrame:
        """As of :func:`medsaliency.statistics.mixed_model.mixed_model`."""
        lesion = generator(0, "lesions").uniform(0.01, 0.2, (len(self.images), 2))
        lesion[self.images["label"] == 0] = np.nan
        told = self.predictions
        return told[["sample"]].assign(
            confidence=told.filter(regex="^p_").max(axis=1),
            correct=told["label"] == told["predicted"],
            lesion_size=lesion[:, 0],
            lesion_place=lesion[:, 1],
        )

    def _scores(self, axis: str, names: Sequence[object], shifts: np.ndarray) -> pd.DataFrame:
        values = generator(0, axis).normal(size=(len(self.images), len(names), len(self.measures)))
        values += self.of_image[:, None] + shifts[:, None]
        for place in range(len(self.measures)):
            values[place::100, :, place] = np.nan
        return self._rows(axis, names, ["metric"], list(self.measures)).assign(value=values.ravel())

    def _rows(self, axis: str, names: Sequence[object], other: list[str], others: list[str]) -> pd.DataFrame:
        """A row an image, a name of the first axis and one of the other, in that order."""
        each = pd.MultiIndex.from_product([names, others], names=[axis, *other]).to_frame(index=False)
        places = np.repeat(np.arange(len(self.images)), len(each))
        named = each.iloc[np.tile(np.arange(len(each)), len(self.images))].reset_index(drop=True)
        return pd.concat([self.images.iloc[places].reset_index(drop=True), named], axis=1)


SEED: dict[str, Any] = {"seed": 0}


def _agreement(made: Made) -> None:
    """As :func:`medsaliency.study.map_agreement.method_agreement` does with what it has read."""
    owners = made.images["patient"]
    for one, other in combinations(made.methods, 2):
        values = generator(0, "agreement", one, other).uniform(size=len(owners))
        mean_interval(values, owners, generator(0, "method agreement", one, other))


def _trust(made: Made) -> None:
    empty = pd.DataFrame(columns=["method", "metric", "control", "kind", "measure", "name", "images", "seconds"])
    given = {"against_controls": empty, "networks": empty, "timings": empty, "thresholds": Thresholds()}
    methods = [name for name in made.methods if name not in CONTROLS]
    trust_card(methods, scores=made.scores, measures=made.measures, **given, **SEED)


def _judged(made: Made) -> pd.DataFrame:
    return made.scores[made.scores["metric"] != "max_sensitivity"]


def _explained(made: Made) -> pd.DataFrame:
    return made.scores[~made.scores["method"].isin(CONTROLS)]


def _explanations(made: Made) -> list[str]:
    return [name for name in made.methods if name not in CONTROLS]


def _labels(made: Made) -> dict[str, int | None]:
    return dict(zip(made.images["sample"], made.images["label"], strict=True))


def _information(made: Made) -> pd.DataFrame:
    return made.curves[made.curves["metric"] == "sic_mean"]


def _modeled(made: Made) -> object:
    return mixed_model(_explained(made), made.covariates, ["evidence", "lesion_auprc"], classes=CLASSES)


PARTS: dict[str, tuple[Sequence[str], Callable[[Made], object]]] = {
    "nothing": (("scores", "curves"), lambda _: None),
    "performance": (("predictions",), lambda made: performance(made.predictions, CLASSES, **SEED)),
    "calibration": (
        ("predictions",),
        lambda made: calibration(made.predictions, made.predictions, CLASSES, **SEED),
    ),
    "summary": (("scores",), lambda made: summarize(made.scores, **SEED)),
    "exclusions": (("scores",), lambda made: exclusions(made.scores)),
    "common images": (("scores",), lambda made: common_images(made.scores)),
    "friedman": (("scores",), lambda made: friedman(_judged(made), made.measures, methods=_explanations(made))),
    "pairwise": (("scores",), lambda made: pairwise(_judged(made), made.measures, methods=_explanations(made), **SEED)),
    "controls": (
        ("scores", "draws"),
        lambda made: against_controls(_judged(made), made.draws, made.measures, CONTROLS, **SEED),
    ),
    "mixed models": (("scores", "covariates"), _modeled),
    "metric agreement": (("scores",), lambda made: metric_agreement(_explained(made), made.measures, **SEED)),
    "concordance": (("scores",), lambda made: concordance(_explained(made), made.measures, **SEED)),
    "method agreement": ((), _agreement),
    "reliability": (("repeats",), lambda made: reliability(made.repeats, source="seed", **SEED)),
    "trust": (("scores",), _trust),
    "steps": (("curves",), lambda made: steps(made.curves, ["insertion_gain"], **SEED)),
    "tuned overlap": (("curves",), lambda made: tuned_overlap(made.curves, _labels(made), **SEED)),
    "curves": (("curves",), lambda made: aggregate(_information(made), **SEED)),
}
"""Of each table, what is read for it and how it is made."""


def measure(part: str, size: Size) -> dict[str, Any]:
    """Make one table in this process, and return its seconds, and its memory and the whole peak in MB."""
    made = Made(size)
    needed, make = PARTS[part]
    for name in needed:
        getattr(made, name)
    begin = time.process_time()
    with measured(torch.device("cpu")) as cost:
        make(made)
    used = time.process_time() - begin
    whole = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    found = {"part": part, "images": size.images, "seconds": round(cost.seconds, 2), "cpu": round(used, 2)}
    return {**found, "mb": round((cost.peak_bytes or 0) / 1e6), "peak_mb": round(int(whole.split()[1]) * 1024 / 1e6)}


def in_process(part: str, size: Size) -> dict[str, Any]:
    """:func:`measure` in a process of its own; without numbers where it took longer than :data:`LIMIT`."""
    given = {"part": part, "images": size.images, "methods": size.methods, "metrics": size.metrics}
    command = [sys.executable, __file__, *(text for name, value in given.items() for text in (f"--{name}", str(value)))]
    try:
        # No shell, and our own command.
        found = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=LIMIT)  # noqa: S603  # nosec B603
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        return {"part": part, "images": size.images, "failed": type(error).__name__}
    return dict(json.loads(found.stdout))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every table at every size, each in its own process, and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--methods", type=int, default=9, help="with the controls %(default)s")
    parser.add_argument("--metrics", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    sizes = [Size(images, given.methods, given.metrics) for images in given.images]
    if given.part:
        print(json.dumps(measure(given.part, sizes[0])))
        return
    rows = []
    print(f"{'table':18}" + "".join(f"{size.images:>9,} images: s, CPU s, MB, peak" for size in sizes))
    for part in given.only:
        own = [in_process(part, size) for size in sizes]
        rows += own
        shown = (" ".join(f"{row.get(key, row.get('failed', ''))!s:>9}" for key in SHOWN) for row in own)
        print(f"{part:18}" + "".join(shown), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"methods": given.methods, "metrics": given.metrics, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
