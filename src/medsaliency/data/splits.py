"""Training, validation and evaluation: the source's own splits kept, missing ones carved by patient."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset, Record
from medsaliency.types import MedsaliencyError, generator

if TYPE_CHECKING:
    import pandas as pd


def split(dataset: Dataset, *, seed: int, validation: float = 0.15, evaluation: float = 0.2) -> Dataset:
    """Give every record a split. No patient comes into two.

    A split that the source names is kept as it is and gets no further patients. One that it does not name is carved
    from the training records and those without a split, which then make up training. Records without a split whose
    patient has one join that patient. Patients are drawn class by class (a patient counts for the class of most of
    its images), in an order that depends on the seed and the patients' names only.

    Args:
        dataset: With splits named for all, some or none of the records.
        seed: The study's seed.
        validation: Share, in [0, 1), of each class's training and unassigned images to carve; 0 for none.
        evaluation: Likewise. Both are shares of the same images, so 0.15 and 0.2 leave 0.65 for training. A share is
            met to within half of the patient that would cross it, and never with less than one patient a class.

    Raises:
        MedsaliencyError: If the shares leave nothing to train on, the source puts one patient into two splits, or a
            class is missing from a split.
    """
    if min(validation, evaluation) < 0 or not validation + evaluation < 1:
        raise MedsaliencyError(
            "split: expected validation and evaluation in [0, 1) with a sum below 1, got "
            f"validation={validation}, evaluation={evaluation}"
        )
    named = {record.split for record in dataset.records}
    shares = {EVALUATION: evaluation, VALIDATION: validation}
    carved = {name: share for name, share in shares.items() if name not in named and share > 0}
    fixed = _fixed(dataset)
    free: defaultdict[str, list[Record]] = defaultdict(list)
    for record in dataset.records:
        if fixed.get(record.patient, TRAINING) == TRAINING:
            free[record.patient].append(record)
    assigned = fixed | dict.fromkeys(free, TRAINING) | _carve(dataset.classes, free, carved, seed)
    result = dataset.with_records(replace(record, split=assigned[record.patient]) for record in dataset.records)
    _require_classes(result, [TRAINING, *(name for name in shares if name in named or name in carved)])
    return result


def split_table(dataset: Dataset) -> pd.DataFrame:
    """One row a record, in the dataset's order: ``sample``, ``patient``, ``label`` (the class's name), ``split``."""
    import pandas as pd

    rows = [(r.id, r.patient, dataset.classes[r.label], r.split) for r in dataset.records]
    return pd.DataFrame(rows, columns=["sample", "patient", "label", "split"])


def _fixed(dataset: Dataset) -> dict[str, str]:
    """The split of every patient for whom the source names one."""
    first: dict[str, Record] = {}
    for record in dataset.records:
        if record.split is None:
            continue
        other = first.setdefault(record.patient, record)
        if other.split != record.split:
            # The patient's own identifier stays out of the message; the two images are enough to find it.
            raise MedsaliencyError(
                f"{dataset.name}: expected every patient in one split, got {other.id!r} in {other.split} and "
                f"{record.id!r} of the same patient in {record.split}; give both the same, or leave the splits empty"
            )
    return {patient: record.split for patient, record in first.items() if record.split is not None}


def _carve(
    classes: Sequence[str], free: Mapping[str, Sequence[Record]], carved: Mapping[str, float], seed: int
) -> dict[str, str]:
    """The carved split of every patient drawn for one; patients left out are training's."""
    strata: defaultdict[int, list[str]] = defaultdict(list)
    for patient in sorted(free):
        counts = Counter(record.label for record in free[patient])
        strata[min(counts, key=lambda label: (-counts[label], label))].append(patient)
    assigned: dict[str, str] = {}
    for label, patients in sorted(strata.items()):
        generator(seed, "split", classes[label]).shuffle(patients)
        images = sum(len(free[patient]) for patient in patients)
        sizes = {patient: len(free[patient]) for patient in patients}
        for later, (name, share) in enumerate(carved.items(), start=1):
            waiting = len(carved) - later + 1  # the splits yet to come, training among them, need a patient each
            drawn = _draw(sizes, share * images, len(sizes) - waiting)
            assigned |= dict.fromkeys(drawn, name)
            sizes = {patient: size for patient, size in sizes.items() if patient not in drawn}
    return assigned


def _draw(sizes: Mapping[str, int], target: float, most: int) -> list[str]:
    """Up to ``most`` patients, in order, each of whom brings the sum of sizes nearer to the target; one at least."""
    drawn: list[str] = []
    total = 0
    for patient, size in sizes.items():
        if len(drawn) < most and abs(total + size - target) < abs(total - target):
            drawn.append(patient)
            total += size
    if not drawn and most > 0:
        drawn.append(min(sizes, key=lambda patient: sizes[patient]))
    return drawn


def _require_classes(dataset: Dataset, splits: Iterable[str]) -> None:
    """Raise if a class has no image in one of the splits."""
    found = {(record.label, record.split) for record in dataset.records}
    for name in splits:
        for label, title in enumerate(dataset.classes):
            if (label, name) not in found:
                patients = len({record.patient for record in dataset.records if record.label == label})
                raise MedsaliencyError(
                    f"{dataset.name}: expected every class in the {name} split, got no image of {title!r} there "
                    f"({patients} patients in all); add patients of it, remove the class, or name other splits"
                )
