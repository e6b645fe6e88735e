"""What the section Record shows: data, model, parameters, versions, hashes and checklists, free of folders."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medsaliency.report import checklists
from medsaliency.report.contents import Contents
from medsaliency.report.tables import count_rows, timing_rows
from medsaliency.report.wording import METRIC_LABELS, count, method_label, metric_label, number, without_folders

APART = frozenset({"seed", "code", "command", "training", "machine"})
"""Plain values at the top of the provenance that are no version."""
Rows = list[tuple[str, str]]


def record(contents: Contents) -> dict[str, Any]:
    """Return what ``page/record.html.j2`` lays out."""
    provenance = contents.provenance
    data = provenance.get("data") or {}
    names, splits = count_rows(data)
    patients = (data.get("patients") or {}) if data.get("patients_known") else {}
    methods = _labeled(provenance.get("methods") or {}, method_label)
    return {
        "name": without_folders(data.get("name", "unknown")),
        "classes": names,
        "splits": [(split, images, total, patients.get(split)) for split, images, total in splits],
        "rule": split_rule(data),
        "data": [*data_rows(data), *geometry_rows(provenance)],
        "model": model_rows(provenance),
        "training": training_rows(provenance),
        "methods": [(label, name in contents.controls, text) for name, label, text in methods],
        "metrics": _labeled(provenance.get("metrics") or {}, metric_label),
        "checks": _labeled(provenance.get("checks") or {}, _check_label),
        "statistics": section_rows(contents, "statistics"),
        "trust": section_rows(contents, "trust"),
        "versions": version_rows(provenance),
        "hashes": hash_rows(provenance),
        "command": without_folders(provenance.get("command") or ""),
        "stages": [(str(k), number(float(v), 1)) for k, v in (provenance.get("seconds") or {}).items()],
        "timing": timing_rows(contents.seconds),
        "config": configuration(contents),
        "checklists": checklists.filled(contents),
        "statuses": checklists.STATUSES,
        "csv": _download(checklists.as_csv(contents), "text/csv"),
        "json": _download(json.dumps(checklists.checklists(contents), indent=2), "application/json"),
    }


def split_rule(data: Mapping[str, Any]) -> str:
    """Say how the splits were made, "" where that was not recorded."""
    split = data.get("split") or {}
    shares = [
        f"{name} {split[key]:g}"
        for name, key in (("validation", "validation_if_carved"), ("evaluation", "evaluation_if_carved"))
        if key in split
    ]
    return " ".join(filter(None, (split.get("rule", ""), f"Shares if carved: {', '.join(shares)}." if shares else "")))


def data_rows(data: Mapping[str, Any]) -> Rows:
    """Return what else is known of the data: images explained, and whether patients are known."""
    rows: Rows = []
    if data.get("explained") is not None:
        rows.append(("explained", count(int(data["explained"]), "image")))
    if data.get("patients_known") is not None:
        rows.append(("patients", "known" if data["patients_known"] else "not known: each image counts as its own"))
    return rows


def geometry_rows(provenance: Mapping[str, Any]) -> Rows:
    """Return what the self-test of geometry saw; nothing where there was none."""
    found = provenance.get("geometry")
    if not found:
        return []
    chains = f"{found['tested']:,} of {count(int(found['chains']), 'way')} from native pixels to the model's grid"
    text = f"{count(int(found['markers']), 'marker')} on {chains} came back within {number(found['largest'])} pixels"
    return [("self-test of geometry", text)]


def model_rows(provenance: Mapping[str, Any]) -> Rows:
    """Return what is known of the model but its weights' hash, mappings in it on one row each."""
    rows = [
        (str(key).replace("_", " "), plain(value))
        for key, value in (provenance.get("model") or {}).items()
        if key != "weights"
    ]
    if permuted := provenance.get("permuted"):
        known = number(permuted.get("training_accuracy"))
        rows.append(("accuracy on permuted labels, of the network that learned them", known))
    return rows


def training_rows(provenance: Mapping[str, Any]) -> Rows:
    """Return how the network was trained, and the study's seed."""
    known = provenance.get("training")
    if isinstance(known, Mapping):
        rows = [(str(key).replace("_", " "), plain(value)) for key, value in known.items() if key != "seed"]
        rows.append(("seed of the training", plain(known.get("seed", "unknown"))))
    else:
        rows = [("training", plain(known or "not recorded"))]
    return [*rows, ("seed of the study", plain(provenance.get("seed", "unknown")))]


def section_rows(contents: Contents, name: str) -> Rows:
    """Return a section of the configuration, a field a row."""
    found = contents.config.get(name)
    if not isinstance(found, Mapping):
        return []
    return [(str(key).replace("_", " "), plain(value)) for key, value in found.items()]


def version_rows(provenance: Mapping[str, Any]) -> Rows:
    """Return the versions of the software, then the kind of machine."""
    # Whatever else stands at the top as a plain value is a version; the rest has its own place.
    rows = [
        (str(key), plain(value))
        for key, value in provenance.items()
        if key not in APART and isinstance(value, (str, int))
    ]
    return [*rows, ("machine", plain(provenance["machine"]))] if "machine" in provenance else rows


def hash_rows(provenance: Mapping[str, Any]) -> Rows:
    """Return the SHA-256 of code, data, images and weights, as far as they were recorded."""
    data, model, permuted = (provenance.get(key) or {} for key in ("data", "model", "permuted"))
    found = {
        "code of medsaliency": provenance.get("code"),
        "list of images, with labels, patients and splits": data.get("fingerprint"),
        "pixels of the explained images": data.get("images_sha256"),
        "weights of the model": model.get("weights"),
        "weights of the network of permuted labels": permuted.get("weights"),
    }
    return [(label, str(value)) for label, value in found.items() if value]


def configuration(contents: Contents) -> str:
    """Return the full configuration as JSON."""
    return without_folders(json.dumps(_tame(contents.config), indent=2, ensure_ascii=False, default=str))


def plain(value: object) -> str:
    """Return a value as text: numbers with separators, lists joined, mappings written out, folders left out."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        sign = " × " if all(isinstance(item, (int, float)) for item in value) else ", "
        return sign.join(plain(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {plain(item)}" for key, item in value.items()) or "none"
    return without_folders(value)


def _check_label(name: str) -> str:
    return METRIC_LABELS.get(name, name.replace("_", " ").capitalize())


def _labeled(entries: Mapping[str, object], label: Callable[[str], str]) -> list[tuple[str, str, str]]:
    return [(str(name), label(str(name)), without_folders(text)) for name, text in entries.items()]


def _download(text: str, kind: str) -> str:
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


def _tame(value: object) -> object:
    # Each text is cleaned before it is quoted: JSON doubles the backslashes by which Windows paths are known.
    if isinstance(value, Mapping):
        return {without_folders(key): _tame(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_tame(item) for item in value]
    if isinstance(value, (str, Path)):
        return without_folders(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
