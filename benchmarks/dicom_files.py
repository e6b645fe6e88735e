"""Read every file of pydicom's own test set and of pydicom-data, and write what became of each.

    python benchmarks/dicom_files.py [docs/reference/dicom-files.md]

Nothing is downloaded: the files are those that both packages bring with them. The page names files and says what their
headers say of pixels, and nothing of what they say of patients.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from medsaliency.data.dataset import Raw, Record
from medsaliency.data.dicom.facts import dicom_facts
from medsaliency.data.dicom.file import is_dicom
from medsaliency.data.dicom.format import DICOM
from medsaliency.data.reading import Reading
from medsaliency.types import MedsaliencyError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "dicom-files.md"
SUFFIXES = (".dcm", ".DCM")
SHARED = 8
"""Fewest files of one folder that share a row."""
INTRODUCTION = """# DICOM files that no one here wrote

What becomes of every file in the test sets of pydicom {pydicom} and pydicom-data {data}: {read} images are read,
{refused} files are refused, each with the reason that a user is told. `benchmarks/dicom_files.py` writes this page. A
test compares the pixels of every image that is read with those of a plain pipeline written for the test, which decodes
by itself, by SimpleITK or by Pillow.

- **Read as**: gray or color, columns x rows of a frame, and the distance of rows and columns in millimeters where it is
  known (a ratio, where only that is). *Placed* means that the file says where in the patient the image lies.
- Of a file of several frames, the first and the last are read.
- Files of one folder that are refused for the same reason share a row."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Args:
        name: Its name, with its folder in the test set.
        kind: Name of the SOP class.
        syntax: Name of the transfer syntax.
        photometric: Photometric interpretation.
        frames: How many.
        result: As what it is read, or why not.
        read: Whether it is.
    """

    name: str
    kind: str
    syntax: str
    photometric: str
    frames: int
    result: str
    read: bool


def files() -> Iterator[tuple[str, Path]]:
    """Name and path of every DICOM file of both packages: those that begin as one, or are called one."""
    for package, below in (("pydicom", "data"), ("data_store", "data")):
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent / below
        for path in sorted(root.rglob("*")):
            if path.is_file() and (path.suffix in SUFFIXES or is_dicom(path)):
                name = path.relative_to(root).as_posix()
                yield (name if package == "pydicom" else f"pydicom-data/{name}"), path


def outcome(name: str, path: Path) -> Outcome:
    """Read a file: its first and its last frame."""
    kind = syntax = photometric = "-"
    count = 0
    try:
        facts = dicom_facts(path, name)
        kind, syntax, photometric = facts.kind, facts.transfer_syntax, facts.photometric or "-"
    except MedsaliencyError:
        pass  # said by the reading of it, too
    try:
        stack = DICOM.stack(path, name, Reading())
        count = stack.count if stack else 1
        for index in sorted({0, count - 1}):
            plane = index if stack else None
            raw = DICOM.read(Record(name, 0, name, image=path, plane=plane), Reading())
    except MedsaliencyError as error:
        return Outcome(name, kind, syntax, photometric, count, str(error).removeprefix(f"{name}: "), False)
    return Outcome(name, kind, syntax, photometric, count, _described(raw), True)


def write(outcomes: list[Outcome], page: Path) -> None:
    """Write the page."""
    read = [o for o in outcomes if o.read]
    refused = [o for o in outcomes if not o.read]
    head = INTRODUCTION.format(
        pydicom=version("pydicom"), data=version("pydicom-data"), read=len(read), refused=len(refused)
    )
    parts = [head, "## Images that are read", _table(read, "read as")]
    parts += ["## Files that are refused", _reasons(refused), _table(refused, "because", share=True)]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(parts) + "\n")


def _described(raw: Raw) -> str:
    rows, columns = raw.pixels.shape[-2:]
    parts = ["gray" if len(raw.pixels) == 1 else "color", f"{columns} x {rows}"]
    if raw.spacing is not None:
        down, across = (f"{apart:.4g}" for apart in raw.spacing)
        parts.append(f"{down} x {across} mm" if raw.spacing_known else f"pixels {down} : {across}")
    return ", ".join(parts + (["placed"] if raw.affine else []))


def _reasons(refused: list[Outcome]) -> str:
    counts = Counter("no pixel data" if "without pixel data" in o.result else "others" for o in refused)
    return f"{counts['no pixel data']} of them have no pixel data; {counts['others']} have other reasons."


def _table(outcomes: list[Outcome], last: str, share: bool = False) -> str:
    rows = [f"| file | kind | transfer syntax | photometric | frames | {last} |", "|---|---|---|---|---|---|"]
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for o in outcomes:
        said = (o.kind, o.syntax, o.photometric, str(o.frames or "-"), o.result.replace("|", "/"))
        groups[o.name.rpartition("/")[0], *said].append(o.name)
    for (folder, *said), names in groups.items():
        if share and len(names) >= SHARED:
            rows.append(f"| {len(names)} files of `{folder}` | {' | '.join(said)} |")
        else:
            rows += [f"| `{name}` | {' | '.join(said)} |" for name in names]
    return "\n".join(rows)


def main() -> None:
    """Write the page to the place named on the command line, or to where it is kept."""
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    write([outcome(name, path) for name, path in files()], page)


if __name__ == "__main__":
    main()
