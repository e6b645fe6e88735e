"""A Parametric Map (PS3.3 A.75): the map as it is, 32-bit floats on the original's own pixels."""

from __future__ import annotations

from highdicom import VOILUTFunctionValues
from highdicom.content import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr.value_types import CodeContentItem
from pydicom.dataset import Dataset

from medsaliency.report.dicom import codes
from medsaliency.report.dicom.explanation import Explanation
from medsaliency.report.dicom.identity import KINDS, identify
from medsaliency.report.dicom.originals import Originals
from medsaliency.report.dicom.references import equipment, restore, stand_ins
from medsaliency.report.wording import method_label


def parametric_map(explanation: Explanation, method: str, originals: Originals) -> Dataset:
    """The map of one method as a Parametric Map, one frame a slice.

    Args:
        explanation: What is exported.
        method: Whose map.
        originals: Its source images, which share its grid.
    """
    slices = explanation.slices(method)
    low, high = float(slices.min()), float(slices.max())
    label = method_label(method)
    identity = identify(explanation, originals, KINDS[0], method, "", label)
    mapping = RealWorldValueMapping(
        lut_label="CLASS ACTIVATION",
        lut_explanation=codes.words(f"Class activation by {label}, no units"),
        unit=codes.NO_UNITS,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.CLASS_ACTIVATION,
    )
    finer = codes.finer(method)
    if finer is not None:
        mapping.QuantityDefinitionSequence.append(CodeContentItem(codes.QUANTITY_METHOD, finer))
    made = ParametricMap(
        source_images=stand_ins(originals),
        pixel_array=slices,
        series_instance_uid=identity.series,
        series_number=identity.series_number,
        sop_instance_uid=identity.instance,
        instance_number=identity.number,
        **equipment(explanation.weights, explanation.version),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        # LINEAR_EXACT is the one linear function whose window may be narrower than 1.
        voi_lut_transformations=[
            VOILUTTransformation(
                (low + high) / 2, (high - low) or 1.0, voi_lut_function=VOILUTFunctionValues.LINEAR_EXACT
            )
        ],
        content_label="CLASS_ACTIVATION",
        content_description=codes.words(f"{label} of {explanation.classes[explanation.target]}"),
    )
    restore(made, originals, identity)
    return made
