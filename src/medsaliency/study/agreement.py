"""How far finished runs agree: maps of the same images by networks of other weights.

Arun et al. 2021, doi:10.1148/ryai.2021200267, call the agreement of two trainings of one architecture repeatability,
and that of two architectures reproducibility.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.attribution import CONTROLS
from medsaliency.evaluation.agreement import agreement
from medsaliency.evaluation.check import mean_score
from medsaliency.evaluation.own_baseline import PAIRS as IMAGE_PAIRS
from medsaliency.report.wording import count
from medsaliency.statistics.bootstrap import mean_interval
from medsaliency.study.config import Study, saved_study
from medsaliency.study.maps import Maps
from medsaliency.study.store import Store
from medsaliency.types import BoolArray, FloatArray, MedsaliencyError, Score, Track, generator, silent

KINDS = ("repeatability", "reproducibility")
MEASURES = ("ssim", "spearman", "dice")


@dataclass(frozen=True, eq=False)
class Run:
    """What is compared of a finished run.

    Args:
        path: Its folder.
        study: Its configuration.
        provenance: What its numbers rest on.
        maps: Images (C, H, W), lesions (H, W) and maps (H, W); of volumes with D before H.
        places: Of the explained images in ``maps``, by their ids.
        patients: By the images' ids.
        explained: By the images' ids: the index of the class explained, and of the one it is contrasted with, if any.
    """

    path: Path
    study: Study
    provenance: dict[str, Any]
    maps: Maps
    places: dict[str, int]
    patients: dict[str, str]
    explained: dict[str, tuple[int, ...]]

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open the folder of a finished study.

        Raises:
            MedsaliencyError: If it is none.
        """
        store = Store.open(path)
        study, maps = saved_study(path), store.maps()
        names = maps.samples
        images = store.read_table("scores.parquet").drop_duplicates("sample").set_index("sample").loc[names]
        explained = [images["target"]]
        if study.explain.score == "contrast":
            probabilities = store.read_table("predictions.parquet").set_index("sample").loc[names].filter(regex="^p_")
            others = probabilities.to_numpy(copy=True)
            others[np.arange(len(names)), images["target"]] = -1
            explained.append(others.argmax(axis=1))
        return cls(
            path,
            study,
            store.read_json("provenance.json"),
            maps,
            places={name: place for place, name in enumerate(names)},
            patients=dict(zip(names, images["patient"], strict=True)),
            explained=dict(zip(names, zip(*explained, strict=True), strict=True)),
        )

    def image(self, image: str) -> FloatArray:
        """(C, H, W) or (C, D, H, W) in display range."""
        return self.maps.image(self.places[image])

    def magnitudes(self, method: str, image: str) -> FloatArray:
        """(H, W) or (D, H, W) absolute values of a map: the same picture with its sign turned has not changed."""
        return np.abs(self.maps.map(method, self.places[image]))

    def lesion(self, image: str) -> BoolArray | None:
        """(H, W) or (D, H, W) bool, or None where there is no mask."""
        return self.maps.lesion(self.places[image])

    def settings(self, methods: Iterable[str]) -> dict[str, Any]:
        """What runs must share for their maps to be compared, by name."""
        explain = self.study.explain
        own = {f"explain.methods.{name}": explain.methods[name] for name in methods}
        return {"the classes": self.provenance["data"]["classes"], "explain.score": explain.score, **own}


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """Open the folders of finished runs that can be compared.

    Raises:
        MedsaliencyError: If there are fewer than two, one is not finished, two have the same weights, they have no
            image or method in common, or differ in their classes, in what is explained, in the parameters of a method,
            or in an image or its lesion.
    """
    if len(paths) < 2:
        raise MedsaliencyError(f"expected two runs or more, got {len(paths)}; name another run of the same data")
    runs = [Run.open(path) for path in paths]
    for one, other in combinations(runs, 2):
        if one.provenance["model"]["weights"] == other.provenance["model"]["weights"]:
            raise MedsaliencyError(
                f"{other.path}: expected other weights than those of {one.path}, got the same; train the network anew "
                "with another training.seed"
            )
    first, methods, images = runs[0], shared_methods(runs), shared_images(runs)
    for shared, kind in ((images, "image"), (methods, "method")):
        if not shared:
            raise MedsaliencyError(
                f"{', '.join(str(run.path) for run in runs)}: expected at least one {kind} in common, got none; run "
                "studies that differ only in training.seed or model.architecture"
            )
    for other in runs[1:]:
        settings = other.settings(methods)
        for name, wanted in first.settings(methods).items():
            if settings[name] != wanted:
                raise MedsaliencyError(
                    f"{other.path}: expected {name} to be {wanted}, as in {first.path}, got {settings[name]}; run the "
                    "studies with the same settings"
                )
        for image in images:
            pairs: dict[str, list[np.ndarray]] = {"image": [run.image(image) for run in (first, other)]}
            pairs["lesion"] = [np.empty(0) if (mask := run.lesion(image)) is None else mask for run in (first, other)]
            for name, (wanted, got) in pairs.items():
                if not np.array_equal(wanted, got):
                    raise MedsaliencyError(
                        f"{other.path}: expected {name} {wanted.shape} of {image!r} as in {first.path}, got another "
                        f"{got.shape}; run the studies with the same data, data.size and seed"
                    )
    return runs


def shared_methods(runs: Sequence[Run]) -> list[str]:
    """Methods that every run has, in the order of the first; controls come last."""
    names = [name for name in runs[0].study.explain.methods if all(name in run.study.explain.methods for run in runs)]
    return sorted(names, key=lambda name: name in CONTROLS)


def shared_images(runs: Sequence[Run]) -> list[str]:
    """Ids of the images that every run has explained, in the order of the first."""
    return [image for image in runs[0].places if all(image in run.places for run in runs)]


def left_aside(runs: Sequence[Run]) -> list[str]:
    """What is not compared because not every run has it, a line each."""
    methods = sorted({name for run in runs for name in run.study.explain.methods}.difference(shared_methods(runs)))
    images = len({image for run in runs for image in run.places}.difference(shared_images(runs)))
    named = [", ".join(methods)] if methods else []
    return [f"not in every run, so not compared: {what}" for what in named + [count(images, "image")] * (images > 0)]


def compare_runs(runs: Sequence[Run], track: Track = silent) -> pd.DataFrame:
    """Agreement of the magnitudes of the runs' maps, by kind of pair, method and measure.

    An image's value is the mean over the pairs of runs of a kind. It has none where two of them explained different
    classes, or where two maps cannot be compared (see :mod:`medsaliency.evaluation.similarity`).

    Args:
        runs: As :func:`open_runs` gives them; the first one's study says how to bootstrap.
        track: Shows progress.

    Returns:
        Columns kind (``repeatability`` of one architecture, ``reproducibility`` of two), method, measure (``ssim`` and
        ``spearman`` in [-1, 1], ``dice`` in [0, 1]; higher agrees more), images (with a value), pairs (of runs), mean,
        low, high (interval over patients), between_images (the same measure between maps of two images by one network:
        the mean over up to 50 pairs of images, then over the runs of that kind), left_out (images without a value),
        reason (the most frequent; empty if none). What is undefined is NaN.
    """
    study, images, methods = runs[0].study, shared_images(runs), shared_methods(runs)
    patients = [runs[0].patients[image] for image in images]
    couples = _couples(images, study.seed)
    pairs: dict[str, list[tuple[Run, Run]]] = {kind: [] for kind in KINDS}
    for one, other in combinations(runs, 2):
        architectures = {run.provenance["model"]["architecture"] for run in (one, other)}
        pairs[KINDS[len(architectures) - 1]].append((one, other))
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind, own in pairs.items() if own}
    for method in track(methods, "comparing maps", len(methods)):
        between = {run: _between(run, method, couples) for run in runs}
        for kind, found in rows.items():
            by_image = [_agreement(pairs[kind], method, image) for image in images]
            yardstick = pd.DataFrame([between[run] for run in dict.fromkeys(chain(*pairs[kind]))]).mean()
            for measure in MEASURES:
                scores = [own[measure] for own in by_image]
                reasons = Counter(score.reason for score in scores if score.reason)
                mean = mean_interval(
                    [score.value for score in scores],
                    patients,
                    generator(study.seed, "agreement", kind, method, measure),
                    draws=study.statistics.draws,
                    level=study.statistics.level,
                )
                found.append(
                    {
                        "kind": kind,
                        "method": method,
                        "measure": measure,
                        "images": len(images) - reasons.total(),
                        "pairs": len(pairs[kind]),
                        "mean": mean.value,
                        "low": mean.low,
                        "high": mean.high,
                        "between_images": yardstick[measure],
                        "left_out": reasons.total(),
                        "reason": reasons.most_common(1)[0][0] if reasons else "",
                    }
                )
    return pd.DataFrame(chain(*rows.values()))


def _agreement(pairs: Sequence[tuple[Run, Run]], method: str, image: str) -> dict[str, Score]:
    """The means over pairs of runs, by measure."""
    if any(one.explained[image] != other.explained[image] for one, other in pairs):
        return dict.fromkeys(MEASURES, Score.undefined("different classes"))
    found = [
        agreement(one.magnitudes(method, image), other.magnitudes(method, image), one.lesion(image))
        for one, other in pairs
    ]
    return {measure: mean_score([scores[measure] for scores in found]) for measure in MEASURES}


def _between(run: Run, method: str, couples: Sequence[tuple[str, str]]) -> pd.Series[float]:
    """The yardstick of Arun et al., by measure: how alike one network's maps of two images are."""
    found = [
        agreement(run.magnitudes(method, one), run.magnitudes(method, other), run.lesion(one)) for one, other in couples
    ]
    return pd.DataFrame({measure: [scores[measure].value for scores in found] for measure in MEASURES}).mean()


def _couples(images: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """Different images, all pairs or 50 at random; ordered, because the first one's lesion says what Dice compares."""
    others = len(images) - 1
    pairs = len(images) * others
    drawn = generator(seed, "agreement", "images").choice(pairs, min(pairs, IMAGE_PAIRS), replace=False).tolist()
    places = [divmod(number, others) for number in drawn]
    return [(images[one], images[other + (other >= one)]) for one, other in places]
