"""The one slice of a volume that pages and figures show, the same for the volume, its lesion and all of its maps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from medsaliency.report.contents import Case
from medsaliency.report.overlay import contrast_of
from medsaliency.types import BoolArray, FloatArray


def cut(case: Case, by: Collection[str] | None = None) -> Case:
    """The case with its volume, maps and all that goes with them cut to one axial slice, and that slice in words.

    Args:
        case: Of a volume, (C, D, H, W) and (D, H, W), or of an image, which is returned as it is.
        by: The methods whose maps choose the slice where there is no lesion; None for all.

    Raises:
        ValueError: If a map does not have the volume's shape.
    """
    if case.image.ndim != 4:
        return case
    shape = case.image.shape[1:]
    for name, saliency in case.maps.items():
        if saliency.shape != shape:
            raise ValueError(f"expected maps[{name!r}] of the volume's shape {shape}, got {saliency.shape}")
    choosing = {name: saliency for name, saliency in case.maps.items() if by is None or name in by}
    place, why = chosen_slice(case.lesion, choosing, shape[0])
    return replace(
        case,
        image=case.image[:, place],
        lesion=None if case.lesion is None else case.lesion[place],
        maps={name: saliency[place] for name, saliency in case.maps.items()},
        marker=None if case.marker is None else case.marker[place],
        strips=[replace(strip, pictures=strip.pictures[:, :, place]) for strip in case.strips],
        plane=f"slice {place + 1} of {shape[0]} ({why})",
        contrasts={name: contrast_of(saliency) for name, saliency in case.maps.items()},
    )


def chosen_slice(lesion: BoolArray | None, maps: Mapping[str, FloatArray], depth: int) -> tuple[int, str]:
    """The slice to show, from 0, and why: with the largest part of the lesion, else with most of what maps say.

    Each map counts the same, whatever its unit: by the shares of its magnitude on each slice, of which the mean over
    maps is taken. Where neither decides it is the slice in the middle.

    Args:
        lesion: (D, H, W) bool or None.
        maps: (D, H, W) for each method that has a say; values that are not finite count as none.
        depth: D.
    """
    if lesion is not None and lesion.any():
        return int(lesion.sum(axis=(1, 2)).argmax()), "largest lesion"
    total = np.zeros(depth)
    for saliency in maps.values():
        on_slices = np.abs(np.nan_to_num(saliency, posinf=0, neginf=0), dtype=np.float64).sum(axis=(1, 2))
        total += on_slices / (on_slices.sum() or 1)
    if np.ptp(total) > 0:
        return int(total.argmax()), "most of the maps"
    return depth // 2, "the middle"
