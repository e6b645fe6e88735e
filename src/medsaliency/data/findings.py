"""What a check of a dataset can find, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from medsaliency.data.dicom.findings import DicomFindings

NONE = "none"
"""Stands for a split that the source does not name."""


@dataclass(frozen=True)
class Issue:
    """A sample and what is wrong with it, in words."""

    sample: str
    reason: str


@dataclass(frozen=True)
class Pair:
    """Two samples that belong together, their splits, and how many of 64 hash bits differ (None: not compared)."""

    first: str
    second: str
    first_split: str
    second_split: str
    distance: int | None


@dataclass(frozen=True)
class Pairs:
    """How many pairs there are, how many images of each split are in one, and the closest of them."""

    count: int
    images: dict[str, int]
    closest: tuple[Pair, ...]


@dataclass(frozen=True)
class Findings:
    """What :func:`check` found. Splits are named as in the dataset, ``"none"`` where it names none.

    Args:
        dataset: Its name.
        images: Records in all.
        counts: Images by class and split.
        patients: Patients by class and split; equal to ``counts`` where patients are unknown.
        patients_known: Whether any image has a patient other than itself.
        height: Smallest, median and largest, in pixels; None where no image could be read.
        width: Likewise.
        sizes: Number of distinct (height, width).
        channels: Images by what they hold: ``"gray"``, ``"color"``, or ``"gray stored as color"``.
        unreadable: Images that could not be read.
        masks: Images with a lesion mask that fits.
        empty_masks: Images with a mask that marks no pixel, which is right where there is no lesion.
        bad_masks: Masks that cannot be read, have another size than their image, or cover all of it.
        duplicates_within: Identical pixels that stay in one split.
        duplicates_across: Identical pixels in two splits or, where a split is missing, of two patients.
        conflicting: Identical pixels under two labels; these pairs are counted above too.
        near_duplicates: Alike but not identical, in two splits or, where a split is missing, of two patients.
        straddling: Patients in two splits, each by one of its images in either.
        constant: Images of a single value.
        clipped: Images with a large share of the foreground at the highest value.
        distance: Largest distance of near duplicates.
        clipped_share: Smallest share that makes an image clipped.
        depth: Smallest, median and largest number of slices of volumes; None where there are none.
        dicom: What the headers of DICOM files say; None where there are none.
    """

    dataset: str
    images: int
    counts: dict[str, dict[str, int]]
    patients: dict[str, dict[str, int]]
    patients_known: bool
    height: tuple[float, float, float] | None
    width: tuple[float, float, float] | None
    sizes: int
    channels: dict[str, int]
    unreadable: tuple[Issue, ...]
    masks: int
    empty_masks: int
    bad_masks: tuple[Issue, ...]
    duplicates_within: Pairs
    duplicates_across: Pairs
    conflicting: Pairs
    near_duplicates: Pairs
    straddling: tuple[Pair, ...]
    constant: tuple[str, ...]
    clipped: tuple[Issue, ...]
    distance: int
    clipped_share: float
    depth: tuple[float, float, float] | None = None
    dicom: DicomFindings | None = None

    def problems(self) -> list[str]:
        """One line for each thing to mend before a study of this dataset means what it says."""
        first_unread = f", first {self.unreadable[0].reason}" if self.unreadable else ""
        first_mask = f", first {self.bad_masks[0].sample}: {self.bad_masks[0].reason}" if self.bad_masks else ""
        near, apart = self.near_duplicates, "in two splits, or not split yet and of two patients"
        found = [
            (len(self.unreadable), "unreadable images", f"{first_unread}; replace or remove them"),
            (len(self.bad_masks), "lesion masks that cannot be used", f"{first_mask}; redraw or remove them"),
            (len(self.straddling), "patients in two splits", "; give all images of a patient the same split"),
            (self.duplicates_across.count, f"pairs of identical images {apart}", "; remove one of each"),
            (self.conflicting.count, "pairs of identical images with different labels", "; correct or remove them"),
            (self.duplicates_within.count, "pairs of identical images that stay in one split", "; remove one of each"),
            (
                near.count,
                f"pairs of near duplicates {apart}",
                f" ({_by_split(near.images)}), which flatters the evaluation; split by patient, or remove them",
            ),
            (len(self.constant), "images of a single value", "; remove them"),
        ]
        own = [f"{what}: {count:,}{rest}" for count, what, rest in found if count]
        return own + (self.dicom.problems() if self.dicom is not None else [])

    def notes(self) -> list[str]:
        """One line for each thing to know that needs no mending by itself."""
        lines = []
        if not self.patients_known:
            lines.append("no image names its patient: images of one patient may be in two splits, and none can tell")
        if self.clipped:
            lines.append(
                f"images with {self.clipped_share:.0%} or more of their foreground at the highest value: "
                f"{len(self.clipped):,}; they may be overexposed, inverted, or on a white ground"
            )
        if self.empty_masks:
            lines.append(f"empty lesion masks: {self.empty_masks:,}; right only for images without a lesion")
        if len(self.channels) > 1:
            mixed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.channels.items()))
            lines.append(f"images of several kinds: {mixed}; see that this does not give the class away")
        return lines + (self.dicom.notes() if self.dicom is not None else [])

    def to_dict(self) -> dict[str, Any]:
        """Everything found, as JSON takes it, with ``problems`` and ``notes``."""
        return asdict(self) | {"problems": self.problems(), "notes": self.notes()}


def _by_split(images: Mapping[str, int]) -> str:
    return ", ".join(f"images in {'no split' if name == NONE else name}: {count:,}" for name, count in images.items())
