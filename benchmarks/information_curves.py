"""Information curves: ours against PAIR's `saliency`, side by side in one process, on real images.

Both score the same maps of the same images by the accuracy and the softmax information curve. PAIR takes one image, one
map and one curve a call. Ours takes a batch, and one set of revealed images serves both curves and three measures of
information. Two of ours are timed: `published_curves`, whose areas must equal PAIR's, and `information_curves` with one
start image, the same measure with its accidents removed. Run:

    python benchmarks/information_curves.py --models resnet50 --output curves.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from saliency.metrics import pic
from torch import Tensor

from cases import Case, Settings, default_folders, make_case, open_data
from medsaliency.attribution import make_method
from medsaliency.evaluation.curve import FRACTIONS
from medsaliency.evaluation.information_curves import InformationCurves
from medsaliency.evaluation.metric import Metric, Scores
from medsaliency.evaluation.published_curves import PublishedCurves
from medsaliency.model.probe import Probe
from medsaliency.types import generator

METHODS = ("gradient", "grad_cam", "random")
KINDS = ("aic", "sic")
POOL = 60
"""Images of which those are measured that the published measure leaves out of neither curve, since there PAIR stops
before the work."""


def ours(metric: Metric, case: Case, maps: dict[str, Tensor]) -> tuple[float, dict[str, Scores]]:
    """Seconds an image, map and curve, and the scores; a new probe, so that nothing is left from before."""
    begin = time.perf_counter()
    probe = Probe(case.classifier, case.images, case.targets)
    scores = {name: metric(probe, saliency, _rngs(case)) for name, saliency in maps.items()}
    return (time.perf_counter() - begin) / (len(case.images) * len(maps) * len(KINDS)), scores


def pairs(case: Case, maps: dict[str, Tensor], images: int) -> tuple[float, dict[str, dict[str, list[float | None]]]]:
    """Seconds an image, map and curve of PAIR, one after the other, and its areas (None where it leaves one out)."""
    areas: dict[str, dict[str, list[float | None]]] = {name: {kind: [] for kind in KINDS} for name in maps}
    begin = time.perf_counter()
    for name, saliency in maps.items():
        for i in range(images):
            for kind in KINDS:
                areas[name][kind].append(_pair(case, i, saliency[i], kind))
    return (time.perf_counter() - begin) / (images * len(maps) * len(KINDS)), areas


def _pair(case: Case, i: int, saliency: Tensor, kind: str) -> float | None:
    image = (case.images[i].cpu().numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
    pixels = saliency.numel()
    start = np.zeros(pixels, dtype=bool)
    start[_rngs(case)[i].choice(pixels, size=int(pixels * 0.01), replace=False)] = True
    try:
        return float(
            pic.compute_pic_metric(
                img=image,
                saliency_map=saliency.numpy().astype(np.float64),
                random_mask=start.reshape(saliency.shape),
                pred_func=_predict(case, case.targets[i], kind),
                saliency_thresholds=list(FRACTIONS),
                min_pred_value=0.0,
            ).auc
        )
    except pic.ComputePicMetricError:
        return None


def _predict(case: Case, target: int, kind: str) -> Callable[[np.ndarray], np.ndarray]:
    def predict(images: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(np.divide(images.transpose(0, 3, 1, 2), 255, dtype=np.float32)).to(case.device)
        with torch.no_grad():
            probabilities = case.plain(given).softmax(dim=1).cpu().numpy()
        return probabilities[:, target] if kind == "sic" else (probabilities.argmax(axis=1) == target).astype(float)

    return predict


def _rngs(case: Case) -> list[np.random.Generator]:
    return [generator(0, name, "information_curves") for name in case.ids]


def scored(case: Case, images: int) -> Case:
    """The case with the first images of which both published curves have an area."""
    probe = Probe(case.classifier, case.images, case.targets)
    maps = torch.rand(case.images[:, 0].shape, generator=torch.Generator().manual_seed(0))
    found = PublishedCurves(fractions=(0.5,), minimum=0.0)(probe, maps, _rngs(case))
    wanted = [i for i in range(len(probe)) if all(not found[f"{kind}_webp_published"][i].reason for kind in KINDS)][
        :images
    ]
    assert wanted, "no image has both curves"
    return replace(
        case,
        images=case.images[wanted],
        ids=tuple(case.ids[i] for i in wanted),
        targets=[case.targets[i] for i in wanted],
    )


def compare(case: Case, repeats: int, peer_images: int) -> dict[str, Any]:
    """Time both in turns and compare areas."""
    probe = Probe(case.classifier, case.images, case.targets)
    # A tiny slope leaves PAIR no map with so many equal values that one step shows all, which it cannot encode.
    slope = torch.linspace(0, 1e-6, case.images[0, 0].numel()).reshape(case.images.shape[2:])
    maps = {}
    for name in METHODS:
        found = make_method(name)(probe, [generator(0, i, name) for i in case.ids]).cpu()
        maps[name] = found / found.abs().amax(dim=(1, 2), keepdim=True) + slope
    metrics: dict[str, Metric] = {
        "published_curves": PublishedCurves(minimum=0.0),
        "information_curves": InformationCurves(starts=1),
    }
    for metric in metrics.values():  # compiled, and the image library loaded, outside the timing
        metric(Probe(case.classifier, case.images[:1], case.targets[:1]), maps["random"][:1], _rngs(case)[:1])
    seconds: dict[str, list[float]] = {name: [] for name in (*metrics, "pair")}
    for _ in range(repeats):
        for name, metric in metrics.items():
            took, scores = ours(metric, case, maps)
            seconds[name].append(took)
            if name == "published_curves":
                published = scores
        took, areas = pairs(case, maps, peer_images)
        seconds["pair"].append(took)
    found = {name: median(values) for name, values in seconds.items()}
    differences = []
    unlike = 0
    for name in maps:
        for kind in KINDS:
            for mine, theirs in zip(published[name][f"{kind}_webp_published"], areas[name][kind], strict=False):
                unlike += (theirs is None) != bool(mine.reason)
                if theirs is not None and not mine.reason:
                    differences.append(abs(mine.value - theirs))
    return {
        "seconds": {name: round(value, 4) for name, value in found.items()},
        "ratio": {name: round(found["pair"] / found[name], 1) for name in metrics},
        "largest_difference": round(max(differences), 6) if differences else None,
        "areas_compared": len(differences),
        "left_out_by_one_alone": unlike,
        "images": len(case.images),
        "peer_images": peer_images,
        "maps": list(maps),
        "execution": repr(case.classifier.execution),
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet50"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--peer-images", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=224, help="pixels a side")
    parser.add_argument("--data", type=Path, nargs="+", help="folders of images")
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    settings = Settings(size=arguments.size, images=POOL)
    data = open_data(arguments.data or default_folders(), settings)
    setattr(np, "trapz", np.trapezoid)  # noqa: B010 - NumPy 2.4 has dropped the name that PAIR calls
    results = {}
    for name in arguments.models:
        case = scored(make_case(name, data, settings, arguments.cache), arguments.images)
        results[name] = compare(case, arguments.repeats, min(arguments.peer_images, arguments.images))
        print(name, json.dumps(results[name], indent=2), flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps({"size": arguments.size, "models": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
