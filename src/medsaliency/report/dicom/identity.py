"""Who the written objects are: their unique identifiers, and the numbers of their series."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from pydicom.uid import generate_uid

from medsaliency.report.dicom.explanation import Explanation
from medsaliency.report.dicom.originals import Originals

MAKER = "medsaliency"
KINDS = ("parametric map", "segmentation", "secondary capture", "structured report")
FIRST_SERIES = {kind: 9000 + 1000 * place for place, kind in enumerate(KINDS)}
"""Numbers of the new series begin here, above those of scanners: one for each kind, and in it one for each method."""


@dataclass(frozen=True)
class Identity:
    """What tells one written object from others.

    Args:
        series: UID of its series.
        series_number: Of its series.
        instance: UID of the object.
        number: Of the object in its series.
        description: Of its series.
    """

    series: str
    series_number: int
    instance: str
    number: int
    description: str


def identify(
    explanation: Explanation, originals: Originals, kind: str, method: str | None, content: str, label: str
) -> Identity:
    """The identity of an object, the same whenever the same explanation of the same image is exported again.

    UIDs are hashes, so that nothing of the originals' can be read from them. What would make another object of it
    (another original, number, weights, parameters, maps, class or probability, a threshold) makes another UID: two
    objects that differ never share one.

    Args:
        explanation: What is exported.
        originals: Its source images.
        kind: Of object, one of ``KINDS``.
        method: Whose map; None where the object holds all.
        content: What else decides the object's content.
        label: Of the method, for people.
    """
    header = originals.header
    said = [explanation.classes, explanation.probabilities, explanation.target, explanation.explains]
    known = json.dumps([said, explanation.architecture, list(explanation.digests), explanation.number])
    made = (kind, method or "", str(explanation.seed), explanation.weights, explanation.version)
    frames = [f"{frame.header.SOPInstanceUID}#{frame.number}" for frame in originals.frames]
    chosen = list(explanation.maps) if method is None else [method]
    reprs = [f"{name}={explanation.methods[name]}" for name in chosen]
    digests = [digest(explanation.maps[name]) for name in chosen]
    order = list(explanation.methods)
    return Identity(
        series=unique("series", str(header.SeriesInstanceUID), *made, *reprs),
        series_number=FIRST_SERIES[kind] + (0 if method is None else 1 + order.index(method)),
        instance=unique("instance", *frames, *made, *reprs, *digests, known, content),
        number=explanation.number,
        description=f"{label}, {kind}, research use only",
    )


def unique(*parts: str) -> str:
    """A UID that is a hash of ``parts`` and nothing else."""
    return str(generate_uid(entropy_srcs=["\x1f".join((MAKER, *parts))]))


def digest(values: np.ndarray) -> str:
    """SHA-256 of an array."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
