"""Manifests and folders of someone who means harm: a dataset or one line, and nothing is written."""

import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from medsaliency.data import csv_rows
from medsaliency.data.dataset import Dataset
from medsaliency.data.folder import folder
from medsaliency.data.manifest import inside, manifest
from medsaliency.data.untrusted import unfit
from medsaliency.types import MedsaliencyError

HEAD = "image,label,patient_id,mask,boxes,split,plane\n"


def refused(root: Path, content: str | bytes) -> str:
    path = root / "manifest.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    with pytest.raises(MedsaliencyError) as caught:
        manifest(path)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 2_000
    return said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('"a\nb.png",x', "row 3: expected a path without control and invisible characters, got U+000A in 'a\\nb.png'"),
        ("a\x1b[2J.png,x", "got U+001B"),
        ("a\u202egnp.exe,x", "got U+202E"),
        ("a.png,gli\u200boma", "expected a label without control and invisible characters, got U+200B"),
        ("a.png,\u2066x", "got U+2066"),
        ('a.png,"x\ty"', "got U+0009"),
        ('a.png,"x\u2028y"', "got U+2028"),
        ("a.png,x\x85y", "got U+0085"),
        (f"{'a' * 1025},x", "expected a path of at most 1,024 characters, got 1,025"),
        (f"{'a' * 300},x", "is not a usable path"),
        (f"a.png,{'x' * 256}", "expected a label of at most 255 characters, got 256"),
        (f"a.png,x,{'p' * 256}", "expected a patient's identifier of at most 255 characters, got 256; shorten it"),
        (f"a.png,x,,,,,{'9' * 5000}", "expected plane as a whole number from 0"),
        (f"a.png,x,,,0 0 {'9' * 5000} 1", "expected boxes as whole numbers"),
        ("a.png,x,,,0 0 1000001 1", "expected boxes as whole numbers"),
        (f"a.png,x,,,,{'train' * 20_000},", "expected a split name"),
        ("\\\\server\\share\\a.png,x", "expected a path relative to"),
        ("//a.png,x", "expected a path relative to"),
        ("c:a.png,x", "expected a path relative to"),
        ("..\\a.png,x", "leads out of"),
        ("b/../../a.png,x", "leads out of"),
        ("a.png,x,,../m.png", "leads out of"),
        ("a.png,x,,/etc/passwd", "expected a path relative to"),
    ],
)
def test_a_cell_that_means_harm_is_refused(tmp_path: Path, row: str, said: str) -> None:
    cells = row + "," * (6 - row.count(","))
    assert said in refused(tmp_path, HEAD + cells + "\n")


def test_a_patient_is_not_named_in_an_error(tmp_path: Path) -> None:
    said = refused(tmp_path, "image,label,patient_id\n1.png,x,Mustermann\u202e\n2.png,x,\n")
    assert "expected a patient's identifier without control and invisible characters, got U+202E; remove it" in said
    assert "Mustermann" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image,label\n1.png,größe\n".encode("latin-1"), "expected a CSV in UTF-8, got another file"),
        ("image,label\n1.png,x\n".encode("utf-16"), "expected a CSV in UTF-8, got another file"),
        ("image,label\n1.png,x\n".encode("utf-16-le"), "expected the columns image,label"),
        (b"\xed\xa0\x80,label\n", "expected a CSV in UTF-8, got another file"),
        (b"image,label\n\x00\x00,x\n", "got U+0000"),
        (b"PK\x03\x04" + bytes(range(256)), "got another file"),
        (b"image,label\n" + b"a" * 200_000 + b",x\n", "field larger than field limit"),
        (b'image,label\n"' + b"a,b\n" * 100_000, "field larger than field limit"),
        (b"image,label\n" + b"a," * (1 << 19) + b"\n", "expected lines of less than 1,048,576 characters"),
        (b"image,label" + b",x" * 4_095 + b"\n", "row 1: expected at most 4,096 cells, got 4,097"),
        (b"image,label\n1.png,x\n2.png\n", "row 3: expected 2 cells as in the header, got 1"),
        (b"image,label\n1.png,x,y\n", "row 2: expected 2 cells as in the header, got 3"),
        (b"image,image,label\n", "once each"),
        (b"image,label,split,SPLIT\n", "expected column 'split' once"),
        (b"image,label\n" + "a\u0308.png,x\n\u00e4.png,x\n".encode(), "is already listed at"),
        (b"image,label\na//b.png,x\na/./c/../b.png,x\n", "image 'a/b.png' is already listed at"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refused(tmp_path, content)


def test_a_byte_order_mark_other_line_ends_and_joined_scripts_are_read(tmp_path: Path) -> None:
    persian = "توده\u200cی"
    (tmp_path / "manifest.csv").write_bytes(f"\ufeffimage,label\r1.png,{persian}\r2.png,{persian}\r".encode())
    assert manifest(tmp_path).classes == (persian,)


def test_labels_and_patients_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    wide, composed = unicodedata.normalize("NFD", "Müller"), "Müller"
    rows = f"image,label,patient_id\n1.png,{wide},{wide}\n2.png,{composed},{composed}\n"
    (tmp_path / "manifest.csv").write_text(rows, encoding="utf-8")
    dataset = manifest(tmp_path)
    assert dataset.classes == (composed,)
    assert [record.patient for record in dataset.records] == [composed, composed]


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1", "-2", "@SUM(A1)", "<script>alert(1)</script>", "$x$"])
def test_a_formula_or_markup_is_a_label_like_any_other(tmp_path: Path, cell: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"image,label\n1.png,{cell}\n2.png,{cell}\n", encoding="utf-8")
    assert manifest(tmp_path).classes == (cell,)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A root beside a folder that is none of its own, with links there."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a" / "b").mkdir(parents=True)
    (outside / "c").mkdir(parents=True)
    for path in (root / "own.png", root / "a" / "own.png", outside / "c" / "x.png", outside / "x.png"):
        Image.new("L", (4, 4), 9).save(path)
    (root / "file.png").symlink_to(outside / "x.png")
    (root / "relative.png").symlink_to("../outside/x.png")
    (root / "a" / "middle").symlink_to(outside, target_is_directory=True)
    (root / "a" / "b" / "twice").symlink_to("../middle")
    (root / "a" / "b" / "inner.png").symlink_to("../own.png")
    (root / "loop").symlink_to("loop")
    (root / "root").symlink_to("/")
    return root


LEADING_OUT = (
    *("file.png", "relative.png", "a/middle/x.png", "a/middle/c/x.png", "a/b/twice/x.png"),
    *("root/etc/hosts", "loop/x.png", "a/middle/not-there.png"),
)


@pytest.mark.parametrize("path", LEADING_OUT)
@pytest.mark.parametrize("column", ["image", "mask"])
def test_no_link_leads_out(linked: Path, path: str, column: str) -> None:
    cells = f"{path},x," if column == "image" else f"own.png,x,{path}"
    said = refused(linked, f"image,label,mask\n{cells}\na/own.png,x,\n")
    assert "leads out of" in said or "is not a usable path" in said


def test_a_link_that_stays_inside_is_read(linked: Path) -> None:
    (linked / "manifest.csv").write_text("image,label\na/b/inner.png,x\nown.png,x\n", encoding="utf-8")
    dataset = manifest(linked)
    np.testing.assert_allclose(dataset.read(dataset.records[0]).pixels, np.full((1, 4, 4), 9 / 255), rtol=1e-6)


def test_two_points_after_a_link_are_taken_as_text(linked: Path) -> None:
    assert inside(linked, "a/b/twice/../x.png", "row 2") == ("a/b/x.png", linked / "a" / "b" / "x.png")


def test_what_is_beside_the_root_and_begins_with_its_name_is_outside(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root-2").mkdir()
    with pytest.raises(MedsaliencyError, match="leads out of"):
        inside(tmp_path / "root", "../root-2/x.png", "row 2")
    assert inside(Path("/"), "etc/hosts", "row 2") == ("etc/hosts", Path("/etc/hosts"))


def test_a_manifest_of_too_many_rows_is_refused_before_any_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "MOST_ROWS", 5)
    monkeypatch.setattr(sys.modules[manifest.__module__], "_row", lambda *_: pytest.fail("a row was read"))
    rows = "".join(f"{i}.png,x\n" for i in range(6))
    assert "expected at most 5 rows, got 7 lines" in refused(tmp_path, "image,label\n" + rows)
    assert "expected at most 5 rows, got 7 lines" in refused(tmp_path, ("image,label\n" + rows).replace("\n", "\r"))


def test_a_manifest_of_the_most_rows_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MOST_ROWS", 5)
    (tmp_path / "manifest.csv").write_text("image,label\n" + "".join(f"{i}.png,x\n" for i in range(5)))
    assert len(manifest(tmp_path).records) == 5


def test_a_manifest_of_too_many_bytes_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MOST_BYTES", 30)
    assert "expected at most 30 bytes, got 32" in refused(tmp_path, "image,label\n" + "1.png,x\n2.png,x\n1234")


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.csv")
    with pytest.raises(MedsaliencyError, match="no such manifest"):
        manifest(tmp_path)


def classes(root: Path) -> None:
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in (1, 2):
            Image.new("L", (4, 4), number).save(root / name / f"{number}.png")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("new\nline.png", "got U+000A in 'a/new\\nline.png'"),
        ("\x1b[31mred.png", "got U+001B"),
        ("gnp\u202e.png", "got U+202E"),
        (os.fsdecode(b"latin-\xfc.png"), "got U+DCFC in 'a/latin-\\udcfc.png'"),
    ],
)
def test_a_file_whose_name_means_harm_is_refused(tmp_path: Path, name: str, said: str) -> None:
    classes(tmp_path)
    Image.new("L", (4, 4)).save(tmp_path / "2.png")
    (tmp_path / "2.png").rename(tmp_path / "a" / name)
    with pytest.raises(MedsaliencyError) as caught:
        folder(tmp_path)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("splits", [False, True])
def test_a_class_folder_that_is_a_link_out_is_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splits: bool
) -> None:
    root = tmp_path / "root"
    classes(root / "train" if splits else root)
    outside = tmp_path / "outside"
    (outside / "c").mkdir(parents=True)
    link = root / "train" / "c" if splits else root / "c"
    link.symlink_to(outside, target_is_directory=True)
    listed = []
    own = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: listed.append(path.resolve()) or own(path))
    with pytest.raises(MedsaliencyError, match="leads out of"):
        folder(root)
    assert outside.resolve() not in listed


def test_the_name_of_a_dataset_is_one_line(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"two\nlines \xff")
    classes(root)
    assert folder(root).name == "two\\nlines \\udcff"


COLUMNS = ("image", "label", "patient_id", "mask", "boxes", "split", "plane")
words = st.sampled_from([*COLUMNS, "x", "train", "1 2 3 4", "0"])
paths = st.sampled_from(
    ["1.png", "2.png", "a/1.png", "../1.png", "/etc/hosts", "C:\\x", "a/../..", ".", "", "out/x.png"]
)
cells = words | paths | st.text(max_size=12) | st.sampled_from(["9" * 5000, "\u202e", "=1+1", '"', "\x00", "a" * 2000])
tables = st.lists(st.lists(cells, max_size=8), max_size=6)
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_dataset_or_one_line(root: Path, content: bytes) -> None:
    (root / "manifest.csv").write_bytes(content)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    found: Dataset | str
    try:
        found = manifest(root)
    except MedsaliencyError as error:
        found = str(error)
    if isinstance(found, str):
        assert len(found.splitlines()) == 1
    else:
        assert found.records
        for record in found.records:
            assert not unfit(record.id + record.patient + found.classes[record.label])
            for path in (record.image, record.mask):
                assert path is None or path.resolve().is_relative_to(root.resolve())
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    for name in ("1.png", "2.png", "a/1.png"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 7).save(root / name)
    (root / "out").symlink_to(root.parent, target_is_directory=True)
    return root


@SLOW
@given(st.binary(max_size=400))
def test_any_bytes_are_a_dataset_or_one_line(root: Path, content: bytes) -> None:
    assert_dataset_or_one_line(root, content)


@SLOW
@given(tables, st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
def test_any_table_is_a_dataset_or_one_line(root: Path, table: list[list[str]], headed: bool, encoding: str) -> None:
    rows = ([list(COLUMNS)] if headed else []) + table
    text = "\n".join(",".join(row) for row in rows)
    assert_dataset_or_one_line(root, text.encode(encoding, "replace"))


good = "image,label,patient_id,mask,split\n1.png,x,P1,,train\n2.png,x,P1,2.png,\na/1.png,y,P2,,val\n1.png,y,,,\n"


@SLOW
@given(st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 3), st.text(max_size=3) | paths), max_size=4))
def test_a_changed_manifest_is_a_dataset_or_one_line(root: Path, changes: list[tuple[int, int, str]]) -> None:
    text = good
    for place, gone, put in changes:
        text = text[:place] + put + text[place + gone :]
    assert_dataset_or_one_line(root, text.encode("utf-8", "surrogatepass"))


def test_a_pipe_among_images_is_not_waited_for(tmp_path: Path) -> None:
    classes(tmp_path)
    for name in ("a/pipe", "b/3.png"):
        os.mkfifo(tmp_path / name)
    dataset = folder(tmp_path)
    assert [record.id for record in dataset.records] == ["a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png"]
    with pytest.raises(MedsaliencyError, match="no such image file"):
        dataset.read(dataset.records[-1])
    (tmp_path / "manifest.csv").write_text("image,label\na/pipe,x\na/1.png,x\n")
    listed = manifest(tmp_path)
    with pytest.raises(MedsaliencyError, match="no such image file"):
        listed.read(listed.records[0])
