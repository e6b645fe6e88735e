"""What a study's numbers rest on: versions, machine, data, model, and the parameters of everything that ran."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from medsaliency.attribution import make_method
from medsaliency.data.dataset import SPLITS, Dataset
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.checks import make_check
from medsaliency.model.checkpoint import fingerprint
from medsaliency.model.classifier import Classifier
from medsaliency.study.config import Study
from medsaliency.types import Sample

LIBRARIES = ("torch", "timm", "numpy", "scipy", "pillow", "pandas", "numba")


def describe(
    study: Study,
    dataset: Dataset,
    classifier: Classifier,
    explained: Sequence[Sample],
    tuned: dict[str, Any] | None = None,
    permuted: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect the provenance of a study as plain data. It names no place on disk and no patient.

    Args:
        study: Its configuration.
        dataset: Its images.
        classifier: Its model, as it runs.
        explained: The images explained.
        tuned: What a measurement of the model's speed found; None where there was none.
        permuted: What is known of the network trained on permuted labels; None where no check asks for one.
    """
    counts: dict[str, dict[str, int]] = {}
    for name in SPLITS:
        found = Counter(dataset.classes[record.label] for record in dataset.of(name))
        counts[name] = {label: found[label] for label in dataset.classes}
    example = torch.from_numpy(explained[0].image)[None]
    return {
        "medsaliency": version("medsaliency"),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "machine": _machine(classifier.device),
        "seed": study.seed,
        "data": {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "counts": counts,
            "fingerprint": _fingerprint(dataset),
            "explained": len(explained),
            "patients_known": any(record.patient != record.id for record in dataset.records),
        },
        "model": {
            "architecture": classifier.name,
            "parameters": sum(p.numel() for p in classifier.module.parameters()),
            "target_layer": classifier.target_layer(example),
            "input_size": study.data.size,
            "channels": classifier.channels,
            "device": classifier.device.type,
            "execution": {**asdict(classifier.execution), "exact": study.explain.exact},
            "tuning": tuned,
            "weights": fingerprint(classifier.module),
        },
        "methods": {n: repr(make_method(n, p)) for n, p in study.explain.methods.items()},
        "metrics": {n: repr(make_metric(n, p)) for n, p in study.evaluate.metrics.items()},
        "checks": {n: repr(make_check(n, p)) for n, p in study.evaluate.checks.items()},
        "permuted": permuted,
    }


def _machine(device: torch.device) -> str:
    """The kind of machine, never its name."""
    kind = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{kind}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else kind


def _fingerprint(dataset: Dataset) -> str:
    """SHA-256 over the records' ids, labels, patients and splits."""
    digest = hashlib.sha256()
    for record in sorted(dataset.records, key=lambda r: r.id):
        digest.update("\x1f".join((record.id, str(record.label), record.patient, str(record.split))).encode() + b"\n")
    return digest.hexdigest()
