"""The coded words of the DICOM objects: the standard's where it has one (PS3.16), else those of a scheme of our own."""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes

from medsaliency.report.wording import metric_label

SCHEME = "99MEDSALIENCY"
"""Designator of our own codes; ``99`` marks a private scheme (PS3.16 section 8)."""

CLASS_ACTIVATION = codes.DCM.ClassActivation
ANALYSIS = codes.DCM.ArtificialIntelligence
NO_UNITS = codes.UCUM.NoUnits
REGION_CATEGORY, REGION_TYPE = codes.SCT.SpatialAndRelationalConcept, codes.DCM.SelectedRegion
"""What a segment is: a region of the image, by no means a finding."""
PROCEDURE = codes.SCT.ImagingProcedure
NOT_A_NUMBER, COMMENT = codes.DCM.NotANumber, codes.DCM.Comment
SOURCE_IMAGE = codes.DCM.SourceImageForImageProcessingOperation
QUANTITY_METHOD = codes.SCT.MeasurementMethod
BASIC_PROFILE = codes.DCM.BasicApplicationConfidentialityProfile
CLEAN_STRUCTURED_CONTENT = codes.DCM.CleanStructuredContentOption

GRADIENT_WEIGHTED = frozenset({"grad_cam", "grad_cam_plus_plus", "x_grad_cam", "hires_cam", "layer_cam"})
SALIENCY = frozenset(
    {
        *("gradient", "input_x_gradient", "smoothgrad", "smoothgrad_squared", "vargrad", "guided_backprop"),
        *("integrated_gradients", "smooth_integrated_gradients", "guided_integrated_gradients"),
        *("blur_integrated_gradients", "smooth_blur_integrated_gradients"),
    }
)


def finer(method: str) -> CodedConcept | None:
    """The standard's own word for a kind of map that is finer than class activation; None where it has none."""
    if method in GRADIENT_WEIGHTED:
        return CodedConcept.from_code(codes.DCM.GradientWeightedClassActivation)
    return CodedConcept.from_code(codes.DCM.Saliency) if method in SALIENCY else None


def class_activation() -> CodedConcept:
    """What every map is, as an item of a sequence."""
    return CodedConcept.from_code(CLASS_ACTIVATION)


def source_image() -> CodedConcept:
    """Why an original is referenced, as an item of a sequence."""
    return CodedConcept.from_code(SOURCE_IMAGE)


def words(text: str, length: int = 64) -> str:
    """Text for an attribute of one line: no backslash, which would begin a second value, and no more than it holds.

    The standard counts characters; some readers count bytes, so that these are what is kept to.
    """
    line = " ".join(text.replace("\\", "/").split())
    if len(line.encode()) <= length:
        return line
    return line.encode()[: length - len("…".encode())].decode(errors="ignore") + "…"


def class_code(index: int, name: str) -> CodedConcept:
    """A class of the model."""
    return CodedConcept(f"class-{index}", SCHEME, words(name) or f"class {index}")


def probability_code(index: int, name: str) -> CodedConcept:
    """The probability that the model gives to one of its classes."""
    return CodedConcept(f"probability-{index}", SCHEME, words(f"Probability of {name}"))


def metric_code(name: str) -> CodedConcept:
    """A measure of a map."""
    return CodedConcept(words(name), SCHEME, words(metric_label(name)))


def predicted_class() -> CodedConcept:
    """The name of the most probable class."""
    return CodedConcept("predicted", SCHEME, "Predicted class")


def explained_class() -> CodedConcept:
    """The name of the class that a map speaks for."""
    return CodedConcept("explained", SCHEME, "Explained class")


def own_scheme() -> CodingSchemeIdentificationItem:
    """What the designator of our codes stands for."""
    return CodingSchemeIdentificationItem(
        SCHEME, name="Classes of an explained model and measures of its maps", responsible_organization="medsaliency"
    )
