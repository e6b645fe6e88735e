"""The sandboxes' planted shortcut: what the model says of the same images without the marker, and with it on others.

Only what is made can be made again without its marker, so only there is the answer exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from medsaliency.data import MADE
from medsaliency.data.dataset import EVALUATION
from medsaliency.model.classifier import Classifier
from medsaliency.study.config import Study
from medsaliency.study.reading import load_data, predict, read_split
from medsaliency.study.store import Store
from medsaliency.types import BoolArray, Sample, Track, silent

MARKER = "marker.parquet"


def planted(study: Study) -> str | None:
    """The class that a marker goes with in this study's images, or None where none was planted."""
    given = study.data.options.get("shortcut_class") if study.data.source in MADE else None
    return None if given is None else str(given)


def without_marker(study: Study) -> Study:
    """The same study of the same images, without the marker."""
    options = {key: value for key, value in study.data.options.items() if not key.startswith("shortcut_")}
    return study.model_copy(update={"data": study.data.model_copy(update={"options": options})})


def compare_without_marker(
    study: Study, classifier: Classifier, samples: Sequence[Sample], predictions: pd.DataFrame, track: Track = silent
) -> tuple[pd.DataFrame, dict[str, BoolArray]]:
    """What the model says of the evaluation images with and without the marker.

    Args:
        study: One with a planted shortcut.
        classifier: Its model.
        samples: The evaluation images, as the study has them.
        predictions: Of them.
        track: Shows progress.

    Returns:
        A table with columns sample, patient, label, marked (whether the image carries the marker), with_marker (the
        predicted class of the image as the study has it), without (of the image without marker), planted (of the image
        with the marker, whether or not it carries it); and for each marked sample the marker's pixels, (H, W) or
        (D, H, W).
    """
    clean_study = without_marker(study)
    clean = read_split(clean_study, load_data(clean_study), EVALUATION, track)
    masks = {
        sample.id: np.asarray((sample.image != other.image).any(axis=0))
        for sample, other in zip(samples, clean, strict=True)
    }
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    own = predictions.set_index("sample").loc[[sample.id for sample in samples]]
    table = pd.DataFrame(
        {
            "sample": own.index,
            "patient": own["patient"].to_numpy(),
            "label": own["label"].to_numpy(),
            "marked": [name in masks for name in own.index],
            "with_marker": own["predicted"].to_numpy(),
            "without": predict(classifier, clean, track)["predicted"].to_numpy(),
            "planted": predict(classifier, _planted(study, track), track)["predicted"].to_numpy(),
        }
    )
    return table, masks


def keep_markers(store: Store, masks: Mapping[str, BoolArray]) -> None:
    """Put the markers' pixels of the explained images beside their maps: ``marker``, empty without one."""
    group = store.maps("a")
    names = cast("list[str]", group.attrs["samples"])
    shape = group["image"].shape[2:]  # type: ignore[union-attr]
    none = np.zeros(shape, dtype=np.bool_)
    array = group.require_array("marker", shape=(len(names), *shape), chunks=(1, *shape), dtype=bool, exact=True)
    array[:] = np.stack([masks.get(name, none) for name in names])


def marker_shares(store: Store, methods: Sequence[str]) -> pd.DataFrame:
    """The share of each map's magnitude that lies on the marker, of the explained images that carry it.

    Returns:
        Columns sample, method, value (in [0, 1]; NaN where a map is zero everywhere), area (the marker's share of the
        image's pixels).
    """
    group = store.maps()
    names = cast("list[str]", group.attrs["samples"])
    rows = []
    for place, name in enumerate(names):
        mask = np.asarray(group["marker"][place])  # type: ignore[index]
        for method in methods if mask.any() else ():
            magnitude = np.abs(np.asarray(group[f"maps/{method}"][place], dtype=np.float64))  # type: ignore[index]
            total = magnitude.sum()
            share = float(magnitude[mask].sum() / total) if total > 0 else float("nan")
            rows.append((name, method, share, float(mask.mean())))
    return pd.DataFrame(rows, columns=["sample", "method", "value", "area"])


def _planted(study: Study, track: Track) -> list[Sample]:
    """The evaluation images, each with the marker: the sandbox draws it on one class after another."""
    base = without_marker(study)
    dataset = load_data(base)
    found: dict[str, Sample] = {}
    for label, name in enumerate(dataset.classes):
        options = {**base.data.options, "shortcut_class": name, "shortcut_probability": 1.0}
        marked = load_data(base.model_copy(update={"data": base.data.model_copy(update={"options": options})}))
        wanted = [record for record in marked.of(EVALUATION) if record.label == label]
        samples = marked.samples(
            wanted, study.data.size, study.data.channels, track, "planting the marker", fit=study.data.fit
        )
        found.update({sample.id: sample for sample in samples})
    return [found[record.id] for record in dataset.of(EVALUATION)]
