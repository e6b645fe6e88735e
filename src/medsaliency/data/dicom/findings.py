"""What the headers of a dataset's DICOM files can say of a study's validity, and how it is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medsaliency.data.dataset import Record
from medsaliency.data.dicom.facts import DicomFacts

ASPECTS = {
    "manufacturer": "manufacturers",
    "model": "models of device",
    "modality": "modalities",
    "photometric": "photometric interpretations",
}
"""What of a header could give a class away, by the attribute of ``DicomFacts``."""
STRENGTH, CHANCE = 0.3, 0.001
"""Cramér's V from which an aspect goes with a class, and the chance of such a table without any connection."""
UNNAMED = "not said"


@dataclass(frozen=True)
class Connection:
    """An aspect of headers that goes with the class: a model can learn it in place of the disease.

    Args:
        aspect: A key of :data:`ASPECTS`.
        strength: Cramér's V, 0 to 1, over patients.
        p: Of the chi-square test.
        example: The pair that departs most from no connection, in words.
    """

    aspect: str
    strength: float
    p: float
    example: str


@dataclass(frozen=True)
class DicomFindings:
    """What headers say; counts are of images.

    Args:
        images: With a DICOM header.
        aspects: Images by value of each of :data:`ASPECTS`.
        connections: Aspects that go with the class.
        no_spacing: Images of which no distance of pixels in millimeters is known.
        burned_in: Images whose header says that annotations are burnt into the pixels.
        burned_in_unknown: Images whose header does not say.
        overlays: Images with overlays, which are not drawn.
        identifiers: Images by keyword of an element that identifies someone and is not empty.
    """

    images: int
    aspects: Mapping[str, Mapping[str, int]]
    connections: tuple[Connection, ...]
    no_spacing: int
    burned_in: int
    burned_in_unknown: int
    overlays: int
    identifiers: Mapping[str, int]

    def problems(self) -> list[str]:
        """One line for each thing to mend before a study of this dataset means what it says."""
        lines = [
            f"{ASPECTS[found.aspect]} go with the class (Cramér's V {found.strength:.2f}): {found.example}; a model "
            "can learn the device in place of the disease: take images of one, or balance them over classes"
            for found in self.connections
        ]
        if self.burned_in:
            lines.append(
                f"images with annotations burnt into the pixels: {self.burned_in:,}; they may name the patient or give "
                "the class away: crop or mask them"
            )
        return lines

    def notes(self) -> list[str]:
        """One line for each thing to know that needs no mending by itself."""
        lines = []
        photometric = self.aspects["photometric"]
        if len(photometric) > 1:
            lines.append(f"photometric interpretations differ ({_listed(photometric)}); MONOCHROME1 is inverted here")
        if len(self.aspects["modality"]) > 1:
            lines.append(f"modalities differ: {_listed(self.aspects['modality'])}")
        if self.no_spacing:
            lines.append(
                f"images without a pixel spacing in millimeters: {self.no_spacing:,}; sizes cannot be compared"
            )
        if self.burned_in_unknown:
            lines.append(
                f"images that do not say whether annotations are burnt into the pixels: {self.burned_in_unknown:,}; "
                "look at some"
            )
        if self.overlays:
            lines.append(f"images with overlays, which are not drawn: {self.overlays:,}")
        if self.identifiers:
            most = sorted(self.identifiers.items(), key=lambda item: (-item[1], item[0]))
            names = ", ".join(f"{keyword} in {count:,}" for keyword, count in most[:6])
            more = f" and {len(most) - 6} more" if len(most) > 6 else ""
            lines.append(f"headers identify people: {names}{more}; keep the files as the law asks, or de-identify them")
        return lines


def dicom_findings(seen: Sequence[tuple[Record, DicomFacts]], classes: Sequence[str]) -> DicomFindings | None:
    """Put together what the headers of a dataset's images say; None where none has one.

    Args:
        seen: A record and what its header says, for each image.
        classes: Names of the labels.
    """
    if not seen:
        return None
    facts = [each for _, each in seen]
    return DicomFindings(
        images=len(seen),
        aspects={aspect: dict(Counter(getattr(each, aspect) or UNNAMED for each in facts)) for aspect in ASPECTS},
        connections=tuple(found for aspect in ASPECTS if (found := _connection(aspect, seen, classes)) is not None),
        no_spacing=sum(not each.spacing_known for each in facts),
        burned_in=sum(each.burned_in == "YES" for each in facts),
        burned_in_unknown=sum(each.burned_in not in ("YES", "NO") for each in facts),
        overlays=sum(each.overlays for each in facts),
        identifiers=dict(Counter(keyword for each in facts for keyword in each.identifiers)),
    )


def _connection(aspect: str, seen: Sequence[tuple[Record, DicomFacts]], classes: Sequence[str]) -> Connection | None:
    """Whether an aspect goes with the class. Patients are counted, not their images, which are alike."""
    from scipy.stats import chi2_contingency
    from scipy.stats.contingency import association

    pairs = {(record.patient, record.label, getattr(facts, aspect) or UNNAMED) for record, facts in seen}
    values = sorted({value for _, _, value in pairs})
    labels = sorted({label for _, label, _ in pairs})
    if min(len(values), len(labels)) < 2:
        return None
    counts = Counter((label, value) for _, label, value in pairs)
    table = np.array([[counts[label, value] for value in values] for label in labels])
    found = chi2_contingency(table, correction=False)
    strength = float(association(table, method="cramer"))
    if strength < STRENGTH or found.pvalue >= CHANCE:
        return None
    departure = (table - found.expected_freq) / np.sqrt(found.expected_freq)
    row, column = np.unravel_index(int(departure.argmax()), table.shape)
    share, elsewhere = table[row, column] / table[row].sum(), table[:, column].sum() / table.sum()
    example = f"{values[column]} in {share:.0%} of {classes[labels[row]]!r} and {elsewhere:.0%} of all patients"
    return Connection(aspect, strength, float(found.pvalue), example)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
