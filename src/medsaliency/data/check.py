"""What is wrong with a dataset, found by reading every image once, before a model learns it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from medsaliency.data.dataset import SPLITS, Dataset, Raw, Record
from medsaliency.data.dicom.facts import DicomFacts, dicom_facts, merged
from medsaliency.data.dicom.findings import dicom_findings
from medsaliency.data.dicom.format import DICOM
from medsaliency.data.findings import NONE, Findings, Issue, Pair, Pairs
from medsaliency.data.formats import format_of
from medsaliency.data.geometry import to_model
from medsaliency.data.images import to_channels
from medsaliency.types import FloatArray, MedsaliencyError, Track, silent

LISTED = 20
"""Pairs listed by name; all are counted."""


def check(dataset: Dataset, *, distance: int = 4, clipped_share: float = 0.1, track: Track = silent) -> Findings:
    """Read every image once and report what is wrong with the dataset.

    Args:
        dataset: As opened, or with its splits made.
        distance: Near duplicates differ in at most this many of the 64 bits of the DCT perceptual hash, in [0, 64].
            Zero to four is the same picture in another encoding, scale or brightness, or a neighboring slice.
        clipped_share: An image is clipped where at least this share of its foreground (all but its lowest value, which
            is black ground in medical images) has its highest value, in (0, 1].
        track: Shows progress.

    Raises:
        MedsaliencyError: If an argument is out of range. What is wrong with an image is a finding, not an error.
    """
    if not 0 <= distance <= 64 or not 0 < clipped_share <= 1:
        raise MedsaliencyError(
            f"check: expected distance in [0, 64] and clipped_share in (0, 1], got {distance} and {clipped_share}"
        )
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        views = pool.map(lambda record: _look(dataset, record), dataset.records)
        seen = list(track(views, "checking images", len(dataset.records)))
    good = [view for view in seen if isinstance(view, _View)]
    within, across, conflicting = _duplicates(good)
    return Findings(
        dataset=dataset.name,
        images=len(dataset.records),
        counts=_table(dataset, dataset.records),
        patients=_table(dataset, {(r.label, r.split, r.patient): r for r in dataset.records}.values()),
        patients_known=dataset.patients_known,
        height=_spread([view.shape[-2] for view in good]),
        width=_spread([view.shape[-1] for view in good]),
        depth=_spread([view.shape[0] for view in good if len(view.shape) == 3]),
        sizes=len({view.shape for view in good}),
        channels=dict(Counter(view.kind for view in good)),
        unreadable=tuple(view for view in seen if isinstance(view, Issue)),
        masks=sum(view.mask == "fits" for view in good),
        empty_masks=sum(view.mask == "empty" for view in good),
        bad_masks=tuple(Issue(view.record.id, view.mask) for view in good if view.mask not in ("", "fits", "empty")),
        duplicates_within=within,
        duplicates_across=across,
        conflicting=conflicting,
        near_duplicates=_near(good, distance),
        straddling=_straddling(dataset.records),
        constant=tuple(view.record.id for view in good if view.constant),
        clipped=tuple(
            Issue(view.record.id, f"{view.highest:.0%} of the foreground at the highest value")
            for view in good
            if view.highest >= clipped_share
        ),
        distance=distance,
        clipped_share=clipped_share,
        dicom=dicom_findings([(view.record, view.facts) for view in good if view.facts is not None], dataset.classes),
    )


@dataclass(frozen=True)
class _View:
    """What is kept of an image once it was looked at; ``highest`` is the share of foreground at the highest value."""

    record: Record
    shape: tuple[int, ...]
    kind: str
    constant: bool
    highest: float
    mask: str
    digest: bytes
    phash: int
    facts: DicomFacts | None


def _look(dataset: Dataset, record: Record) -> _View | Issue:
    """Read one image and keep what the findings need, or say why it cannot be read."""
    try:
        raw, mask = _read(dataset, record)
        facts = None
        if record.image is not None and format_of(record.image) is DICOM:
            facts = merged([dicom_facts(path, record.id) for path in record.parts or (record.image,)])
        if not np.isfinite(raw.pixels).all():
            return Issue(record.id, f"{record.id}: holds NaN or infinity")
        gray = to_channels(raw.pixels, 1, record.id)[0]
        if raw.turn is not None:
            gray = to_model(gray, [raw.turn])
    except MedsaliencyError as error:
        return Issue(record.id, str(error))
    pixels = np.ascontiguousarray(raw.pixels)
    equal = bool((pixels == pixels[:1]).all())
    low, high = float(gray.min()), float(gray.max())
    return _View(
        record=record,
        shape=gray.shape,
        kind="color" if not equal else "gray" if len(pixels) == 1 else "gray stored as color",
        constant=low == high,
        highest=0.0 if low == high else float((gray == high).sum() / (gray > low).sum()),
        mask=mask,
        digest=hashlib.sha256(repr(gray.shape).encode() + pixels[: 1 if equal else 3].tobytes()).digest(),
        phash=_phash(gray if gray.ndim == 2 else gray[len(gray) // 2]),
        facts=facts,
    )


def _read(dataset: Dataset, record: Record) -> tuple[Raw, str]:
    """The image, and what is to be said of its mask: ``""``, ``"fits"``, ``"empty"``, or what is wrong with it."""
    try:
        raw = dataset.read(record)
    except MedsaliencyError as error:
        if record.mask is None and not record.boxes:
            raise
        # Where the image alone can be read, it was the mask, or a box.
        return dataset.read(replace(record, mask=None, boxes=())), str(error)
    if raw.lesion is None:
        return raw, ""
    if raw.lesion.shape != raw.pixels.shape[1:]:
        return raw, f"expected the image's size {raw.pixels.shape[1:]} (height, width), got {raw.lesion.shape}"
    if raw.lesion.all():
        return raw, "covers the whole image"
    return raw, "fits" if raw.lesion.any() else "empty"


def _phash(gray: FloatArray) -> int:
    """The 64 bits of the DCT perceptual hash of an (H, W) image in [0, 1]."""
    import imagehash
    from PIL import Image

    bits = imagehash.phash(Image.fromarray((gray * 255 + 0.5).astype(np.uint8))).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _duplicates(views: Sequence[_View]) -> tuple[Pairs, Pairs, Pairs]:
    """Pairs of identical pixels that stay together, that are apart (see :func:`_apart`), and that differ in label."""
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for i, view in enumerate(views):
        if not view.constant:
            groups[view.digest].append(i)
    found = np.array([pair for group in groups.values() for pair in combinations(group, 2)], np.int64).reshape(-1, 2)
    ends = [(views[i].record, views[j].record) for i, j in found]
    apart = np.array([_apart(*pair) for pair in ends], np.bool_)
    conflicting = np.array([first.label != second.label for first, second in ends], np.bool_)
    within, across, differing = (
        _pairs(views, found[chosen], np.zeros(chosen.sum(), np.int64)) for chosen in (~apart, apart, conflicting)
    )
    return within, across, differing


def _apart(first: Record, second: Record) -> bool:
    """Whether two records are in two splits or, where a split is missing, may come to be."""
    if first.split is None or second.split is None:
        return first.patient != second.patient
    return first.split != second.split


def _near(views: Sequence[_View], distance: int, block: int = 512) -> Pairs:
    """Pairs of similar, not identical images that are apart: :func:`_apart` for a block of rows at a time."""
    kept = [i for i, view in enumerate(views) if not view.constant]
    hashes = np.array([views[i].phash for i in kept], np.uint64)
    split = _codes([views[i].record.split or "" for i in kept])
    named = np.array([views[i].record.split is not None for i in kept], np.bool_)
    patient = _codes([views[i].record.patient for i in kept])
    digest = _codes([views[i].digest.hex() for i in kept])
    found = [np.empty((0, 3), np.int64)]
    for start in range(0, len(kept), block):
        rows, columns = np.s_[start : start + block, None], np.s_[None, start:]
        apart = np.where(named[rows] & named[columns], split[rows] != split[columns], patient[rows] != patient[columns])
        bits = np.bitwise_count(hashes[rows] ^ hashes[columns])
        first, second = np.nonzero(np.triu((bits <= distance) & apart & (digest[rows] != digest[columns])))
        found.append(np.stack([first + start, second + start, bits[first, second]], axis=1).astype(np.int64))
    pairs = np.concatenate(found)
    pairs = pairs[np.argsort(pairs[:, 2], kind="stable")]
    return _pairs(views, np.array(kept, np.int64)[pairs[:, :2]], pairs[:, 2])


def _codes(names: Sequence[str]) -> NDArray[np.int64]:
    """An integer for each name, the same for equal names."""
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1]


def _pairs(views: Sequence[_View], pairs: NDArray[np.int64], bits: NDArray[np.int64]) -> Pairs:
    """Count (P, 2) pairs of indices, and list the first of them with their (P,) distances."""
    images = Counter(views[i].record.split or NONE for i in np.unique(pairs))
    closest = tuple(
        _pair(views[i].record, views[j].record, bit)
        for (i, j), bit in zip(pairs[:LISTED].tolist(), bits[:LISTED].tolist(), strict=True)
    )
    return Pairs(len(pairs), {name: images[name] for name in (*SPLITS, NONE) if images[name]}, closest)


def _pair(first: Record, second: Record, distance: int | None = None) -> Pair:
    return Pair(first.id, second.id, first.split or NONE, second.split or NONE, distance)


def _straddling(records: Iterable[Record]) -> tuple[Pair, ...]:
    """Each patient with images in two splits, by the first image in either."""
    first: dict[str, Record] = {}
    found: dict[str, Pair] = {}
    for record in records:
        other = first.setdefault(record.patient, record)
        if None not in (other.split, record.split) and other.split != record.split:
            found.setdefault(record.patient, _pair(other, record))
    return tuple(found.values())


def _table(dataset: Dataset, records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """Records by class and split, with a zero for a class that a split lacks."""
    counts = Counter((record.label, record.split or NONE) for record in records)
    splits = [name for name in (*SPLITS, NONE) if any(split == name for _, split in counts)]
    return {title: {name: counts[label, name] for name in splits} for label, title in enumerate(dataset.classes)}


def _spread(values: Sequence[int]) -> tuple[float, float, float] | None:
    """Smallest, median and largest; None where there are none."""
    if not values:
        return None
    return float(min(values)), float(np.median(values)), float(max(values))
