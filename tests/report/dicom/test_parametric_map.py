from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from medsaliency.report.dicom.parametric_map import parametric_map


def _order(made: pydicom.Dataset, originals: Any) -> list[int]:
    """Which slice each frame is of, by the position of the slice that it references."""
    uids = [(str(frame.header.SOPInstanceUID), frame.number) for frame in originals.frames]
    found = []
    for group in made.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = source.get("ReferencedFrameNumber")
        found.append(uids.index((str(source.ReferencedSOPInstanceUID), None if number is None else int(number))))
    return found


@pytest.mark.parametrize("kind", ["ct", "dx", "frame of a film", "series", "enhanced", "film"])
def test_values_come_back_bit_for_bit_through_two_readers(
    kind: str, kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    originals, explanation = kinds[kind].read(), explained(kinds[kind].size)
    parametric_map(explanation, "grad_cam", originals).save_as(tmp_path / "map.dcm")
    made = pydicom.dcmread(tmp_path / "map.dcm")
    expected = explanation.slices("grad_cam")[_order(made, originals)]
    stored = made.pixel_array.reshape(expected.shape)
    assert stored.dtype == np.float32
    assert stored.tobytes() == expected.tobytes()
    read = highdicom.imread(tmp_path / "map.dcm").get_frames(apply_real_world_transform=True)
    assert np.asarray(read, np.float32).tobytes() == expected.tobytes()


def test_a_series_becomes_a_volume_that_highdicom_puts_where_the_slices_are(
    kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path
) -> None:
    originals, explanation = kinds["series"].read(), explained((5, 128, 128))
    parametric_map(explanation, "grad_cam", originals).save_as(tmp_path / "map.dcm")
    volume = highdicom.imread(tmp_path / "map.dcm").get_volume(apply_real_world_transform=True)
    for place in (0, 4):
        position = originals.frames[place].position
        index = np.round(volume.map_reference_to_indices(np.array([position]))[0]).astype(int)
        np.testing.assert_allclose(volume.map_indices_to_reference(index[None])[0], position, atol=1e-3)
        np.testing.assert_array_equal(volume.array[index[0]], explanation.maps["grad_cam"][place])


def test_it_says_what_its_values_are(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    explanation = explained((64, 64))
    made = parametric_map(explanation, "grad_cam", kinds["mr"].read())
    assert made.ContentQualification == "RESEARCH"
    assert (made.BitsAllocated, made.PhotometricInterpretation) == (32, "MONOCHROME2")
    shared, values = made.SharedFunctionalGroupsSequence[0], explanation.maps["grad_cam"]
    (mapping,) = shared.RealWorldValueMappingSequence
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == values.min()
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == values.max()
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    quantity, method = mapping.QuantityDefinitionSequence
    assert quantity.ConceptNameCodeSequence[0].CodeMeaning == "Quantity"
    assert quantity.ConceptCodeSequence[0].CodeValue == "130402"
    assert method.ConceptCodeSequence[0].CodeValue == "130403"
    window = shared.FrameVOILUTSequence[0]
    assert float(window.WindowCenter) == pytest.approx((values.min() + values.max()) / 2, rel=1e-6)
    assert float(window.WindowWidth) == pytest.approx(values.max() - values.min(), rel=1e-6)
    assert window.VOILUTFunction == "LINEAR_EXACT"


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_map_without_contrast_has_a_window_that_can_be_shown(
    value: float, kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    flat = {"xrai": np.full((64, 64), value, np.float32)}
    made = parametric_map(explained((64, 64), maps=flat, methods={"xrai": "XRAI()"}), "xrai", kinds["mr"].read())
    window = made.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert (float(window.WindowCenter), float(window.WindowWidth)) == (value, 1.0)
    assert len(made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].QuantityDefinitionSequence) == 1


@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1e6])
def test_values_of_any_size_can_be_written(
    scale: float, kinds: dict[str, Any], explained: Callable[..., Any], tmp_path: Path, errors_of: Callable[..., Any]
) -> None:
    values = np.random.default_rng(0).normal(scale=scale, size=(64, 64)).astype(np.float32)
    explanation = explained((64, 64), maps={"gradient": values}, methods={"gradient": "Gradient()"})
    parametric_map(explanation, "gradient", kinds["mr"].read()).save_as(tmp_path / "map.dcm")
    assert errors_of(tmp_path / "map.dcm") == []
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "map.dcm").pixel_array, values)
