"""A made-up study: numbers by hand, pictures of an oval head with one bright lesion."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medsaliency.report.contents import Case, Contents
from medsaliency.types import Measure

CLASSES = ("glioma", "meningioma", "pituitary")
METHODS = (
    "gradient", "smoothgrad", "integrated_gradients", "grad_cam", "grad_cam_plus_plus", "score_cam", "random", "edge",
)  # fmt: skip
METRICS = (
    *(f"{family}_{kind}" for family in ("aic", "sic") for kind in ("entropy", "webp", "mean")),
    "lesion_auprc",
    "pointing_game",
)
LEVELS = {
    "gradient": (0.55, 0.14), "smoothgrad": (0.60, 0.22), "integrated_gradients": (0.57, 0.17),
    "grad_cam": (0.61, 0.46), "grad_cam_plus_plus": (0.62, 0.44), "score_cam": (0.66, 0.51),
    "random": (0.60, 0.09), "edge": (0.54, 0.24),
}  # fmt: skip
IMAGES, SIDE, PATIENT = 60, 128, "PATIENT-4711"


def level(method: str, metric: str) -> float:
    curve, lesion = LEVELS[method]
    return lesion if metric == "lesion_auprc" else lesion + 0.15 if metric == "pointing_game" else curve


@pytest.fixture(scope="session")
def contents() -> Contents:
    return build()


def build() -> Contents:
    rng = np.random.default_rng(5)
    scores = score_rows(rng)
    return Contents(
        title="Brain MRI, ResNet-18",
        config={"seed": 5, "data": {"root": "/home/somebody/data/brain-mri", "size": 128}, "methods": list(METHODS)},
        provenance=provenance(),
        classes=CLASSES,
        measures={
            name: Measure(name, True, (0.0, 1.0), f"What {name} measures, in one line that a reader can follow.")
            for name in METRICS
        },
        controls=frozenset({"random", "edge"}),
        performance={
            "images": 100,
            "patients": 41,
            "accuracy": {"value": 0.906, "low": 0.841, "high": 0.952},
            "macro_f1": {"value": 0.889, "low": 0.82, "high": 0.941},
            "expected_calibration_error": {"value": 0.061, "low": 0.03, "high": 0.102},
            "auroc": {
                "glioma": {"value": 0.981, "low": 0.955, "high": 0.997},
                "meningioma": {"value": 0.942, "low": 0.88, "high": 0.981},
                "pituitary": {"value": math.nan, "low": math.nan, "high": math.nan},
            },
            "confusion": [[40, 4, 1], [3, 21, 0], [0, 1, 30]],
        },
        scores=scores,
        summary=summary_of(scores),
        against_random=differences_of(scores),
        exclusions=exclusions(),
        curves=curve_rows(),
        seconds=pd.DataFrame(
            [
                {"kind": "method", "name": m, "images": IMAGES, "seconds": 1.7 * i + 0.4, "peak_bytes": 3e7 * i}
                for i, m in enumerate(METHODS)
            ]
            + [{"kind": "metric", "name": m, "images": IMAGES, "seconds": 3.1, "peak_bytes": math.nan} for m in METRICS]
        ),
        cases=[case(number, rng) for number in range(5)],
    )


def provenance() -> dict[str, object]:
    counts = {
        "train": dict(zip(CLASSES, (1120, 560, 741), strict=True)),
        "test": dict(zip(CLASSES, (45, 24, 31), strict=True)),
    }
    return {
        "medsaliency": "0.1.0",
        "python": "3.12.4",
        "torch": "2.9.0",
        "machine": "Linux x86_64, 2 cores, no GPU",
        "methods": {m: f"{m.title().replace('_', '')}(samples=25, noise=0.15)" for m in METHODS}
        | {"edge": "Edge(template='/home/somebody/cache/edge.npy')"},
        "metrics": {m: f"InformationCurve(fractions=(0.01, 0.05, 0.13, 0.5), measure='{m}')" for m in METRICS},
        "data": {"name": "brain-mri", "classes": list(CLASSES), "counts": counts},
        "model": {
            "architecture": "resnet18", "parameters": 11_178_051, "target_layer": "layer4", "input_size": [128, 128],
            "channels": 1,
        },
        "seconds": {"explain": 41.2, "evaluate": 63.9},
        "seed": 5,
    }  # fmt: skip


def score_rows(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for image in range(IMAGES):
        shift = rng.normal(0, 0.12)
        for method in METHODS:
            for metric in METRICS:
                lost = (metric.startswith("aic") and image % 2 == 0) or (metric.startswith("sic") and image % 5 == 0)
                value = math.nan if lost else float(np.clip(level(method, metric) + shift + rng.normal(0, 0.06), 0, 1))
                rows.append(
                    {
                        "sample": f"case-{image:03d}",
                        "patient": f"{PATIENT}-{image // 2}",
                        "label": image % 3,
                        "target": image % 3,
                        "method": method,
                        "metric": metric,
                        "value": value,
                        "reason": "the blurred image scores no lower than the original" if lost else "",
                    }
                )
    return pd.DataFrame(rows)


def spread(values: pd.Series) -> tuple[float, float, float]:
    known = values.dropna()
    mean, half = float(known.mean()), 1.96 * float(known.std()) / math.sqrt(max(len(known), 1))
    return mean, mean - half, mean + half


def summary_of(scores: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (method, metric), part in scores.groupby(["method", "metric"], sort=False):
        mean, low, high = spread(part["value"])
        lost = int(part["value"].isna().sum())
        row = {"method": method, "metric": metric, "images": len(part) - lost, "undefined": lost}
        rows.append({**row, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def differences_of(scores: pd.DataFrame) -> pd.DataFrame:
    wide = scores.pivot(index="sample", columns=["metric", "method"], values="value")
    rows = []
    for method in METHODS:
        for metric in METRICS if method != "random" else ():
            gap = wide[metric, method] - wide[metric, "random"]
            mean, low, high = spread(gap)
            wins = float((gap.dropna() > 0).mean()) if gap.notna().any() else math.nan
            row = {"method": method, "metric": metric, "images": int(gap.notna().sum()), "difference": mean}
            rows.append({**row, "low": low, "high": high, "wins": wins})
    return pd.DataFrame(rows)


def exclusions() -> pd.DataFrame:
    reason = "the blurred image scores no lower than the original"
    return pd.DataFrame(
        [
            {
                "metric": metric,
                "label": label,
                "reason": reason,
                "images": 10 if metric.startswith("aic") else 4,
                "of": 20,
            }
            for metric in METRICS[:6]
            for label in range(3)
        ]
    )


def curve_rows() -> pd.DataFrame:
    x = np.linspace(0, 1, 1000)
    rows = []
    for method in METHODS:
        for metric in METRICS[:6]:
            mean = 1 - (1 - x) ** (level(method, metric) / (1.001 - level(method, metric)))
            median = mean**1.15
            rows.append(
                {
                    "method": method,
                    "metric": metric,
                    "images": 30 if metric.startswith("aic") else 48,
                    "x": x.tolist(),
                    "mean": mean.tolist(),
                    "median": median.tolist(),
                    "low": (mean - 0.04).tolist(),
                    "high": (mean + 0.04).tolist(),
                    "auc_mean": float(mean.mean()),
                    "auc_median": float(median.mean()),
                }
            )
    return pd.DataFrame(rows)


def case(number: int, rng: np.random.Generator) -> Case:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    head = ((x - 0.5) / 0.36) ** 2 + ((y - 0.5) / 0.44) ** 2
    center = 0.35 + 0.3 * rng.random(2)
    blob = np.exp(-(((x - center[0]) / 0.07) ** 2 + ((y - center[1]) / 0.09) ** 2))
    texture = 0.12 * np.sin(25 * x + number) * np.sin(21 * y) + 0.03 * rng.standard_normal((SIDE, SIDE))
    image = np.where(head < 1, 0.38 + texture + 0.4 * blob, 0.02)
    image[(head > 1) & (head < 1.12)] = 0.75
    gradient = blob * rng.standard_normal((SIDE, SIDE)) + 0.2 * rng.standard_normal((SIDE, SIDE)) * (head < 1)
    wide = np.exp(-(((x - center[0]) / 0.2) ** 2 + ((y - center[1]) / 0.22) ** 2))
    edges = np.abs(np.gradient(image)[0]) + np.abs(np.gradient(image)[1])
    maps = {
        "gradient": np.abs(gradient), "smoothgrad": blob + 0.1 * np.abs(gradient), "integrated_gradients": gradient,
        "grad_cam": wide, "grad_cam_plus_plus": wide**1.3, "score_cam": wide**0.7,
        "random": rng.random((SIDE, SIDE)), "edge": edges,
    }  # fmt: skip
    odds = rng.dirichlet((4, 2, 1))
    return Case(
        sample=f"case-{number:03d}",
        why=("most confident correct answer", "least confident error", "largest disagreement of methods")[number % 3],
        image=np.clip(image, 0, 1)[None].astype(np.float32),
        lesion=None if number == 4 else blob > 0.4,
        label=number % 3,
        target=int(odds.argmax()),
        probabilities=odds.astype(np.float32),
        maps={name: values.astype(np.float32) for name, values in maps.items()},
    )


@pytest.fixture(scope="session")
def without_lesions(contents: Contents) -> Contents:
    """The same study on images without masks: no value of any lesion measure."""
    scores = contents.scores.copy()
    lesion = scores["metric"].isin(["lesion_auprc", "pointing_game"])
    scores.loc[lesion, "value"] = math.nan
    scores.loc[lesion, "reason"] = "no lesion mask"
    cases = [replace(case, lesion=None) for case in contents.cases]
    return replace(
        contents, scores=scores, summary=summary_of(scores), against_random=differences_of(scores), cases=cases
    )
