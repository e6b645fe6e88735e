"""A Secondary Capture in color (PS3.3 A.8.1, A.8.5.4 for several slices): a picture, for viewers that show no more."""

from __future__ import annotations

from highdicom.sc import SCImage
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from medsaliency.report.dicom import codes
from medsaliency.report.dicom.explanation import Explanation
from medsaliency.report.dicom.identity import KINDS, digest, identify
from medsaliency.report.dicom.originals import Originals
from medsaliency.report.dicom.picture import NOTICE, draw
from medsaliency.report.dicom.references import LOSSY, equipment, restore, stand_ins
from medsaliency.report.wording import method_label


def secondary_capture(explanation: Explanation, method: str, originals: Originals) -> Dataset:
    """The pictures of one method's map as a Secondary Capture, of several frames where there are several slices.

    Args:
        explanation: What is exported.
        method: Whose map.
        originals: Its source images, which share its grid.
    """
    label = method_label(method)
    identity = identify(explanation, originals, KINDS[2], method, _content(explanation), label)
    pictures = draw(explanation, method)
    sources = stand_ins(originals)
    maker = equipment(explanation.weights, explanation.version)
    made = SCImage(
        pixel_array=pictures[0],
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=sources[0].StudyInstanceUID,
        series_instance_uid=identity.series,
        series_number=identity.series_number,
        sop_instance_uid=identity.instance,
        instance_number=identity.number,
        **maker,
    )
    made.PatientOrientation = []  # of a page with text; the image on it lies as the original does
    made.SecondaryCaptureDeviceManufacturer = maker["manufacturer"]
    made.SecondaryCaptureDeviceManufacturerModelName = maker["manufacturer_model_name"]
    made.SecondaryCaptureDeviceSoftwareVersions = maker["software_versions"]
    if len(pictures) > 1:
        _to_frames(made, len(pictures))
        made.PixelData = pictures.tobytes()
    # Whether the pixels name the patient: the text that is drawn here does not. Several frames have to say, and of an
    # original that does not, it cannot be ruled out.
    if said := originals.burned_in or ("YES" if len(pictures) > 1 else ""):
        made.BurnedInAnnotation = said
    made.ImageComments = NOTICE
    made.DerivationDescription = f"Map of {label} over the source image, with a legend and text. {NOTICE}"
    made.SourceImageSequence = [_reference(source) for source in sources]
    for keyword in LOSSY:
        if sources[0].get(keyword):
            made[keyword] = sources[0][keyword]
    restore(made, originals, identity)
    return made


def _content(explanation: Explanation) -> str:
    """What decides the picture beside the map: the image under it, and its proportions."""
    return f"{digest(explanation.image)} {explanation.spacing}"


def _to_frames(made: Dataset, count: int) -> None:
    """Make a single-frame object one of several frames, which are the pages of a document."""
    kind = MultiFrameTrueColorSecondaryCaptureImageStorage
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = kind
    made.NumberOfFrames = count
    made.FrameIncrementPointer = tag_for_keyword("PageNumberVector")
    made.PageNumberVector = list(range(1, count + 1))


def _reference(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [codes.source_image()]
    return item
