import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from scipy import stats

from medsaliency.data import open_source
from medsaliency.data.check import check
from medsaliency.data.dataset import Record
from medsaliency.data.dicom.facts import DicomFacts
from medsaliency.data.dicom.findings import dicom_findings

PLAIN = DicomFacts(
    *("CT Image Storage", "CT", "MONOCHROME2", True, "NO", False, "Acme", "One", "Explicit VR Little Endian", (), "YES")
)


def found(*groups):
    """Findings of groups of (number of patients, label, changes of the header)."""
    seen = []
    for count, label, changes in groups:
        for _ in range(count):
            name = str(len(seen))
            seen.append((Record(name, label, name), replace(PLAIN, **changes)))
    return dicom_findings(seen, ("sick", "well"))


def test_headers_that_are_all_alike_are_nothing_to_tell():
    same = found((10, 0, {}), (10, 1, {}))
    assert (same.problems(), same.notes()) == ([], [])
    assert same.aspects["manufacturer"] == {"Acme": 20}
    assert dicom_findings([], ("sick", "well")) is None


def test_a_manufacturer_that_goes_with_the_class_is_a_problem():
    table = np.array([[18, 2], [4, 16]])
    groups = [(int(table[i, j]), i, {"manufacturer": name}) for i in (0, 1) for j, name in enumerate(("Acme", "Best"))]
    (connection,) = found(*groups).connections
    chi = stats.chi2_contingency(table, correction=False)
    assert connection.strength == pytest.approx(np.sqrt(chi.statistic / 40))
    assert connection.p == pytest.approx(chi.pvalue)
    (problem,) = found(*groups).problems()
    assert problem.startswith("manufacturers go with the class (Cramér's V 0.70): Best in 80% of 'well' and 45% of all")


def test_a_weak_or_chance_connection_is_none():
    assert found((12, 0, {}), (8, 0, {"model": "Two"}), (9, 1, {}), (11, 1, {"model": "Two"})).problems() == []
    assert found((2, 0, {}), (2, 1, {"model": "Two"})).problems() == []


def test_a_patient_counts_once_however_many_images_there_are():
    seen = [(Record(str(i), i % 2, f"patient {i % 2}"), replace(PLAIN, model=f"{i % 2}")) for i in range(100)]
    assert dicom_findings(seen, ("sick", "well")).connections == ()


def test_what_else_a_header_can_say_is_told():
    mixed = found(
        (3, 0, {"photometric": "MONOCHROME1", "burned_in": "YES", "identifiers": ("PatientName", "StudyDate")}),
        (
            3,
            1,
            {
                "spacing_known": False,
                "burned_in": "",
                "overlays": True,
                "modality": "MR",
                "identifiers": ("StudyDate",),
            },
        ),
    )
    assert mixed.problems() == [
        "images with annotations burnt into the pixels: 3; they may name the patient or give the class away: crop or "
        "mask them"
    ]
    notes = "\n".join(mixed.notes())
    for text in (
        "photometric interpretations differ (3 MONOCHROME1, 3 MONOCHROME2)",
        "modalities differ: 3 CT, 3 MR",
        "without a pixel spacing in millimeters: 3",
        "do not say whether annotations are burnt into the pixels: 3",
        "with overlays, which are not drawn: 3",
        "headers identify people: StudyDate in 6, PatientName in 3;",
    ):
        assert text in notes


def test_a_check_of_dicom_files_reads_headers_and_writes_no_identifier(tmp_path):
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    rng = np.random.default_rng(0)
    for i in range(24):
        source.PatientName, source.PatientID = "Marked^Name", f"MARKED-{i}"
        source.Manufacturer = "Acme" if i < 12 else "Best"
        source.BurnedInAnnotation = "NO"
        source.SOPInstanceUID = f"1.2.3.{i}"
        source.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID
        source.PixelData = rng.integers(0, 2000, (128, 128), dtype=np.int16).tobytes()
        place = tmp_path / ("sick" if i < 12 else "well")
        place.mkdir(exist_ok=True)
        source.save_as(place / f"{i}.dcm")
    findings = check(open_source(tmp_path, "dicom"))
    assert findings.dicom is not None
    assert findings.dicom.images == 24
    assert findings.unreadable == ()
    assert any("manufacturers go with the class (Cramér's V 1.00)" in problem for problem in findings.problems())
    assert any("PatientID in 24" in note and "PatientName in 24" in note for note in findings.notes())
    written = json.dumps(findings.to_dict())
    assert "arked" not in written
    assert "MARKED" not in written


def test_volumes_are_checked_as_images_are(tmp_path):
    volumes = [np.random.default_rng(i).random((6, 16, 12), dtype=np.float32) for i in range(3)]
    np.savez(
        tmp_path / "volumes.npz",
        train_images=np.stack([(v * 255).astype(np.uint8) for v in (*volumes, volumes[0])]),
        train_labels=np.array([[0], [1], [0], [1]]),
    )
    findings = check(open_source(tmp_path / "volumes.npz", "medmnist"))
    assert (findings.depth, findings.height, findings.width) == ((6, 6, 6), (16, 16, 16), (12, 12, 12))
    assert findings.conflicting.count == 1
