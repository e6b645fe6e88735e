"""What is named from outside leads no written file out of its folder, and no table is run by a spreadsheet."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medsaliency.data.geometry import to_dict
from medsaliency.report.spreadsheet import original
from medsaliency.study.explanations import collect
from medsaliency.study.exporting import export
from medsaliency.study.files import _name, explain_files
from medsaliency.study.store import Store
from medsaliency.types import Geometry, MedsaliencyError

PARTS = st.sampled_from(
    ["..", ".", "", "a", "~", "C:", "\\", "\\\\host", "%2e%2e", "x.png", ".dcm", "#", "#3", "con", "=1", "\u202e", "ä"]
)
IDS = st.lists(PARTS | st.text(max_size=5), min_size=1, max_size=5).map("/".join)


@given(IDS, st.none() | st.integers(0, 9))
def test_no_id_leads_a_result_of_explain_out_of_its_folder(name: str, plane: int | None) -> None:
    folder = Path("/nowhere/results")
    called = _name(name.replace("/", "-"), plane)
    for suffix in ("png", "npz", "json"):
        assert (folder / f"{called}.{suffix}").parent == folder
        assert f"{called}.{suffix}" not in (".", "..")


def about(sample: str, methods: dict[str, str]) -> dict[str, object]:
    return {
        "sample": sample, "source": None, "parts": [], "sha256": [], "plane": None, "reading": None,
        "geometry": to_dict(Geometry((4, 4))), "classes": ["a", "b"], "probabilities": [0.5, 0.5], "target": 0,
        "explains": "Logit(0)", "methods": methods, "model": {"architecture": "x", "weights": "y"}, "medsaliency": "0",
    }  # fmt: skip


def explained(folder: Path, sample: str, methods: list[str]) -> Path:
    folder.mkdir()
    content = about(sample, dict.fromkeys(methods, "M()"))
    (folder / "one.json").write_text(json.dumps(content))
    np.savez(folder / "one.npz", **dict.fromkeys(methods, np.ones((4, 4), np.float32)))
    return folder


@pytest.mark.parametrize("method", ["../../evil", "/tmp/evil", "a/b", "..", "", "a\\b", "a\n", "<b>", "=1"])
def test_no_name_of_a_method_leads_an_export_out_of_its_folder(tmp_path: Path, method: str) -> None:
    source = explained(tmp_path / "foreign", "one", [method])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MedsaliencyError, match=r"methods.*should match pattern"):
        export(source, tmp_path / "out", to_nifti=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("sample", ["../../evil", "/tmp/evil", "..", "=cmd|' /C calc'!A0", "'=x"])
def test_no_id_leads_an_export_out_of_its_folder_and_the_index_is_no_formula(tmp_path: Path, sample: str) -> None:
    source = explained(tmp_path / "foreign", sample, ["gradient"])
    out = tmp_path / "out"
    for _ in range(2):  # the second reads the index of the first
        written = export(source, out, to_nifti=True)
    assert written == [out / "index.csv", out / "0001" / "gradient.nii.gz"]
    assert {path.name for path in tmp_path.iterdir()} == {"foreign", "out"}
    with (out / "index.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert not row["sample"].startswith("=")
    assert original(row["sample"]) == sample


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"sample": NaN}', '{"sample": 1, "sample": 2}', "\ufffe", "9" * 5_000]
)
def test_a_foreign_description_that_means_harm_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.json").write_text(text, encoding="utf-8")
    with pytest.raises(MedsaliencyError) as caught:
        collect(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_tables_for_people_hold_no_formula(tmp_path: Path) -> None:
    store = Store(tmp_path)
    table = pd.DataFrame({"sample": ["=1+1", "@x", "a"], "value": [-1.5, 2.0, 3.0]})
    store.write_csv("cases.csv", table)
    assert (tmp_path / "cases.csv").read_text() == "sample,value\n'=1+1,-1.5\n'@x,2.0\na,3.0\n"
    store.keep_splits(table)
    store.keep_splits(table)
    assert (tmp_path / "splits.csv").read_text().startswith("sample,value\n'=1+1,")
    with pytest.raises(MedsaliencyError, match="are not those this run began with"):
        store.keep_splits(table.replace("a", "b"))


@pytest.mark.parametrize("text", ["", "[", "[]", '{"a": NaN}', '{"a":' * 50_000])
def test_a_damaged_product_of_a_foreign_run_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(MedsaliencyError, match=r"provenance\.json: (not valid JSON|expected names and values)"):
        Store(tmp_path).read_json("provenance.json")


def test_an_error_is_one_line_whatever_is_in_it() -> None:
    assert str(MedsaliencyError("a\nb: \x1b[2J \u202e größe \udcff")) == r"a b: \x1b[2J \u202e größe \udcff"


@pytest.mark.parametrize("names", [("scan.png", "SCAN.png"), ("\u00e4.png", "a\u0308.png")])
def test_names_that_some_file_systems_take_for_one_are_refused(
    small_run: Store, tmp_path: Path, names: tuple[str, str]
) -> None:
    images = [tmp_path / str(number) / name for number, name in enumerate(names)]
    for image in images:
        image.parent.mkdir()
        Image.new("L", (8, 8), 9).save(image)
    with pytest.raises(MedsaliencyError, match="two images are called"):
        explain_files(images, small_run.path / "model", tmp_path / "out", methods=["gradient"])
    assert not (tmp_path / "out").exists()
