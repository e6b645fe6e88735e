from dataclasses import replace

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from medsaliency.data.dicom.facts import IDENTIFIERS, DicomFacts, dicom_facts, merged
from medsaliency.types import MedsaliencyError


def test_what_a_header_says_is_said_and_no_value_that_identifies(tmp_path, write_dicom):
    path = write_dicom(
        tmp_path / "a.dcm",
        np.zeros((2, 2), np.uint8),
        Modality="DX",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1",
        Manufacturer="Maker",
        ManufacturerModelName="Model 1",
        BurnedInAnnotation="YES",
        PatientName="Secret^Name",
        PatientID="12345",
        AccessionNumber="",
        ImagerPixelSpacing=[0.1, 0.1],
    )
    facts = dicom_facts(path, "x")
    assert facts.kind == "Digital X-Ray Image Storage - For Presentation"
    assert (facts.modality, facts.photometric, facts.spacing_known) == ("DX", "MONOCHROME2", True)
    assert (facts.burned_in, facts.overlays, facts.deidentified) == ("YES", False, "")
    assert (facts.manufacturer, facts.model) == ("Maker", "Model 1")
    assert facts.transfer_syntax == "Explicit VR Little Endian"
    assert facts.identifiers == ("PatientName", "PatientID")
    assert "Secret" not in repr(facts)
    assert "12345" not in repr(facts)


def test_real_headers_have_overlays_spacing_and_identifiers():
    assert dicom_facts(get_path("examples_overlay.dcm"), "x").overlays
    assert not dicom_facts(get_path("RG1_UNCR.dcm"), "x").spacing_known  # it says 0.000
    found = dicom_facts(get_path("CT_small.dcm"), "x").identifiers
    assert {"PatientName", "PatientID"} <= set(found) <= set(IDENTIFIERS)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(200))
    with pytest.raises(MedsaliencyError, match=r"^x: expected a DICOM file"):
        dicom_facts(tmp_path / "a.dcm", "x")


def get_path(name):
    from pathlib import Path

    return Path(get_testdata_file(name, download=False))


def test_slices_together_say_the_worst_of_them_and_several_where_they_differ():
    first = DicomFacts(
        "CT Image Storage", "CT", "MONOCHROME2", True, "NO", False, "A", "1", "RLE", ("PatientID",), "YES"
    )
    assert merged([first, first]) == first
    other = replace(
        first,
        photometric="MONOCHROME1",
        manufacturer="B",
        identifiers=("PatientName",),
        spacing_known=False,
        overlays=True,
    )
    found = merged([first, first, other])
    assert (found.photometric, found.manufacturer, found.model, found.modality) == ("several", "several", "1", "CT")
    assert (found.identifiers, found.spacing_known, found.overlays) == (("PatientName", "PatientID"), False, True)
    for given, together in (("YES", "YES"), ("", ""), ("NO", "NO")):
        assert merged([first, replace(first, burned_in=given)]).burned_in == together
    assert merged([replace(first, burned_in=given) for given in ("", "YES", "NO")]).burned_in == "YES"
    for given, together in (("YES", "YES"), ("", ""), ("NO", "NO")):
        assert merged([first, replace(first, deidentified=given)]).deidentified == together
