"""Original DICOM files of every kind, explanations of them, and an independent validator."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from medsaliency.report.dicom import Explanation, Originals
from medsaliency.report.dicom.originals import read_originals

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
NORMAL = np.cross(OBLIQUE[:3], OBLIQUE[3:])


@dataclass(frozen=True)
class Original:
    """Files of one explained image: those of a series in order, or one, and the frame of it that was explained."""

    files: tuple[Path, ...]
    size: tuple[int, ...]
    frame: int | None = None

    def read(self) -> Originals:
        return read_originals("sample", self.files, self.frame, self.size)


def _known(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str), f"{name} comes with pydicom or pydicom-data"
    return Path(found)


def _radiograph(folder: Path) -> Original:
    """A radiograph of a digital detector, made by hand: no example file is one."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.PatientName, image.PatientID = "DX", "Test^Radiograph", "DX1"
    image.Rows, image.Columns, image.SamplesPerPixel = 40, 30, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.ImagerPixelSpacing, image.PatientOrientation, image.Laterality = [0.2, 0.2], ["L", "F"], "R"
    image.PixelData = np.random.default_rng(0).integers(0, 4096, (40, 30), dtype=np.uint16).tobytes()
    path = folder / "dx.dcm"
    image.save_as(path, enforce_file_format=True)
    return Original((path,), (40, 30))


def _series(folder: Path) -> Original:
    """Five oblique slices of one series, 2.5 mm apart."""
    first = pydicom.dcmread(_known("CT_small.dcm"))
    paths = []
    for place in range(5):
        one = deepcopy(first)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.InstanceNumber = place + 1
        one.ImageOrientationPatient = list(OBLIQUE)
        one.ImagePositionPatient = [float(v) for v in np.round((10.0, -20.0, 30.0) + 2.5 * place * NORMAL, 6)]
        paths.append(folder / f"slice-{place}.dcm")
        one.save_as(paths[-1])
    return Original(tuple(paths), (5, 128, 128))


def _enhanced(folder: Path, series: Original) -> Path:
    """The same slices as one multi-frame file."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    slices = [pydicom.dcmread(path) for path in series.files]
    for one in slices:
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = LegacyConvertedEnhancedCTImage(slices, generate_uid(), 7, generate_uid(), 1)
    path = folder / "enhanced.dcm"
    made.save_as(path)
    return path


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Original]:
    """An original of every kind, by name."""
    folder = tmp_path_factory.mktemp("originals")
    series = _series(folder)
    enhanced = _enhanced(folder, series)
    film = _known("examples_ybr_color.dcm")
    return {
        "ct": Original((_known("CT_small.dcm"),), (128, 128)),
        "ct without a frame of reference": Original((_known("693_J2KI.dcm"),), (512, 512)),
        "mr": Original((_known("MR_small.dcm"),), (64, 64)),
        "cr": Original((_known("RG3_J2KI.dcm"),), (1760, 1760)),
        "dx": _radiograph(folder),
        "us": Original((_known("examples_rgb_color.dcm"),), (240, 320)),
        "sc": Original((_known("SC_rgb.dcm"),), (100, 100)),
        "film": Original((film,), (30, 240, 320)),
        "frame of a film": Original((film,), (240, 320), frame=6),
        "series": series,
        "slice of a series": Original(series.files, (128, 128), frame=3),
        "enhanced": Original((enhanced,), (5, 128, 128)),
        "frame of an enhanced file": Original((enhanced,), (128, 128), frame=3),
    }


@pytest.fixture(scope="session")
def explained() -> Callable[..., Explanation]:
    """Make an explanation of an image of a size, with values that repeat themselves nowhere."""

    def make(size: Sequence[int], names: Sequence[str] = ("grad_cam",), **given: Any) -> Explanation:
        rng = np.random.default_rng([len(size), *size])
        signed = {name: rng.normal(size=size).astype(np.float32) for name in names}
        settings: dict[str, Any] = {
            "sample": "sample",
            "number": 3,
            "image": rng.random((1, *size), dtype=np.float32),
            "maps": signed,
            "methods": {name: f"{name}(sign='signed')" for name in names},
            "classes": ("no tumor", "glioma", "méningiome"),
            "probabilities": (0.1, 0.7000000123, 0.2),
            "target": 1,
            "explains": "Logit(index=1)",
            "architecture": "small_cnn",
            "weights": "0123456789abcdef" * 4,
            "version": "1.2.3",
            "seed": 5,
            "scores": {
                name: {"evidence": (0.1 + place / 3, ""), "sic_entropy_published": (float("nan"), "the map is flat")}
                for place, name in enumerate(names)
            },
        }
        return Explanation(**{**settings, **given})

    return make


@pytest.fixture(scope="session")
def errors_of() -> Callable[[Path], list[str]]:
    """What dciodvfy, of Debian's dicom3tools, calls an error in a file."""
    if shutil.which("dciodvfy") is None:
        reason = "dciodvfy is missing; install Debian's dicom3tools"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    def run(path: Path) -> list[str]:
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        lines = (said.stderr + said.stdout).splitlines()
        assert len(lines) > 0, "it names at least the kind of object"
        return [line for line in lines if line.startswith("Error") or "Abort" in line]

    return run
