"""A Segmentation (PS3.3 A.51): the highest pixels of a map, at a stated share of them."""

from __future__ import annotations

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset

from medsaliency.report.dicom import codes
from medsaliency.report.dicom.explanation import Explanation
from medsaliency.report.dicom.identity import KINDS, MAKER, identify, unique
from medsaliency.report.dicom.originals import Originals
from medsaliency.report.dicom.references import equipment, restore, stand_ins
from medsaliency.report.wording import method_label
from medsaliency.types import BoolArray, FloatArray, MedsaliencyError, generator


def highest(saliency: FloatArray, share: float, rng: np.random.Generator) -> BoolArray:
    """The highest pixels of a map: exactly ``share`` of all, rounded, and at least one.

    Args:
        saliency: Of any shape; sign counts, so that what speaks against the class is lowest.
        share: In (0, 1).
        rng: Draws the order among equal values at the threshold.

    Returns:
        Bool of the same shape.

    Raises:
        MedsaliencyError: If the share is none.
    """
    if not 0 < share < 1:
        raise MedsaliencyError(f"export: expected a threshold between 0 and 1 (a share of the pixels), got {share}")
    flat = saliency.ravel()
    count = max(1, round(share * flat.size))
    threshold = np.partition(flat, flat.size - count)[flat.size - count]
    chosen: BoolArray = flat > threshold
    level = np.flatnonzero(flat == threshold)
    chosen[rng.permutation(level)[: count - int(chosen.sum())]] = True
    return chosen.reshape(saliency.shape)


def mask_of(explanation: Explanation, method: str, share: float) -> BoolArray:
    """The highest pixels of a method's map (D, H, W), over all slices together."""
    rng = generator(explanation.seed, explanation.sample, method, "segmentation")
    return highest(explanation.slices(method), share, rng)


def segmentation(explanation: Explanation, method: str, originals: Originals, share: float) -> Dataset:
    """The highest pixels of one method's map as a binary Segmentation, one frame a slice.

    Args:
        explanation: What is exported.
        method: Whose map.
        originals: Its source images, which share its grid.
        share: Of all pixels, in (0, 1).
    """
    mask = mask_of(explanation, method, share)
    label, percent = method_label(method), f"{100 * share:g} %"
    identity = identify(explanation, originals, KINDS[1], method, repr(share), label)
    segment = SegmentDescription(
        segment_number=1,
        segment_label=codes.words(f"{label}, highest {percent}"),
        segmented_property_category=codes.REGION_CATEGORY,
        segmented_property_type=codes.REGION_TYPE,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=codes.words(label),
            family=codes.ANALYSIS,
            version=explanation.version,
            source=MAKER,
            parameters={"method": explanation.methods[method], "share": repr(share)},
        ),
        tracking_uid=unique("segment", identity.instance),
        tracking_id=codes.words(f"{method} {percent}"),
    )
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence = [codes.class_activation()]
    values = explanation.slices(method)[mask]
    segment.SegmentDescription = (
        f"The {percent} of pixels with the highest values of the map: {int(mask.sum())} of {mask.size}, from "
        f"{values.min():g} upwards. They mark what the model used and no finding. Research use only."
    )
    made = Segmentation(
        source_images=stand_ins(originals),
        pixel_array=mask,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=identity.series,
        series_number=identity.series_number,
        sop_instance_uid=identity.instance,
        instance_number=identity.number,
        **equipment(explanation.weights, explanation.version),
        omit_empty_frames=False,
        content_label="CLASS_ACTIVATION",
        content_description=codes.words(f"{label} of {explanation.classes[explanation.target]}, highest {percent}"),
    )
    restore(made, originals, identity)
    return made
