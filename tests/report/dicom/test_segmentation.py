from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.report.dicom.segmentation import highest, mask_of, segmentation
from medsaliency.types import MedsaliencyError, generator


@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=60),
    share=st.floats(0.001, 0.999),
)
def test_exactly_the_share_is_chosen_and_none_is_lower_than_one_left_out(values: list[int], share: float) -> None:
    saliency = np.array(values, np.float32)
    chosen = highest(saliency, share, generator(0, "test"))
    assert chosen.sum() == max(1, round(share * len(values)))
    if not chosen.all():
        assert saliency[chosen].min() >= saliency[~chosen].max()


def test_without_ties_it_is_what_sorting_says() -> None:
    saliency = np.random.default_rng(0).permutation(100).astype(np.float32).reshape(4, 25)
    np.testing.assert_array_equal(highest(saliency, 0.1, generator(0, "test")), saliency >= 90)


def test_ties_are_broken_by_the_seed_of_image_and_method(explained: Callable[..., Any]) -> None:
    flat = {"a": np.zeros((20, 20), np.float32), "b": np.zeros((20, 20), np.float32)}
    one = explained((20, 20), maps=flat, methods={"a": "A()", "b": "B()"})
    assert mask_of(one, "a", 0.1).sum() == 40
    np.testing.assert_array_equal(mask_of(one, "a", 0.1), mask_of(one, "a", 0.1))
    assert not np.array_equal(mask_of(one, "a", 0.1), mask_of(one, "b", 0.1))
    other = explained((20, 20), maps=flat, methods={"a": "A()", "b": "B()"}, sample="other")
    assert not np.array_equal(mask_of(one, "a", 0.1), mask_of(other, "a", 0.1))


@pytest.mark.parametrize("share", [0, 1, -0.1, 2, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(MedsaliencyError, match="between 0 and 1"):
        highest(np.zeros((2, 2), np.float32), share, generator(0, "test"))


@pytest.mark.parametrize("kind", ["mr", "dx", "series", "film"])
def test_the_mask_comes_back_through_two_readers(
    kind: str, kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    originals, explanation = kinds[kind].read(), explained(kinds[kind].size)
    segmentation(explanation, "grad_cam", originals, 0.05).save_as(tmp_path / "mask.dcm")
    mask = mask_of(explanation, "grad_cam", 0.05)
    assert mask.sum() == round(0.05 * mask.size)
    made = pydicom.dcmread(tmp_path / "mask.dcm")
    groups = made.PerFrameFunctionalGroupsSequence
    assert len(groups) == len(mask), "one frame a slice, empty ones as well"
    uids = [(str(frame.header.SOPInstanceUID), frame.number) for frame in originals.frames]
    sources = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
    order = [uids.index((str(s.ReferencedSOPInstanceUID), s.get("ReferencedFrameNumber"))) for s in sources]
    np.testing.assert_array_equal(made.pixel_array.reshape(mask.shape).astype(bool), mask[order])
    read = highdicom.imread(tmp_path / "mask.dcm").get_frames()
    np.testing.assert_array_equal(np.asarray(read).astype(bool), mask[order])


def test_it_says_what_the_segment_is_and_how_it_was_made(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    explanation = explained((64, 64))
    made = segmentation(explanation, "grad_cam", kinds["mr"].read(), 0.25)
    assert made.SegmentationType == "BINARY"
    (segment,) = made.SegmentSequence
    lowest = explanation.maps["grad_cam"][mask_of(explanation, "grad_cam", 0.25)[0]].min()
    assert segment.SegmentLabel == "Grad-CAM, highest 25 %"
    assert "The 25 % of pixels with the highest values of the map: 1024 of 4096" in segment.SegmentDescription
    assert f"from {lowest:g} upwards" in segment.SegmentDescription
    assert "no finding" in segment.SegmentDescription
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("Grad-CAM", "1.2.3")
    assert algorithm.AlgorithmParameters == "method=grad_cam(sign='signed'),share=0.25"
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Spatial and Relational Concept"
    (kind,) = segment.SegmentedPropertyTypeCodeSequence
    assert kind.CodeMeaning == "Selected region"
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "130402"
    assert segment.TrackingUID != made.SOPInstanceUID
