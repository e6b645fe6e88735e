"""Which metric can be trusted: does it tell the truth from noise, on networks and images where the truth is known?

Networks are trained on the sandbox and on breast ultrasound, several architectures and seeds. On images that they
classify right and whose lesion is known, every metric scores maps of known worth: the oracle (the lesion), the same
shape in a wrong place, random maps, and maps that look at the image and not at the model. For each measure the table
gives

- the AUROC with which one image's score tells the oracle from each of the others (0.5: not at all);
- the rank correlation, over methods, between an image's scores and the share of the map that lies on the lesion;
- the share of images left out;
- the reliability (ICC) of scores when the metric's own random choices are drawn anew.

Run, to go on where it stopped:

    python benchmarks/metric_validity.py --output runs/validity.json --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from medsaliency.attribution import make_method, sharing
from medsaliency.evaluation import METRICS, make_metric
from medsaliency.evaluation.evidence_curves import EvidenceCurves
from medsaliency.evaluation.metric import Metric
from medsaliency.model.probe import Probe
from medsaliency.statistics.reliability import auroc, icc
from medsaliency.types import Measure, generator
from validity_candidates import Candidates
from validity_cases import ARCHITECTURES, Case, make_case, misplaced, noise, oracle, stack
from validity_page import draw_reveals, draw_validity, write_page

CONTROLS = ("misplaced", "random", "smooth", "edge", "center_gaussian")
BLURRED = "blurred"
"""The map of the method ``gradient``, blurred: a metric that likes it better than the gradient likes what is smooth."""
METHODS = ("gradient", "integrated_gradients", "grad_cam", "layer_cam", "smoothgrad")
DIFFERENT: dict[str, dict[str, Any]] = {
    "published_curves": {"minimum": 0.0},  # the reference code's own minimum would leave out far more images
}
"""Parameters of metrics that are not the metric's own defaults."""
PLAIN = Measure("insertion_minus_deletion", True, (-1, 1), "Evidence without the map's other places")
REDRAWN = 20
"""Images whose scores are drawn anew for the reliability."""
BATCH = 20


def known_maps(case: Case) -> dict[str, Tensor]:
    """Maps of known worth, (N, H, W) each."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("oracle", "misplaced", "random", "smooth")}
    for sample in case.samples:
        assert sample.lesion is not None
        rng = generator(case.seed, sample.id, "known maps")
        shape = sample.lesion.shape
        found["oracle"].append(oracle(sample.lesion))
        found["misplaced"].append(misplaced(sample, rng))
        found["random"].append(noise(shape, rng))
        found["smooth"].append(noise(shape, rng, sigma=shape[0] / 20))
    return {name: torch.from_numpy(np.stack(maps)) for name, maps in found.items()}


def method_maps(case: Case, names: Sequence[str]) -> dict[str, Tensor]:
    """Maps of methods and controls, (N, H, W) each; those of a sign by their magnitude."""
    methods = {name: make_method(name) for name in names}
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for start in range(0, len(case.samples), BATCH):
        samples = case.samples[start : start + BATCH]
        probe = Probe(case.classifier, stack(samples), list(case.predicted[start : start + BATCH]))
        for name, method in sharing(methods).items():
            rngs = [generator(case.seed, s.id, name) for s in samples]
            parts[name].append(method(probe, rngs).float().cpu().abs())
    return {name: torch.cat(found) for name, found in parts.items()}


def score(case: Case, metric: Metric, maps: Mapping[str, Tensor], draw: int = 0, images: int | None = None) -> Any:
    """Values (measures, maps, images), NaN where undefined."""
    samples = case.samples[:images]
    found: dict[str, dict[str, list[float]]] = {m.name: {name: [] for name in maps} for m in measures(metric)}
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        probe = Probe(
            case.classifier,
            stack(part),
            list(case.predicted[start : start + len(part)]),
            [torch.from_numpy(sample.native_lesion) for sample in part],
            geometries=[sample.geometry for sample in part],
        )
        for name, saliency in maps.items():
            rngs = [generator(case.seed, s.id, str(draw), "metric") for s in part]
            scores = metric(probe, saliency[start : start + len(part)], rngs)
            for measure, own in scores.items():
                found[measure][name] += [s.value for s in own]
            if isinstance(metric, EvidenceCurves):
                both = zip(scores["insertion_gain"], scores["deletion_gain"], strict=True)
                found[PLAIN.name][name] += [float(np.mean(a.curve.y) - np.mean(b.curve.y)) for a, b in both]
    return {measure: {name: np.array(values) for name, values in own.items()} for measure, own in found.items()}


def measures(metric: Metric) -> tuple[Measure, ...]:
    """What a metric gives, and for evidence curves what they would give without other places."""
    return (*metric.measures, PLAIN) if isinstance(metric, EvidenceCurves) else metric.measures


def judge(case: Case, metric: Metric, known: Mapping[str, Tensor], methods: Mapping[str, Tensor]) -> dict[str, Any]:
    """The validity of each measure of a metric on one network."""
    begin = time.perf_counter()
    maps = {**known, **methods}
    values = score(case, metric, maps)
    took = time.perf_counter() - begin
    again = [values] + [score(case, metric, _few(maps), draw, REDRAWN) for draw in (1, 2)]
    on_lesion = {name: _share_on_lesion(case, saliency) for name, saliency in maps.items()}
    compared = [name for name in maps if name not in ("oracle", "misplaced")]
    rows = {}
    for measure in measures(metric):
        own = values[measure.name]
        sign = 1.0 if measure.higher_is_better else -1.0
        everywhere = np.concatenate(list(own.values()))
        redrawn = np.stack(
            [np.concatenate([run[measure.name][name][:REDRAWN] for name in _few(maps)]) for run in again], axis=1
        )
        rows[measure.name] = {
            **{f"against_{name}": auroc(sign * own["oracle"], sign * own[name]) for name in CONTROLS},
            **{f"wins_{name}": _wins(sign * own["oracle"], sign * own[name]) for name in CONTROLS},
            "smooth_over_white": auroc(sign * own["smooth"], sign * own["random"]),
            "blurred_over_own": _wins(sign * own[BLURRED], sign * own["gradient"]),
            "with_mass_on_lesion": _rank_correlation(
                np.stack([sign * own[name] for name in compared]), np.stack([on_lesion[name] for name in compared])
            ),
            "left_out": float(np.isnan(everywhere).mean()),
            "icc": icc(redrawn),
        }
    return {"measures": rows, "images": len(case.samples), "seconds_a_map": took / (len(case.samples) * len(maps))}


def _few(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: maps[name] for name in ("oracle", "random", "grad_cam")}


def _wins(a: np.ndarray, b: np.ndarray) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return float(((a > b) + 0.5 * (a == b))[both].mean()) if both.any() else float("nan")


def _share_on_lesion(case: Case, maps: Tensor) -> np.ndarray:
    """Share of each map's positive mass that lies on the lesion."""
    lesions = torch.from_numpy(np.stack([s.lesion for s in case.samples]))  # type: ignore[arg-type]
    mass = maps.clamp(min=0)
    return ((mass * lesions).sum(dim=(1, 2)) / mass.sum(dim=(1, 2)).clamp(min=1e-12)).numpy()


def _rank_correlation(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean over images of the rank correlation over methods of (methods, images) values."""
    found = [
        stats.spearmanr(scores[:, i], truth[:, i]).statistic
        for i in range(scores.shape[1])
        if np.isfinite(scores[:, i]).all() and np.ptp(scores[:, i]) > 0
    ]
    return float(np.mean(found)) if found else float("nan")


def main() -> None:
    """Judge all metrics on all networks, write after each, and make the tables of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["sandbox", "breast-ultrasound"])
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), help="and: candidates")
    parser.add_argument("--images", type=int, default=40, help="at most, of each set and network")
    parser.add_argument("--data", type=Path, help="folder that holds the sets")
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmarks/validity"), help="trained networks")
    parser.add_argument("--output", type=Path, default=Path("runs/validity.json"), help="JSON file, gone on with")
    parser.add_argument("--page", type=Path, help="Markdown file to write the tables to, figures beside it")
    arguments = parser.parse_args()
    found = json.loads(arguments.output.read_text()) if arguments.output.exists() else {"cases": {}}
    for seed in arguments.seeds:
        for architecture in arguments.architectures:
            for data in arguments.sets:
                _measure(arguments, found, data, architecture, seed)
    if arguments.page:
        write_page(found, arguments.page)
        draw_validity(found, arguments.page.with_suffix(".svg"))
        case = make_case("sandbox", "small_cnn", 0, root=arguments.data, cache=arguments.cache, images=1)
        draw_reveals(case, arguments.page.with_name(f"{arguments.page.stem}-reveals.png"))


def _measure(arguments: argparse.Namespace, found: dict[str, Any], data: str, architecture: str, seed: int) -> None:
    name = f"{data} {architecture} {seed}"
    row = found["cases"].setdefault(name, {"metrics": {}})
    missing = [metric for metric in arguments.metrics if metric not in row["metrics"]]
    if not missing:
        return
    case = make_case(data, architecture, seed, root=arguments.data, cache=arguments.cache, images=arguments.images)
    row["accuracy"] = case.accuracy
    known = known_maps(case)
    methods = method_maps(case, (*METHODS, "edge", "center_gaussian", BLURRED))
    for metric in missing:
        made = Candidates() if metric == "candidates" else make_metric(metric, DIFFERENT.get(metric, {}))
        row["metrics"][metric] = judge(case, made, known, methods)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")
        for measure, numbers in row["metrics"][metric]["measures"].items():
            shown = " ".join(f"{key.removeprefix('against_')} {value:.3f}" for key, value in numbers.items())
            print(f"{name}: {measure}: {shown}", flush=True)


if __name__ == "__main__":
    main()
