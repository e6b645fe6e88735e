"""How a study was made, one sentence or two a subject; "" for what was not recorded.

Each sentence holds a number or a name of the study. Nothing is said that neither record nor configuration says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.wording import count, listing, method_label, metric_label, percent

SHOWN_NAMES = 12
"""Names that a sentence lists; more are counted."""


def section(contents: Contents, *path: str) -> Mapping[str, Any]:
    """Return a part of the provenance as a mapping, empty where it was not recorded as one."""
    found: Any = contents.provenance
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def configured(contents: Contents, name: str) -> Mapping[str, Any]:
    """Return a section of the configuration, empty where it is not there."""
    found = contents.config.get(name)
    return found if isinstance(found, Mapping) else {}


def simulated(contents: Contents) -> bool:
    """Tell whether the images are the sandbox's, made by this package and of no patient."""
    return configured(contents, "data").get("source") in ("sandbox", "sandbox_volumes")


def source(contents: Contents) -> str:
    """Name the data and their hash."""
    data = section(contents, "data")
    if not data.get("name"):
        return ""
    said = f"The data are called {data['name']}"
    if simulated(contents):
        said = (
            f"The images are simulated: the sandbox of medsaliency {contents.provenance.get('medsaliency', '')}".strip()
        )
    prints = f"; SHA-256 of the list of images {data['fingerprint']}" if data.get("fingerprint") else ""
    return f"{said}{prints}."


def names(found: Sequence[object], singular: str, plural: str | None = None) -> str:
    """List names, or count them where they are many."""
    return listing(map(str, found)) if len(found) <= SHOWN_NAMES else count(len(found), singular, plural)


def counts(contents: Contents) -> str:
    """Give the images, and where they are known the patients, of each split."""
    data = section(contents, "data")
    patients: Mapping[str, int] = data.get("patients") or {}
    parts = []
    for split, of_class in (data.get("counts") or {}).items():
        images = count(sum(of_class.values()), "image")
        known = data.get("patients_known") and patients.get(split) is not None
        parts.append(f"{split} {images}" + (f" of {count(patients[split], 'patient')}" if known else ""))
    return f"{'; '.join(parts)}.".capitalize() if parts else ""


def classes_by_split(contents: Contents) -> str:
    """Give the images of each class in each split."""
    parts = []
    for split, of_class in (section(contents, "data").get("counts") or {}).items():
        parts.append(f"{split}: " + ", ".join(f"{name} {n:,}" for name, n in of_class.items()))
    return f"Images of each class, {'; '.join(parts)}." if parts else ""


def split_rule(contents: Contents) -> str:
    """Say how the splits were made, and how many images they hold."""
    split = section(contents, "data", "split")
    if not split.get("rule"):
        return ""
    shares = [
        f"{name} {percent(split[key])}"
        for name in ("validation", "evaluation")
        if isinstance(split.get(key := f"{name}_if_carved"), (int, float))
    ]
    carved = f" Shares where carved: {listing(shares)}." if shares else ""
    return f"{split['rule']}{carved} {counts(contents)}".strip()


def disjoint(contents: Contents) -> tuple[str, str]:
    """Return at which level splits are disjoint, and what is open where no patient is known."""
    data = section(contents, "data")
    known = data.get("patients_known")
    if known is None:
        return "", "Say whether a patient can be in two splits."
    if known:
        return f"No named patient is in two splits. {counts(contents)}", ""
    said = f"No image names its patient, so splits are disjoint by image alone. {counts(contents)}"
    return said, "Name the patients (patient_id), or say whether one can be in two splits."


def preprocessing(contents: Contents) -> str:
    """Say what was done to the images on their way to the model."""
    model = section(contents, "model")
    size, channels = model.get("input_size"), model.get("channels")
    if size is None or channels is None:
        return ""
    side = " × ".join(str(n) for n in size) if isinstance(size, (list, tuple)) else f"{size} × {size}"
    said = f"Each image was padded to a square and resized to {side} pixels, {count(channels, 'channel')}."
    return f"{said} The model sees it standardized by the training images." if trained_here(contents) else said


def explained(contents: Contents) -> str:
    """Say how many images were explained, and how they were chosen."""
    data = section(contents, "data")
    evaluation = (data.get("counts") or {}).get("evaluation")
    if data.get("explained") is None or evaluation is None:
        return ""
    seed = contents.provenance.get("seed")
    by = f", the same number of each class as far as it has them, by seed {seed}" if seed is not None else ""
    return f"{data['explained']:,} of {count(sum(evaluation.values()), 'evaluation image')} were explained{by}."


def model(contents: Contents) -> str:
    """Name the architecture, its size and the layer that CAM methods read."""
    known = section(contents, "model")
    if not known.get("architecture"):
        return ""
    said = f"The model is {known['architecture']}"
    if known.get("parameters") is not None:
        said += f" with {known['parameters']:,} parameters"
    if contents.classes:
        said += f", for {len(contents.classes)} classes"
        said += f" ({names(contents.classes, '')})" if len(contents.classes) <= SHOWN_NAMES else ""
    if known.get("target_layer"):
        said += f"; CAM methods read its layer {known['target_layer']}"
    return f"{said}."


def software(contents: Contents) -> str:
    """Name the software with its versions, and the kind of machine."""
    wanted = ("medsaliency", "python", "torch", "timm", "numpy", "scipy", "scikit-image")
    found = [f"{name} {contents.provenance[name]}" for name in wanted if contents.provenance.get(name)]
    machine = contents.provenance.get("machine")
    return f"{listing(found)}" + (f"; on {machine}." if machine else ".") if found else ""


def trained_here(contents: Contents) -> bool:
    """Tell whether this study trained its model, on the same source as it is tested on."""
    return bool(section(contents, "training"))


def first_weights(contents: Contents) -> str:
    """Say where training began."""
    known = section(contents, "training")
    begin, seed = known.get("initial_weights"), known.get("seed")
    if begin is None or seed is None:
        return ""
    if begin == "pretrained":
        return f"Pretrained weights of the architecture in timm; what is drawn, by seed {seed}."
    return f"Random weights, drawn by seed {seed}."


def recipe(contents: Contents) -> str:
    """Give the parameters of the training."""
    known = section(contents, "training")
    apart = ("procedure", "initial_weights")
    given = [f"{str(key).replace('_', ' ')} {value}" for key, value in known.items() if key not in apart]
    return f"{known.get('procedure', 'Training')}: {', '.join(given)}." if given else ""


def selection(contents: Contents) -> str:
    """Say which weights were kept."""
    known = section(contents, "training")
    epochs = known.get("epochs")
    if epochs is None or "validation loss" not in str(known.get("procedure")):
        return ""
    return f"The weights of the epoch, of {epochs} at most, with the lowest loss on the validation images were kept."


def performance_measures(contents: Contents) -> str:
    """Name the measures of the model's performance and those of its explanations."""
    labels = {"accuracy": "accuracy", "macro_f1": "macro F1", "auroc": "AUROC of each class"}
    labels["expected_calibration_error"] = "expected calibration error"
    found = [label for key, label in labels.items() if contents.performance.get(key)]
    if not found:
        return ""
    measures = [metric_label(name) for name in verdicts.metrics(contents)]
    own = f" Of the explanations: {names(measures, 'measure')}." if measures else ""
    return f"Of the model, for {len(contents.classes)} classes: {listing(found)}.{own}"


def uncertainty(contents: Contents) -> str:
    """Give the parameters of intervals and tests."""
    how = configured(contents, "statistics")
    if not {"draws", "level", "alpha"} <= set(how):
        return ""
    said = f"{verdicts.coverage(contents)} intervals by BCa bootstrap, {how['draws']:,} draws of patients"
    if how.get("permutations"):
        said += f"; tests against controls by at least {how['permutations']:,} permutations over patients"
    return f"{said}; tests are corrected for their number and judged at {how['alpha']:g}."


def explanations(contents: Contents) -> str:
    """Name the methods, the controls and the measures that judge them."""
    own = verdicts.explanations(contents)
    if not own:
        return ""
    controls = [name for name in verdicts.methods(contents) if name in contents.controls]
    against = f" They are compared with {listing(method_label(name) for name in controls)}." if controls else ""
    judged = count(len(verdicts.metrics(contents)), "measure")
    return f"{count(len(own), 'method')}: {listing(method_label(name) for name in own)}; judged by {judged}.{against}"


def hashes(contents: Contents, *wanted: str) -> str:
    """Give hashes, of "code", "weights", "list of images" or "explained images"."""
    data, known = section(contents, "data"), section(contents, "model")
    found = {
        "code": contents.provenance.get("code"),
        "weights": known.get("weights"),
        "list of images": data.get("fingerprint"),
        "explained images": data.get("images_sha256"),
    }
    given = [f"{name} {found[name]}" for name in wanted if found[name]]
    return f"SHA-256 of {listing(given)}." if given else ""


def repeating(contents: Contents) -> str:
    """Give the command that repeats the study, and where its parameters are."""
    given = contents.provenance.get("command")
    return f"Every parameter is in study.yaml; repeated by: {given}." if given else ""
