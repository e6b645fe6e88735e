"""A made-up study: numbers by hand, pictures of an oval head with one bright lesion."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medsaliency.report.contents import COLUMNS, Case, Contents, Inference, Strip
from medsaliency.report.html import render
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


@pytest.fixture(scope="session")
def rendered(contents: Contents) -> str:
    """The whole page of the study, made once for all who read it."""
    return render(contents)


def build() -> Contents:
    rng = np.random.default_rng(5)
    scores = score_rows(rng)
    return Contents(
        title="Brain MRI, ResNet-18",
        config={"seed": 5, "data": {"root": "/home/somebody/data/brain-mri", "size": 128}, "methods": list(METHODS)},
        provenance=provenance(),
        classes=CLASSES,
        measures={
            name: Measure(
                name,
                True,
                (0.0, 1.0),
                f"What {name} measures, in one line that a reader can follow.",
                "information" if "_" in name and name[:3] in ("aic", "sic") else "localization",
            )
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
        inference=inference_of(scores),
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


def inference_of(scores: pd.DataFrame) -> Inference:
    """Every table of a study's inference, of plain numbers in the right columns."""
    gaps = against_controls(scores)
    explained = [m for m in METHODS if m not in ("random", "edge")]
    pairs = [(one, other) for i, one in enumerate(METHODS) for other in METHODS[i + 1 :]]
    ranks = [
        (metric, m, 1.0 + sorted(METHODS, key=lambda n: -level(n, metric)).index(m))
        for metric in METRICS
        for m in METHODS
    ]
    pairwise = [
        (
            metric, one, other, 30, 60, gap, gap - 0.05, gap + 0.05, 0.001, 0.028, 0.6, 0.4, 0.8, 0.5, 0.3, 0.7, 0.8,
            verdict, 0.04,
        )
        for metric in METRICS
        for one, other in pairs
        for gap in [level(one, metric) - level(other, metric)]
        for verdict in ["not shown" if abs(gap) < 0.05 else "better" if gap > 0 else "worse"]
    ]  # fmt: skip
    rows = {
        "friedman": [(m, 8, 30, 61.3, 1e-9, 8e-9, 0.41, 1.92, "") for m in METRICS],
        "ranks": ranks,
        "pairwise": pairwise,
        "mixed_terms": [
            *(("lesion_auprc", term, 9.1, 2.0, 24.0, 0.01, 0.04, 60, 30, "") for term in ("method", "class")),
            ("lesion_auprc", "confidence", 0.3, 1.0, 24.0, 0.58, 1.0, 60, 30, ""),
            ("lesion_auprc", "lesion_place", *[math.nan] * 5, 60, 30, "it does not vary"),
        ],
        "mixed_coefficients": [("lesion_auprc", "confidence", "", 0.02, -0.05, 0.09, 0.58)],
        "metric_agreement": [
            (a, b, 0.7, 0.5, 0.4, 0.6, 6, 60, "") for i, a in enumerate(METRICS) for b in METRICS[i + 1 :]
        ],
        "concordance": [("information", 6, 6, 0.83, 0.001, ""), ("all", 8, 6, 0.55, 0.02, "")],
        "method_agreement": [(a, b, 0.3, 0.2, 0.4, 60) for a, b in pairs],
        "reliability": [(m, "seed", 3, 60, 0.93, 0.9, 0.95, "") for m in METRICS],
        "trust": [
            (m, criterion, verdict, measure, 0.3, 0.2, 0.4, 0.0, 0.01, "Adebayo et al. 2018", reason)
            for i, m in enumerate(explained)
            for criterion, verdict, measure, reason in (
                ("beats_random", "pass" if i % 2 else "not shown", "lesion_auprc", ""),
                ("parameter_randomization", "fail" if i == 0 else "pass", "cascading_ssim_margin", ""),
                ("repeatable", "not shown", "spearman", "no other run was given"),
                ("affordable", "pass", "seconds", ""),
            )
        ],
        "networks": [(m, "repeatability", "spearman", 60, 0.6, 0.5, 0.7, 0.2) for m in explained],
        "steps": [
            (m, "insertion_gain", 60, share, mean, mean - 0.05, mean + 0.05)
            for m in METHODS
            for share in (0.01, 0.1, 0.3)
            for mean in [level(m, "insertion_gain") * share**0.2]
        ],
        "shortcut_shares": [(m, 20, 0.4, 0.3, 0.5, 0.01) for m in METHODS],
    }  # fmt: skip
    tables = {name: pd.DataFrame(part, columns=COLUMNS[name].split()) for name, part in rows.items()}
    error = {"value": 0.061, "low": 0.03, "high": 0.102}
    calibration = {
        "temperature": 1.4, "images": 80, "log_loss_before": 0.41, "log_loss_after": 0.36, "error_before": error,
        "error_after": {"value": 0.032, "low": 0.02, "high": 0.07}, "reason": "",
    }  # fmt: skip
    shortcut = {
        "class": "meningioma", "images": 20, "area": 0.01,
        "accuracy_with": {"value": 0.95, "low": 0.9, "high": 0.98},
        "accuracy_without": {"value": 0.61, "low": 0.5, "high": 0.7},
        "drop": {"value": 0.34, "low": 0.25, "high": 0.43},
    }  # fmt: skip
    return Inference(**tables, against_controls=gaps, calibration=calibration, shortcut=shortcut)


def against_controls(scores: pd.DataFrame) -> pd.DataFrame:
    wide = scores.pivot(index="sample", columns=["metric", "method"], values="value")
    rows = []
    for control in ("random", "edge"):
        for method in (m for m in METHODS if m not in ("random", "edge")):
            for metric in METRICS:
                gap = wide[metric, method] - wide[metric, control]
                mean, low, high = spread(gap)
                wins = float((gap.dropna() > 0).mean()) if gap.notna().any() else math.nan
                verdict = "better" if low > 0 else "worse" if high < 0 else "not shown"
                p = 0.5 if verdict == "not shown" else 0.001
                images = int(gap.notna().sum())
                rows.append(
                    (metric, method, control, 1, images // 2, images, mean, low, high, p, p, verdict, wins, 0.03)
                )
    return pd.DataFrame(rows, columns=COLUMNS["against_controls"].split())


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


STRIPS = {"score_cam": "highest mean evidence", "random": "control"}


def strip(method: str, why: str, image: np.ndarray) -> Strip:
    shares = (0.01, 0.03, 0.1, 0.3)
    pictures = np.stack([image * share**0.3 for share in shares])[:, None].clip(0, 1).astype(np.float32)
    return Strip(method, why, shares, (0.2, 0.4, 0.7, 0.9), pictures)


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
        calibrated=(odds**0.7 / (odds**0.7).sum()).astype(np.float32),
        strips=[strip(name, why, image) for name, why in STRIPS.items()],
    )


@pytest.fixture(scope="session")
def without_lesions(contents: Contents) -> Contents:
    """The same study on images without masks: no value of any lesion measure."""
    scores = contents.scores.copy()
    lesion = scores["metric"].isin(["lesion_auprc", "pointing_game"])
    scores.loc[lesion, "value"] = math.nan
    scores.loc[lesion, "reason"] = "no lesion mask"
    cases = [replace(case, lesion=None) for case in contents.cases]
    return replace(contents, scores=scores, summary=summary_of(scores), inference=inference_of(scores), cases=cases)


@pytest.fixture(scope="session")
def informed(contents: Contents) -> Contents:
    """The same study with all that a run of this version records of itself."""
    known = dict(contents.provenance)
    known["code"], known["command"] = "c0de" * 16, "medsaliency study study.yaml --data-root FOLDER --output NEW_FOLDER"
    known["training"] = {
        "procedure": "AdamW; the weights of the epoch with the lowest validation loss are kept",
        "initial_weights": "random", "epochs": 15, "learning_rate": 0.002, "flip": True, "seed": 17,
    }  # fmt: skip
    counts = {
        "training": dict(zip(CLASSES, (1120, 560, 741), strict=True)),
        "evaluation": dict(zip(CLASSES, (45, 24, 31), strict=True)),
    }
    known["data"] = {
        **contents.provenance["data"],
        "counts": counts,
        "patients": {"training": 803, "evaluation": 41},
        "patients_known": True,
        "split": {
            "rule": "No named patient is in two splits.",
            "validation_if_carved": 0.15,
            "evaluation_if_carved": 0.2,
        },
        "fingerprint": "da7a" * 16,
        "explained": 60,
        "images_sha256": "1a9e" * 16,
    }
    known["model"] = {**contents.provenance["model"], "weights": "3e16" * 16}
    statistics = {"draws": 2000, "level": 0.95, "permutations": 10_000, "alpha": 0.05, "power": 0.8}
    trust = {"measure": "lesion_auprc", "randomization_margin": 0.0, "seconds": 10.0}
    config = {**contents.config, "statistics": statistics, "trust": trust}
    return replace(contents, provenance=known, config=config)
