"""What is fuzzed: each kind of text or file that a user gives, seeds from which it is changed, and what reads it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import fuzz_seeds


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Args:
        read: Of the bytes and a folder for files. Raises MedsaliencyError where they are refused, and AssertionError
            where what was read is not what it should be.
        seeds: Inputs that are read, made here.
        instrument: Packages whose branches are watched.
        longest: Bytes of an input.
    """

    read: Callable[[bytes, Path], object]
    seeds: Callable[[], list[bytes]]
    instrument: tuple[str, ...]
    longest: int = 4096


def _manifest(data: bytes, folder: Path) -> None:
    from medsaliency.data.manifest import manifest

    file = folder / "manifest.csv"
    file.write_bytes(data)
    found = manifest(file)
    for record in found.records:
        assert record.image.resolve().is_relative_to(folder.resolve()), "an image outside the manifest's folder"
        assert 0 <= record.label < len(found.classes)


def _study(data: bytes, folder: Path) -> None:
    from medsaliency.study.config import dump_study, load_study

    file = folder / "study.yaml"
    file.write_bytes(data)
    study = load_study(file)
    again = folder / "again.yaml"
    again.write_text(dump_study(study), encoding="utf-8")
    assert load_study(again) == study, "another study once it is written and read"


def _options(data: bytes, folder: Path) -> None:
    from medsaliency.study.config import load_study, parse_options

    del folder
    texts = data.decode("utf-8", "surrogateescape").split("\0")  # as arguments of a command come
    options = parse_options(texts)
    assert all(isinstance(name, str) for name in options)
    load_study(None, texts)


def _checkpoint(data: bytes, folder: Path) -> None:
    from medsaliency.model.checkpoint import DESCRIPTION, WEIGHTS, load, metrics_of, reading_of

    description, _, header = data.partition(fuzz_seeds.SEPARATOR)
    (folder / DESCRIPTION).write_bytes(description)
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + fuzz_seeds.numbers())
    classifier = load(folder)
    for value in classifier.module.state_dict().values():
        assert not value.is_floating_point() or bool(value.isfinite().all()), "weights that are not finite"
    json.dumps([metrics_of(folder), reading_of(folder)], allow_nan=False)


def _safetensors(data: bytes, folder: Path) -> None:
    from medsaliency.model.weights import read_safetensors

    file = folder / "model.safetensors"
    file.write_bytes(data)
    found = read_safetensors(file, {"a": (2, 2), "b": (3,)})
    assert {name: tuple(value.shape) for name, value in found.items()} == {"a": (2, 2), "b": (3,)}


def _pickles(data: bytes, folder: Path) -> None:
    from medsaliency.model.adapters.pickled_weights import read_pickled_weights
    from medsaliency.model.weights import read_state_dict
    from medsaliency.types import MedsaliencyError

    file = folder / "weights.pt"
    file.write_bytes(data)
    try:
        found = read_state_dict(file)
    except MedsaliencyError:
        found = read_pickled_weights(file)
    assert all(isinstance(name, str) for name in found)
    assert sum(value.numel() for value in found.values()) <= 8 * len(data)


_kept: dict[str, bytes] = {}
_environments: list[Any] = []


def _explanation(data: bytes, folder: Path) -> None:
    from medsaliency.study.explanations import collect

    (folder / "scan.json").write_bytes(data)
    for found in collect(folder):
        assert isinstance(found.sample, str)
        assert isinstance(found.explains + found.architecture + found.weights + found.version, str)
        assert all(isinstance(name, str) for name in (*found.classes, *found.methods, *found.methods.values()))
        assert all(isinstance(value, float) and 0 <= value <= 1 for value in found.probabilities)
        assert len(found.probabilities) == len(found.classes)
        assert 0 <= found.target < len(found.classes)
        assert hash(found.stored) is not None
        assert all(isinstance(file, Path) for file in found.files)


def _image(kind: str, suffix: str) -> Callable[[bytes, Path], None]:
    """Read a file as its format's reader is used: one image, a slice, and a stack whole."""

    def read(data: bytes, folder: Path) -> None:
        from medsaliency.data.dataset import Record
        from medsaliency.data.formats import FORMATS
        from medsaliency.data.reading import Reading

        file = folder / f"file{suffix}"
        file.write_bytes(data)
        reading = Reading(planes="all")
        stack = FORMATS[kind].stack(file, "file", reading)
        plane = None if stack is None else stack.count // 2
        _require_pixels(FORMATS[kind].read(Record("file", 0, "file", image=file, plane=plane), reading).pixels)
        if stack is not None:
            record = Record("file", 0, "file", image=file)
            _require_pixels(FORMATS[kind].read(record, Reading(volume=True)).pixels)

    return read


def _require_pixels(pixels: Any) -> None:
    assert pixels.dtype == np.float32
    assert pixels.ndim in (3, 4)
    assert pixels.shape[0] in (1, 3)
    assert pixels.size
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() <= pixels.max() <= 1


def _itk(data: bytes, folder: Path) -> None:
    suffix = ".nrrd" if data.startswith(b"NRRD") else ".mha"
    _image("itk", suffix)(data, folder)


def _report(data: bytes, folder: Path) -> None:
    from fuzz_report import contents, structure

    names = [text or "name" for text in data.decode("utf-8", "replace").split("\0")]
    drawn = zlib.crc32(data) % 8 == 0
    page = _page(contents(names), drawn)
    (folder / "report.html").write_text(page, encoding="utf-8")
    key = "drawn" if drawn else "plain"
    if key not in _kept:
        _kept[key] = json.dumps(structure(_page(contents(["name"]), drawn))).encode()
    assert json.dumps(structure(page)).encode() == _kept[key], "a name has changed the elements of the page"


def _page(study: Any, drawn: bool) -> str:
    """The report; its templates are compiled once, and its figures, which take most of the time, drawn at times."""
    from jinja2 import Environment
    from markupsafe import Markup

    from medsaliency.report import evidence, html

    def once(**options: Any) -> Any:
        if not _environments:
            _environments.append(Environment(**options))  # noqa: S701  # nosec B701 # the page's own options
        return _environments[0]

    with ExitStack() as changes:
        changes.enter_context(patch.object(html, "Environment", once))
        if not drawn:
            nothing = Markup("<svg></svg>")
            changes.enter_context(patch.object(evidence, "inline", lambda *_given, **_more: nothing))
            changes.enter_context(patch.dict(evidence.FIGURES, dict.fromkeys(evidence.FIGURES, lambda _contents: [])))
        return html.render(study)


def _hang(data: bytes, folder: Path) -> None:
    del folder
    while data is not None:
        pass


def _crash(data: bytes, folder: Path) -> None:
    import os
    import signal

    del data, folder
    os.kill(os.getpid(), signal.SIGSEGV)


def _eat(data: bytes, folder: Path) -> None:
    del data, folder
    np.ones(5 * 2**28, np.uint8)


def _lines_of_error(data: bytes, folder: Path) -> None:
    from medsaliency.types import MedsaliencyError

    class Lines(MedsaliencyError):  # noqa: N818
        def __str__(self) -> str:
            return "one line\nand another"

    del data, folder
    raise Lines


def _raise(data: bytes, folder: Path) -> int:
    del folder
    return len(data) // 0


def _wrong(data: bytes, folder: Path) -> None:
    del data, folder
    _require_pixels(np.full((1, 2, 2), 3.0, np.float32))


SELF_TESTS: dict[str, Callable[[bytes, Path], object]] = {
    "self-test raise": _raise,
    "self-test lines": _lines_of_error,
    "self-test write": lambda data, folder: (folder.parent / "outside").write_bytes(data),
    "self-test remove": lambda _, folder: folder.rmdir(),
    "self-test wrong": _wrong,
    "self-test hang": _hang,
    "self-test crash": _crash,
    "self-test memory": _eat,
}
"""What a reader must not do, in place of one: the harness has to see it."""

CHECKPOINT = tuple(f"medsaliency.model.{name}" for name in ("checkpoint", "description", "weights"))
CHECKPOINT += ("medsaliency.data.untrusted",)
EXPLANATION = ("medsaliency.study.explanations", "medsaliency.study.about", "medsaliency.data.geometry")
TARGETS: dict[str, Target] = {
    "manifest": Target(_manifest, fuzz_seeds.manifests, ("medsaliency.data", "csv")),
    "study": Target(_study, fuzz_seeds.studies, ("medsaliency.study.config", "medsaliency.data.untrusted")),
    "options": Target(_options, fuzz_seeds.options, ("medsaliency.study.config", "medsaliency.data.untrusted", "yaml")),
    "checkpoint": Target(_checkpoint, fuzz_seeds.checkpoints, CHECKPOINT, 16_384),
    "safetensors": Target(_safetensors, fuzz_seeds.files_of_tensors, ("medsaliency.model.weights",)),
    "pickle": Target(_pickles, fuzz_seeds.pickles, ("medsaliency.model", "pickle", "zipfile"), 8_192),
    "explanation": Target(_explanation, fuzz_seeds.explanations, EXPLANATION),
    "nifti": Target(_image("nifti", ".nii"), fuzz_seeds.niftis, ("medsaliency.data", "nibabel")),
    "itk": Target(_itk, fuzz_seeds.itks, ("medsaliency.data",)),
    "picture": Target(_image("picture", ".png"), fuzz_seeds.pictures, ("medsaliency.data", "PIL")),
    "dicom": Target(_image("dicom", ".dcm"), fuzz_seeds.dicoms, ("medsaliency.data", "pydicom")),
    "report": Target(_report, fuzz_seeds.names, ("medsaliency.report", "markupsafe", "jinja2"), 1_024),
}
"""By name."""
TARGETS |= {name: Target(read, lambda: [b"seed"], ()) for name, read in SELF_TESTS.items()}
