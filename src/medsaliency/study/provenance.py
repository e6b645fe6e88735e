"""What a study's numbers rest on: versions, machine, code, data, model, and the parameters of everything that ran."""

from __future__ import annotations

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from medsaliency.attribution import make_method
from medsaliency.data.dataset import SPLITS, Dataset
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.checks import make_check
from medsaliency.model.checkpoint import fingerprint
from medsaliency.model.classifier import Classifier
from medsaliency.study.config import Study
from medsaliency.study.maps import ROUNDING
from medsaliency.types import FloatArray, MedsaliencyError

LIBRARIES = (
    *("torch", "timm", "numpy", "scipy", "pillow", "pandas", "numba", "scikit-image", "scikit-learn"),
    *("zarr", "matplotlib", "pydicom", "nibabel"),
)
PACKAGE = Path(__file__).parents[1]
GIVEN = "taken as given"
"""How a checkpoint was trained is not known here."""
PROCEDURE = "AdamW with a one-cycle learning rate; the weights of the epoch with the lowest validation loss are kept"
"""What :func:`medsaliency.model.training.train` does whatever its parameters."""
SPLITTING = (
    "No named patient is in two splits; an image that names none stands alone. A split that the source names is kept; "
    "a missing one is carved from training, patient by patient within each class."
)
"""What :func:`medsaliency.data.splits.split` does."""


def describe(
    study: Study,
    dataset: Dataset,
    classifier: Classifier,
    explained: Mapping[str, str],
    example: FloatArray,
    tuned: dict[str, Any] | None = None,
    permuted: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect the provenance of a study as plain data. It names no place on disk, no patient and no date.

    Args:
        study: Its configuration.
        dataset: Its images.
        classifier: Its model, as it runs.
        explained: SHA-256 of each explained image, by its id.
        example: One of them, (C, H, W) or (C, D, H, W), for the layer that CAM methods read.
        tuned: What a measurement of the model's speed found; None where there was none.
        permuted: What is known of the network trained on permuted labels; None where no check asks for one.
    """
    counts: dict[str, dict[str, int]] = {}
    patients: dict[str, int] = {}
    for name in SPLITS:
        found = Counter(dataset.classes[record.label] for record in dataset.of(name))
        counts[name] = {label: found[label] for label in dataset.classes}
        patients[name] = len({record.patient for record in dataset.of(name)})
    return {
        "medsaliency": version("medsaliency"),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "machine": _machine(classifier.device),
        "code": code_hash(),
        "command": command(study),
        "seed": study.seed,
        "data": {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "counts": counts,
            "patients": patients,
            "split": {
                "rule": SPLITTING,
                "validation_if_carved": study.data.validation,
                "evaluation_if_carved": study.data.evaluation,
            },
            "fingerprint": fingerprint_of(dataset),
            "explained": len(explained),
            "images_sha256": images_hash(explained),
            "patients_known": dataset.patients_known,
        },
        "model": {
            "architecture": classifier.name,
            "parameters": sum(p.numel() for p in classifier.module.parameters()),
            "target_layer": _target_layer(classifier, torch.from_numpy(example)[None]),
            "input_size": study.data.size if isinstance(study.data.size, int) else list(study.data.size),
            "channels": classifier.channels,
            "device": classifier.device.type,
            "execution": {**asdict(classifier.execution), "exact": study.explain.exact},
            "tuning": tuned,
            "weights": fingerprint(classifier.module),
        },
        "training": training(study),
        "maps": {"precision": study.explain.maps, "rounding": ROUNDING if study.explain.maps == "float16" else "none"},
        "methods": {n: repr(make_method(n, p)) for n, p in study.explain.methods.items()},
        "metrics": {n: repr(make_metric(n, p)) for n, p in study.evaluate.metrics.items()},
        "checks": {n: repr(make_check(n, p)) for n, p in study.evaluate.checks.items()},
        "permuted": permuted,
    }


def _target_layer(classifier: Classifier, example: torch.Tensor) -> str | None:
    """The layer that CAM methods read; None for a model without one, of which a CAM method would have said so."""
    try:
        return classifier.target_layer(example)
    except MedsaliencyError:
        return None


def training(study: Study) -> dict[str, Any] | str:
    """How the network was trained, its seed among it, as plain data; ``GIVEN`` for a checkpoint."""
    if study.model.checkpoint is not None:
        return GIVEN
    begin = "pretrained" if study.model.pretrained else "random"
    return {"procedure": PROCEDURE, "initial_weights": begin, **asdict(study.recipe)}


def command(study: Study) -> str:
    """The command that repeats the study from the ``study.yaml`` of its folder; places on disk are left to fill in."""
    parts = ["medsaliency study study.yaml"]
    if study.data.root is not None:
        parts.append("--data-root FOLDER")
    if study.model.checkpoint is not None:
        parts.append("--set model.checkpoint=CHECKPOINT")
    for name, parameters in study.evaluate.checks.items():
        if parameters.get("checkpoint") is not None:
            parts.append(f"--set evaluate.checks.{name}.checkpoint=CHECKPOINT")
    return " ".join([*parts, "--output NEW_FOLDER"])


def images_hash(digests: Mapping[str, str]) -> str:
    """SHA-256 over the ids of images and what is known of each one's content, in the order of the ids."""
    digest = hashlib.sha256()
    for name, known in sorted(digests.items()):
        digest.update(f"{name}\x1f{known}\n".encode())
    return digest.hexdigest()


@cache
def code_hash(package: Path = PACKAGE) -> str:
    """SHA-256 over the files of a package, the page of the report among them, by relative name and content.

    Computed once a process.
    """
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*") if path.is_file()}
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        if "__pycache__" not in name and not path.name.startswith("."):
            digest.update(f"{name}\x1f{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _machine(device: torch.device) -> str:
    """The kind of machine, never its name."""
    kind = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{kind}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else kind


def fingerprint_of(dataset: Dataset) -> str:
    """SHA-256 over the records' ids, labels, patients and splits."""
    digest = hashlib.sha256()
    for record in sorted(dataset.records, key=lambda r: r.id):
        digest.update("\x1f".join((record.id, str(record.label), record.patient, str(record.split))).encode() + b"\n")
    return digest.hexdigest()
