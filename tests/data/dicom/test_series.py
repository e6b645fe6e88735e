from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet

from medsaliency.data.dicom.series import find, patients, series
from medsaliency.types import MedsaliencyError

DICOMDIR = Path(get_testdata_file("DICOMDIR", download=False))
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def placed(z, **attributes):
    return {
        "ImagePositionPatient": [0, 0, z],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1],
        "SeriesInstanceUID": "1.2.3",
    } | attributes


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-reordered"])
@pytest.mark.filterwarnings("ignore:The DICOMDIR dataset uses an invalid transfer syntax")
def test_a_dicomdir_lists_what_pydicoms_file_set_has(name):
    theirs = sorted(
        Path(instance.path).relative_to(DICOMDIR.parent).as_posix() for instance in FileSet(DICOMDIR.parent / name)
    )
    assert [one.id for one in find(DICOMDIR.parent / name)] == theirs
    assert len(theirs) == 31


def test_a_dicomdir_that_goes_in_circles_is_read_as_a_list(tmp_path):
    real = pydicom.dcmread(DICOMDIR)
    for record in real.DirectoryRecordSequence:
        record.OffsetOfTheNextDirectoryRecord = real.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
    folder = tmp_path / "files"
    for one in find(DICOMDIR):
        (folder / one.id).parent.mkdir(parents=True, exist_ok=True)
        (folder / one.id).write_bytes(one.path.read_bytes())
    real.save_as(folder / "DICOMDIR")
    assert len(find(folder / "DICOMDIR")) == 31


def test_a_file_that_a_dicomdir_lists_must_be_there_and_inside(tmp_path):
    (tmp_path / "DICOMDIR").write_bytes(DICOMDIR.read_bytes())
    with pytest.raises(MedsaliencyError, match=r"expected the file '77654033/CR1/6154' that it lists, got none"):
        find(tmp_path / "DICOMDIR")
    real = pydicom.dcmread(DICOMDIR)
    for record in real.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record.ReferencedFileID = ["..", "SECRET"]
    (tmp_path / "SECRET").write_bytes(b"")
    (tmp_path / "inner").mkdir()
    real.save_as(tmp_path / "inner" / "DICOMDIR")
    with pytest.raises(MedsaliencyError, match="leads out of"):
        find(tmp_path / "inner" / "DICOMDIR")


def test_files_are_found_at_any_depth_by_content_and_hidden_ones_are_not(tmp_path, write_dicom):
    for name in ("b/c/IM1", "a.dcm", ".hidden/x.dcm", "b/.x.dcm"):
        write_dicom(tmp_path / name, PIXELS)
    (tmp_path / "b" / "notes.dcm").write_text("no DICOM")
    assert [one.id for one in find(tmp_path)] == ["a.dcm", "b/c/IM1"]


def test_a_link_does_not_lead_out(tmp_path, write_dicom):
    outside = write_dicom(tmp_path / "secret.dcm", PIXELS)
    write_dicom(tmp_path / "root" / "a.dcm", PIXELS)
    (tmp_path / "root" / "b.dcm").symlink_to(outside)
    with pytest.raises(MedsaliencyError, match="leads out of"):
        find(tmp_path / "root")


def test_kinds_are_told_apart(tmp_path, write_dicom):
    image = write_dicom(tmp_path / "image.dcm", PIXELS, SOPInstanceUID="1.2.3.1")
    write_dicom(tmp_path / "segmentation.dcm", PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    write_dicom(tmp_path / "structures.dcm", None, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3")
    write_dicom(tmp_path / "report.dcm", None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    reference = pydicom.Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.3.1"
    for name, kind in (("capture", "1.2.840.10008.5.1.4.1.1.7"), ("map", "1.2.840.10008.5.1.4.1.1.30")):
        write_dicom(tmp_path / f"{name}.dcm", PIXELS, SOPClassUID=kind, SourceImageSequence=[reference])
    # An image that refers to another (a scout, say) stays one.
    write_dicom(
        tmp_path / "ct.dcm", PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedImageSequence=[reference]
    )
    kinds = {one.id.removesuffix(".dcm"): one.kind for one in find(tmp_path)}
    assert kinds == {
        "image": "image",
        "ct": "image",
        "segmentation": "mask",
        "structures": "mask",
        "report": "other",
        "capture": "other",
        "map": "other",
    }
    assert find(image)[0].kind == "image"


def test_a_file_with_a_damaged_header_counts_as_an_image_so_that_it_is_told(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a.dcm", PIXELS)
    file.write_bytes(file.read_bytes()[:200])
    found = find(tmp_path)
    assert [(one.id, one.kind) for one in found] == [("a.dcm", "image")]
    assert found[0].fault.startswith("a.dcm: ")
    with pytest.raises(MedsaliencyError, match=r"^a\.dcm: "):
        series(found)


def test_patients_are_the_first_of_their_files_and_told_apart_by_issuer(tmp_path, write_dicom):
    write_dicom(tmp_path / "a.dcm", PIXELS, PatientID="7 ")
    write_dicom(tmp_path / "b.dcm", PIXELS, PatientID="8")
    write_dicom(tmp_path / "c.dcm", PIXELS, PatientID="7")
    write_dicom(tmp_path / "d.dcm", PIXELS, PatientID="7", IssuerOfPatientID="other place")
    write_dicom(tmp_path / "e.dcm", PIXELS)
    found = find(tmp_path)
    assert patients(found) == {"a.dcm": "a.dcm", "b.dcm": "b.dcm", "c.dcm": "a.dcm", "d.dcm": "d.dcm"}
    assert "other place" not in repr(found)


def test_series_are_sorted_along_their_normal_and_films_left_out(tmp_path, write_dicom):
    for name, z in (("c", 4), ("a", 6), ("b", 2), ("d", 0)):
        write_dicom(tmp_path / f"{name}.dcm", PIXELS, **placed(z))
    write_dicom(tmp_path / "scout.dcm", PIXELS, **placed(0, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))
    write_dicom(tmp_path / "film.dcm", PIXELS)
    write_dicom(tmp_path / "frames.dcm", np.stack([PIXELS] * 3))
    for z in (0, 1):
        write_dicom(tmp_path / f"two{z}.dcm", PIXELS, **placed(z, SeriesInstanceUID="1.2.4"))
    found = series(find(tmp_path))
    assert [[one.id for one in volume] for volume in found] == [["d.dcm", "b.dcm", "c.dcm", "a.dcm"], ["frames.dcm"]]


def test_a_place_without_images_is_refused(tmp_path, write_dicom):
    with pytest.raises(MedsaliencyError, match="expected DICOM images, got none"):
        find(tmp_path)
    (tmp_path / "a.txt").write_text("no DICOM")
    with pytest.raises(MedsaliencyError, match="expected a DICOM file"):
        find(tmp_path / "a.txt")
