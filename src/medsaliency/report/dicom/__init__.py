"""DICOM objects of an explanation, written beside the original and referencing it. To add one, write its file."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from medsaliency.report.dicom.explanation import Explanation
from medsaliency.report.dicom.originals import Originals
from medsaliency.report.dicom.parametric_map import parametric_map
from medsaliency.report.dicom.references import evidence
from medsaliency.report.dicom.secondary_capture import secondary_capture
from medsaliency.report.dicom.segmentation import segmentation
from medsaliency.report.dicom.structured_report import structured_report
from medsaliency.types import MedsaliencyError

__all__ = ["Explanation", "Originals", "objects"]


def objects(
    explanation: Explanation, originals: Originals, share: float, *, captures: bool = True
) -> Iterator[tuple[str, Dataset]]:
    """Every object of one explained image with a name for its file: three for each method, and a report of all.

    Each is made when it is asked for, and may be changed by who has it: a volume's are too large to be kept together.

    Args:
        explanation: What is exported.
        originals: Its source images, which share its grid.
        share: Of the highest pixels of a map, which become a segment.
        captures: Whether to make Secondary Captures, which show the original's pixels.

    Raises:
        MedsaliencyError: If no such object can be made of the image. It names the sample and nothing of a header.
    """
    try:
        yield from _made(explanation, originals, share, captures=captures)
    except ValueError:
        # Neither its words nor itself are passed on: a library may quote a header's values.
        raise MedsaliencyError(
            f"{explanation.sample}: expected an original beside which DICOM objects can be made, got one that "
            "highdicom refuses; write --nifti, or leave it out with --images"
        ) from None


def _made(
    explanation: Explanation, originals: Originals, share: float, *, captures: bool
) -> Iterator[tuple[str, Dataset]]:
    written: dict[str, list[Dataset]] = {}
    for method in explanation.maps:
        floats = parametric_map(explanation, method, originals)
        segment = segmentation(explanation, method, originals, share)
        written[method] = [evidence(floats), evidence(segment)]
        yield f"{method}.parametric-map", floats
        yield f"{method}.segmentation", segment
        if captures:
            yield f"{method}.secondary-capture", secondary_capture(explanation, method, originals)
    yield "report", structured_report(explanation, originals, written)
