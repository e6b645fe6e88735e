"""Seeds of fuzzing: inputs of each kind that are read, made by the libraries that write them."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import numpy as np

SEPARATOR = b"\n---\n"
"""Between the two files of a checkpoint."""
_kept: dict[str, bytes] = {}


def manifests() -> list[bytes]:
    """CSV: planes, boxes, paths that lead out, and a byte order mark."""
    rows = (
        "image,label,patient_id,split,plane\na.png,yes,p1,train,\nb.png,no,p2,test,\nc.nii,yes,p3,,2\nd.png,no,p4,,\n"
    )
    boxes = 'image,label,boxes,mask\na.png,x,"1 2 3 4;5 6 7 8",\nb/c.png,x,,b/m.png\n'
    odd = 'image,label\n"a,1.png",=1+1\n../b.png,\u00e9\n/etc/c.png,=1+1\na\\b.png,\u00e9\n'
    return [rows.encode(), boxes.encode(), odd.encode(), ("\ufeff" + rows.replace("\n", "\r\n")).encode()]


def studies() -> list[bytes]:
    """YAML of studies."""
    from medsaliency.study.config import Study, dump_study

    small = "data: {source: sandbox, size: 64}\nmodel: {architecture: resnet18}\nseed: 3\n"
    methods = (
        "explain:\n  methods: [gradient, grad_cam]\nevaluate:\n  metrics: {insertion_deletion: {}}\n  checks: []\n"
    )
    check = "evaluate:\n  checks:\n    data_randomization: {checkpoint: runs/other}\n"
    files = "data:\n  source: manifest\n  root: images\n  options: {window: [40, 400], planes: middle}\n"
    long = "model:" + dump_study(Study()).partition("model:")[2].partition("explain:")[0]
    return [text.encode() for text in (small, methods, check, files, long)]


def options() -> list[bytes]:
    """Arguments of ``--set`` and ``--option``, with a zero between two."""
    return [
        b"window=[40, 400]\0planes=middle",
        b"data.options.view=axial",
        b"training.epochs=5\0model.architecture=resnet18",
        b"a={b: [1.5]}",
    ]


def _saved() -> bytes:
    """The weights of a small network as safetensors writes them."""
    if "weights" not in _kept:
        from safetensors.torch import save

        from medsaliency.model.zoo import build

        state = build("small_cnn", classes=2).state_dict()
        _kept["weights"] = save({name: value.contiguous() for name, value in state.items()})
    return _kept["weights"]


def numbers() -> bytes:
    """What follows the header in a file of a small network's weights."""
    content = _saved()
    return content[8 + int.from_bytes(content[:8], "little") :]


def checkpoints() -> list[bytes]:
    """``model.json``, the separator, and the header of its weights."""
    content = _saved()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    plain: dict[str, Any] = {
        "architecture": "small_cnn", "classes": ["a", "b"], "channels": 1, "size": 32, "mean": [0.5], "std": [0.25],
        "output": "softmax", "target_layer": "stage2", "trained_on": {}, "metrics": {}, "reading": {},
    }  # fmt: skip
    more = plain | {
        "size": None, "output": "sigmoid", "target_layer": None, "metrics": {"training_accuracy": 0.5},
        "reading": {"window": [40.0, 400.0], "view": "axial", "planes": None, "volume": False, "fit": "crop"},
    }  # fmt: skip
    return [
        json.dumps(each).encode() + SEPARATOR + header for each in (plain, more, plain | {"architecture": "resnet18"})
    ]


def files_of_tensors() -> list[bytes]:
    """Whole files of safetensors."""
    from safetensors.numpy import save

    both = {"a": np.zeros((2, 2), np.float32), "b": np.zeros(3, np.float16)}
    return [save(both), save(both | {"c": np.zeros((0,), np.int64)}), save(both, {"format": "pt"})]


def pickles() -> list[bytes]:
    """State dicts and a network that torch saved, in both of its layouts."""
    import torch
    from torch import nn

    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    contents: list[object] = [module.state_dict(), {"state_dict": module.state_dict(), "epoch": 3}, module]
    found = []
    for content in contents:
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=zipped)
            found.append(stream.getvalue())
    return found


def explanations() -> list[bytes]:
    """What ``medsaliency explain`` writes beside its maps."""
    from medsaliency.data.geometry import plan, to_dict
    from medsaliency.types import Geometry, Slice

    flat = Geometry((48, 60), plan((48, 60), 32))
    slice_ = Geometry((40, 40), plan((40, 40), 32, fit="crop"), slice=Slice(2, 3, (40, 40, 8)))
    about = {
        "sample": "scan", "source": None, "plane": None, "geometry": to_dict(flat), "classes": ["no", "yes"],
        "probabilities": [0.25, 0.75], "target": 1, "explains": "Logit(index=1)", "methods": {"gradient": "Gradient()"},
        "model": {"architecture": "small_cnn", "weights": "ab"}, "medsaliency": "1.2.3",
    }  # fmt: skip
    more = about | {
        "source": "scans/a.nii", "plane": 3, "geometry": to_dict(slice_), "sha256": ["00" * 32],
        "reading": {"window": [40.0, 400.0], "view": "axial"},
    }  # fmt: skip
    series = more | {"parts": ["scans/a.dcm", "scans/b.dcm"], "sha256": ["00" * 32, "11" * 32]}
    return [json.dumps(each).encode() for each in (about, more, series)]


def pictures() -> list[bytes]:
    """Every kind of picture that is read, of 8 x 6 pixels."""
    from PIL import Image

    ramp = (np.arange(48).reshape(6, 8) * 5).astype(np.uint8)
    gray, color = Image.fromarray(ramp), Image.fromarray(np.stack([ramp, ramp.T.reshape(6, 8), 255 - ramp], axis=2))
    deep, real = Image.fromarray(ramp.astype(np.uint16) * 250), Image.fromarray(ramp.astype(np.float32) / 3)
    kinds = [
        (gray, "PNG", {}), (color, "PNG", {}), (deep, "PNG", {}), (color.convert("P"), "PNG", {}), (gray, "JPEG", {}),
        (color, "JPEG", {"progressive": True}), (color, "TIFF", {}), (real, "TIFF", {}),
        (gray.convert("1"), "TIFF", {}), (deep, "TIFF", {"compression": "tiff_lzw"}),
        (gray, "BMP", {}), (color, "WEBP", {}), (gray, "GIF", {}),
        (color, "PPM", {}), (gray, "JPEG2000", {}),
    ]  # fmt: skip
    found = []
    for image, kind, options in kinds:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        found.append(stream.getvalue())
    return found


def niftis() -> list[bytes]:
    """NIfTI-1 and NIfTI-2: a volume, a plane, colors, real numbers, gzipped."""
    import nibabel

    kinds: Any = nibabel
    ramp, affine = np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([2.0, 2.0, 3.0, 1.0])
    rgb = np.zeros((3, 4, 2), np.dtype([("R", np.uint8), ("G", np.uint8), ("B", np.uint8)]))
    found = [
        kinds.Nifti1Image(ramp, affine), kinds.Nifti1Image(ramp[:, :, 0], affine), kinds.Nifti1Image(rgb, affine),
        kinds.Nifti1Image(ramp.astype(np.float32), affine), kinds.Nifti2Image(ramp.astype(np.uint8), affine),
        kinds.Nifti1Image(ramp[..., None], None),
    ]  # fmt: skip
    contents = [image.to_bytes() for image in found]
    return [*contents, gzip.compress(contents[0], mtime=0)]


def itks() -> list[bytes]:
    """MetaImage and NRRD, plain and gzipped."""
    numbers = np.arange(24, dtype="<i2").tobytes()
    meta = (
        b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        b"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 2\nDimSize = 2 3 4\n"
        b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    nrrd = (
        b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 3 4\n"
        b"space directions: (1,0,0) (0,1,0) (0,0,2)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        b"space origin: (0,0,0)\n\n"
    )
    packed = gzip.compress(numbers, mtime=0)
    return [meta + numbers, nrrd + numbers, nrrd.replace(b": raw", b": gzip") + packed]


def dicoms() -> list[bytes]:
    """One frame and two, plain, as RLE, JPEG and JPEG 2000."""
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

    ramp = np.arange(96, dtype=np.uint16).reshape(2, 6, 8)
    found = [_dicom(ramp[:1]), _dicom(ramp), _dicom(ramp.astype(np.uint8)), _dicom(ramp[:1], RLELossless)]
    found += [_dicom(ramp, RLELossless), _dicom(ramp[:1].astype(np.uint8), JPEGBaseline8Bit)]
    return [*found, _dicom(ramp[:1].astype(np.uint8), JPEG2000Lossless)]


def _dicom(frames: np.ndarray, syntax: str | None = None) -> bytes:
    """An image, or several frames, of the pixels (frames, H, W), with what geometry and windows are read from."""
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = pydicom.Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID, made.Modality, made.PatientID = CTImageStorage, "1.2.3", "CT", "p"
    made.SeriesInstanceUID, made.StudyInstanceUID = "1.2.4", "1.2.5"
    made.Rows, made.Columns, made.SamplesPerPixel = *frames.shape[1:], 1
    made.PhotometricInterpretation, made.PixelRepresentation = "MONOCHROME2", 0
    bits = 8 * frames.itemsize
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelSpacing, made.ImagePositionPatient, made.ImageOrientationPatient = [1, 1], [0, 0, 0], [1, 0, 0, 0, 1, 0]
    made.RescaleSlope, made.RescaleIntercept, made.WindowCenter, made.WindowWidth = 1, -10, 20, 60
    if len(frames) > 1:
        made.NumberOfFrames = len(frames)
    made.PixelData = frames.tobytes()
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    if syntax == RLELossless:
        made.compress(syntax, frames if len(frames) > 1 else frames[0], generate_instance_uid=False)
    elif syntax is not None:
        meta.TransferSyntaxUID = syntax
        made.PixelData = encapsulate([_encoded(frame, syntax) for frame in frames])
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _encoded(frame: np.ndarray, syntax: str) -> bytes:
    from PIL import Image
    from pydicom.uid import JPEGBaseline8Bit

    stream = io.BytesIO()
    options = {} if syntax == JPEGBaseline8Bit else {"no_jp2": True, "irreversible": False}
    Image.fromarray(frame).save(stream, "JPEG" if syntax == JPEGBaseline8Bit else "JPEG2000", **options)
    return stream.getvalue()


def names() -> list[bytes]:
    """Names that would be markup, code or a format where they were not escaped."""
    return [
        b"name", b"<script>alert(1)</script>", b"' onmouseover='x()", b'" onload="x()', b"--><img src=x>", b"]]>",
        b"{{ 7 * 7 }}", b"</style></script>", "\u202e\u00e9".encode(), b"javascript:x()", b"a/b/../c", b"&lt;",
        b"\\u003cb\\u003e", b"$\\frac{1}$", b"one\0<b>two</b>\0'three'", b"line\nline", b"%s {0} %(x)d",
    ]  # fmt: skip
