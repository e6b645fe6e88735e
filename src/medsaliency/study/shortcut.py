"""The sandboxes' planted shortcut: what the model says of the same images without the marker, and with it on others.

Only what is made can be made again without its marker, so only there is the answer exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medsaliency.data import MADE
from medsaliency.data.dataset import EVALUATION, Dataset, Record
from medsaliency.model.classifier import Classifier
from medsaliency.study.config import Study
from medsaliency.study.predicting import BATCH
from medsaliency.study.reading import load_data, predict
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
    study: Study,
    classifier: Classifier,
    predictions: pd.DataFrame,
    explained: Sequence[Record],
    track: Track = silent,
) -> tuple[pd.DataFrame, dict[str, BoolArray]]:
    """What the model says of the evaluation images with and without the marker, a batch in memory at a time.

    Args:
        study: One with a planted shortcut.
        classifier: Its model.
        predictions: Of the evaluation images, as the study has them.
        explained: The images whose markers are kept.
        track: Shows progress.

    Returns:
        A table with columns sample, patient, label, marked (whether the image carries the marker), with_marker (the
        predicted class of the image as the study has it), without (of the image without marker), planted (of the image
        with the marker, whether or not it carries it); and for each marked image that is explained the marker's
        pixels, (H, W) or (D, H, W).
    """
    own, clean = load_data(study), load_data(without_marker(study))
    everywhere = _with_marker_on_every_class(study, own.classes)
    kept = {record.id for record in explained}
    masks: dict[str, BoolArray] = {}
    parts = []
    known = predictions.set_index("sample")
    records = [record for record in own.of(EVALUATION) if record.id in known.index]
    starts = range(0, len(records), BATCH)
    for start in track(starts, "without the marker", len(starts)):
        batch = records[start : start + BATCH]
        shown, plain = (_samples(study, source, batch) for source in (own, clean))
        marked = [_sample(study, everywhere[record.label], record) for record in batch]
        differing = [
            np.asarray((one.image != other.image).any(axis=0)) for one, other in zip(shown, plain, strict=True)
        ]
        masks.update(
            {record.id: mask for record, mask in zip(batch, differing, strict=True) if mask.any() and record.id in kept}
        )
        names = [record.id for record in batch]
        parts.append(
            pd.DataFrame(
                {
                    "sample": names,
                    "patient": known["patient"].loc[names].to_numpy(),
                    "label": known["label"].loc[names].to_numpy(),
                    "marked": [bool(mask.any()) for mask in differing],
                    "with_marker": known["predicted"].loc[names].to_numpy(),
                    "without": predict(classifier, plain)["predicted"].to_numpy(),
                    "planted": predict(classifier, marked)["predicted"].to_numpy(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True), masks


def keep_markers(store: Store, masks: Mapping[str, BoolArray]) -> None:
    """Put the markers' pixels of the explained images beside their maps: ``marker``, empty without one."""
    maps = store.maps("a")
    names, batch = maps.samples, maps.batch
    shape = maps.image(0).shape[1:]
    none = np.zeros(shape, dtype=np.bool_)
    for start in range(0, len(names), batch):
        maps.keep("marker", start, np.stack([masks.get(name, none) for name in names[start : start + batch]]))


def marker_shares(store: Store, methods: Sequence[str]) -> pd.DataFrame:
    """The share of each map's magnitude that lies on the marker, of the explained images that carry it.

    Returns:
        Columns sample, method, value (in [0, 1]; NaN where a map is zero everywhere), area (the marker's share of the
        image's pixels).
    """
    maps = store.maps()
    rows = []
    for place, name in enumerate(maps.samples):
        mask = maps.marker(place)
        if mask is None:
            continue
        for method in methods:
            magnitude = np.abs(maps.map(method, place).astype(np.float64))
            total = magnitude.sum()
            share = float(magnitude[mask].sum() / total) if total > 0 else float("nan")
            rows.append((name, method, share, float(mask.mean())))
    return pd.DataFrame(rows, columns=["sample", "method", "value", "area"])


def _with_marker_on_every_class(study: Study, classes: Sequence[str]) -> list[Dataset]:
    """For each class the study's data with the marker on all of its images, and on no others."""
    base = without_marker(study)
    found = []
    for name in classes:
        options = {**base.data.options, "shortcut_class": name, "shortcut_probability": 1.0}
        found.append(load_data(base.model_copy(update={"data": base.data.model_copy(update={"options": options})})))
    return found


def _samples(study: Study, dataset: Dataset, records: Sequence[Record]) -> list[Sample]:
    return [_sample(study, dataset, record) for record in records]


def _sample(study: Study, dataset: Dataset, record: Record) -> Sample:
    return dataset.sample(record, study.data.size, study.data.channels, study.data.fit)
