"""Taking explanations out: DICOM objects beside the original images, and NIfTI files on their grids."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medsaliency.attribution import CONTROLS
from medsaliency.report.nifti import merged, nifti
from medsaliency.report.spreadsheet import harmless, original
from medsaliency.study.explanations import Found, collect
from medsaliency.study.store import write_bytes
from medsaliency.types import MedsaliencyError, Track, nearest, silent

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medsaliency.report.dicom.originals import Originals

THRESHOLD = 0.1
"""Share of a map's pixels, the highest, that become a segment."""
INDEX, LEFT_OUT = "index.csv", "captures-left-out.txt"
"""Of an export's folder: which sample each number is, and of which images there are no pictures."""


def export(
    source: Path,
    output: Path,
    *,
    dicom: bool = False,
    to_nifti: bool = False,
    methods: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    de_identify: bool = False,
    data_root: Path | None = None,
    track: Track = silent,
) -> list[Path]:
    """Write the maps of a run, or of explained files, as DICOM objects, as NIfTI, or as both.

    Each image has a folder of its own, named after its number; ``index.csv`` says which sample that is. Everything
    named is looked up, and every original is compared with what was explained, before anything is written; files of the
    same names in ``output`` are replaced.

    Args:
        source: Folder of a finished run, or of what ``medsaliency explain`` has written.
        output: Folder for the exports.
        dicom: Write, for each image and method, a Parametric Map, a Segmentation and a Secondary Capture, and for each
            image a Structured Report, beside the original DICOM image and referencing it.
        to_nifti: Write, for each image and method, a NIfTI file on the stored array's grid and affine; several slices
            of one stored volume become one file.
        methods: Names; None for all that are no controls.
        images: Samples; None for all.
        threshold: Share of a map's pixels, the highest, that become a segment.
        de_identify: Apply the Basic Application Level Confidentiality Profile to what is written, into a new folder and
            without an index. Secondary Captures are left out unless the original denies burned-in annotations.
        data_root: Where the originals lie, if not where they were.
        track: Shows progress.

    Returns:
        The files, in the order written: the index first, and last a note of what was left out, where anything was.

    Raises:
        MedsaliencyError: If neither is asked for, a name is unknown, an original is not what was explained or
            cannot be referenced, or ``output`` holds exports of others. It names samples and nothing of a header.
    """
    if not dicom and not to_nifti:
        raise MedsaliencyError("export: expected --dicom, --nifti or both, got neither")
    if not 0 < threshold < 1:
        raise MedsaliencyError(f"export: expected a threshold between 0 and 1 (a share of pixels), got {threshold}")
    found = _chosen(collect(source, data_root), images)
    names = _methods(found, methods)
    folders = {one.sample: output / f"{one.number:04d}" for one in found}
    sources = {one.sample: _originals(one, de_identify) for one in found} if dicom else {}
    index = _index(found, output, de_identify)
    written: list[Path] = []
    if index:
        write_bytes(output / INDEX, index)
        written.append(output / INDEX)
    if dicom:
        cleaned = _cleaning(de_identify)
        for one in track(found, "exporting DICOM", len(found)):
            written += _write_dicom(one, sources[one.sample], names, threshold, cleaned, folders[one.sample])
    if to_nifti:
        stored: dict[object, list[Found]] = {}
        for one in found:
            stored.setdefault(one.stored, []).append(one)
        for together in track(list(stored.values()), "exporting NIfTI", len(stored)):
            written += _write_nifti(together, names, folders[together[0].sample])
    left_out = [folders[sample].name for sample, source in sources.items() if not source.captures]
    if left_out:
        write_bytes(output / LEFT_OUT, _note(left_out))
        written.append(output / LEFT_OUT)
    return written


def _chosen(found: list[Found], images: Sequence[str] | None) -> list[Found]:
    """The images asked for, in the order of their numbers."""
    if images is None:
        return found
    known = {one.sample for one in found}
    for image in images:
        if image not in known:
            raise MedsaliencyError(f"export: unknown image {image!r}{nearest(image, known)}")
    if not images:
        raise MedsaliencyError("export: expected at least one image, got none; leave --images out for all")
    return [one for one in found if one.sample in images]


def _methods(found: Sequence[Found], methods: Sequence[str] | None) -> list[str]:
    """The methods asked for; every image has all of them."""
    known = [name for name in found[0].methods if all(name in one.methods for one in found)]
    chosen = [name for name in known if name not in CONTROLS] if methods is None else list(dict.fromkeys(methods))
    for name in chosen:
        if name not in known:
            raise MedsaliencyError(
                f"export: unknown method {name!r}, of which every image has a map{nearest(name, known)}"
            )
    if not chosen:
        raise MedsaliencyError(
            f"export: expected at least one method, got none; there are {', '.join(known) or 'none'}"
        )
    return chosen


def _index(found: Sequence[Found], output: Path, de_identify: bool) -> bytes:
    """Which sample each number is, with those of earlier exports to the folder; nothing where it is de-identified.

    Raises:
        MedsaliencyError: If files of others would be mixed with those that are to be written.
    """
    if de_identify:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise MedsaliencyError(
                f"{output}: expected a new folder for de-identified files, it is in use; name another --output, or "
                "empty it"
            )
        return b""
    path, known = output / INDEX, {}
    if path.is_file():
        try:
            with path.open(encoding="utf-8", newline="") as file:
                known = {int(row["number"]): original(row["sample"]) for row in csv.DictReader(file)}
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise MedsaliencyError(
                f"{path}: expected the index of an export, got something else; name another --output"
            ) from error
    for one in found:
        if known.get(one.number, one.sample) != one.sample or (
            one.number not in known and (output / f"{one.number:04d}").exists()
        ):
            raise MedsaliencyError(
                f"{output}: expected a folder without exports of other images, got one with another image number "
                f"{one.number}; name another --output"
            )
    known |= {one.number: one.sample for one in found}
    content = io.StringIO()
    rows = [(number, harmless(sample)) for number, sample in sorted(known.items())]
    csv.writer(content, lineterminator="\n").writerows([("number", "sample"), *rows])
    return content.getvalue().encode()


def _note(left_out: Sequence[str]) -> bytes:
    """What is said of secondary captures that were not written."""
    return (
        "No secondary captures are in these folders: they would show the originals' pixels, and the originals do not "
        f"say that no annotation is burned into these (BurnedInAnnotation NO).\n{' '.join(left_out)}\n"
    ).encode()


@dataclass(frozen=True)
class _Source:
    """An image's original: its headers, its files' digests, and whether pictures of it may be written."""

    originals: Originals
    digests: tuple[str, ...]
    captures: bool


def _originals(one: Found, de_identify: bool) -> _Source:
    """The original of an image, which is the one that was explained."""
    from medsaliency.report.dicom.deidentify import refuse_identifying_pixels
    from medsaliency.report.dicom.originals import read_originals

    place, frame = one.geometry.slice, one.record.plane
    if not one.files:
        raise MedsaliencyError(
            f"{one.sample}: expected a DICOM file as its original, beside which DICOM objects are written, got a made "
            "image; write --nifti"
        )
    if place is not None:
        if place.axis != 0:
            raise MedsaliencyError(
                f"{one.sample}: expected a slice or frame as its DICOM file has it, got one across them; write --nifti"
            )
        frame = place.index
    digests = one.digests()
    originals = read_originals(one.sample, one.files, frame, one.geometry.native_size)
    if de_identify:
        refuse_identifying_pixels(originals)
    return _Source(originals, digests, captures=not de_identify or originals.burned_in == "NO")


def _cleaning(de_identify: bool) -> Callable[[Dataset], None]:
    """What is done to each object of an export before it is written."""
    if not de_identify:
        return lambda _: None
    from medsaliency.report.dicom.deidentify import Deidentifier

    return Deidentifier()


def _write_dicom(
    one: Found,
    source: _Source,
    methods: Sequence[str],
    threshold: float,
    clean: Callable[[Dataset], None],
    folder: Path,
) -> list[Path]:
    """Make and write every object of an image, one after the other."""
    from medsaliency.report.dicom import Explanation, objects

    explanation = Explanation(
        sample=one.sample,
        number=one.number,
        image=one.pixels(),
        maps=one.maps(methods),
        methods=one.methods,
        classes=one.classes,
        probabilities=one.probabilities,
        target=one.target,
        explains=one.explains,
        architecture=one.architecture,
        weights=one.weights,
        version=one.version,
        seed=one.seed,
        scores={name: one.scores.get(name, {}) for name in methods},
        spacing=one.geometry.spacing,
        digests=source.digests,
    )
    written = []
    for name, made in objects(explanation, source.originals, threshold, captures=source.captures):
        clean(made)
        content = io.BytesIO()
        made.save_as(content, enforce_file_format=True)
        path = folder / f"{name}.dcm"
        write_bytes(path, content.getvalue())
        written.append(path)
    return written


def _write_nifti(together: Sequence[Found], methods: Sequence[str], folder: Path) -> list[Path]:
    """Write one file a method: of an image, a volume, or slices of one stored volume."""
    first, maps = together[0], [one.maps(methods) for one in together]
    written = []
    for method in methods:
        values = merged([(own[method], one.geometry) for own, one in zip(maps, together, strict=True)], first.sample)
        path = folder / f"{method}.nii.gz"
        write_bytes(path, nifti(values, first.geometry, method, first.sample))
        written.append(path)
    return written
