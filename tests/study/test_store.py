from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsaliency.study.config import Study
from medsaliency.study.store import Store, write_text
from medsaliency.types import MedsaliencyError


def test_the_same_study_opens_its_folder_again_and_another_does_not(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "run", Study())
    (store.path / "model").mkdir()
    assert Store.create(tmp_path / "run", Study()).has("model")
    with pytest.raises(MedsaliencyError, match=r"another study \(it differs in seed\)"):
        Store.create(tmp_path / "run", Study(seed=1))


def test_a_run_that_made_nothing_gives_its_folder_to_a_corrected_study(tmp_path: Path) -> None:
    write_text(Store.create(tmp_path / "run", Study(seed=1)).path / "splits.csv", "sample\n")
    store = Store.create(tmp_path / "run", Study())
    assert "seed: 0" in (store.path / "study.yaml").read_text()
    assert not store.has("splits.csv")


def test_a_folder_or_file_of_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MedsaliencyError, match="not a run"):
        Store.create(tmp_path, Study())
    with pytest.raises(MedsaliencyError, match="it is a file"):
        Store.create(tmp_path / "notes.txt", Study())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unfinished_run_cannot_be_reported(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "run", Study())
    with pytest.raises(MedsaliencyError, match=r"provenance\.json is missing"):
        Store.open(store.path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_tables_and_json_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    table = pd.DataFrame({"value": [0.5, float("nan")], "x": [[0.0, 1.0], None]})
    store.write_table("deep/t.parquet", table)
    back = store.read_table("deep/t.parquet")
    assert back["value"].isna().tolist() == [False, True]
    assert list(back["x"][0]) == [0.0, 1.0]
    store.write_json("j.json", {"a": np.float64("nan"), "b": (np.int64(3), {"c": 0.5})})
    assert store.read_json("j.json") == {"a": None, "b": [3, {"c": 0.5}]}
