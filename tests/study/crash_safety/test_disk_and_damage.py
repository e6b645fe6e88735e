"""Studies that are starved of room or damaged, and go on as if nothing had happened."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from medsaliency.study.config import Study
from medsaliency.study.ledger import PLAN, name_of, read_entry
from medsaliency.study.lock import locked
from medsaliency.study.log import read
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store
from medsaliency.study.verify import verify
from medsaliency.types import MedsaliencyError

from .running import command, contents, size_of, stopped_by

TABLES = "predictions/evaluation-predictions.parquet"


def test_a_disk_that_fills_stops_the_study_in_one_line_until_there_is_room(
    mounted: Callable[[int], Path], study: Study, undisturbed: Path, runs: ModuleType
) -> None:
    needed = size_of(undisturbed)
    disk = mounted(4 * needed)
    ballast, folder = disk / "ballast", disk / "run"
    reached = set()
    for free in (*(needed * share // 8 for share in range(1, 8)), 2 * needed):
        used = size_of(folder) if folder.exists() else 0
        ballast.write_bytes(bytes(max(0, 4 * needed - free))) if not used else os.truncate(ballast, 4 * needed - free)
        refused = stopped_by(lambda: run_study(study, folder))
        if refused is None:
            break
        assert getattr(refused, "errno", None) == errno.ENOSPC or "os error 28" in str(refused)
        assert not [path for path in folder.rglob("*") if path.suffix == ".partial"]
        reached.update(event["name"] for event in runs.Watch(folder, 0).events("stage") if event["failed"])
    else:
        pytest.fail("there was room, and it did not go on")
    assert len(reached) > 1, "the disk was full in several stages"
    assert runs.differences(undisturbed, folder) == []


def test_a_folder_that_cannot_be_written_to_is_refused_in_one_line_and_not_changed(
    mounted: Callable[[int], Path],
    config: Path,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = mounted(4 * size_of(undisturbed))
    shutil.copytree(undisturbed, disk / "run")
    before = contents(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for place in (disk / "run", disk / "new"):
        assert command(monkeypatch, "study", config, "--output", place) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert str(place) in line
        assert "Read-only file system" in line
    assert command(monkeypatch, "verify", disk / "run") == 0
    assert contents(disk) == before


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "delete":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(
            content[:middle]
            if how == "truncate"
            else content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        )


def table_of(folder: Path, number: int, kind: str = "scores") -> str:
    entry = read_entry(Store(folder), number)
    assert entry is not None
    return entry.tables[kind]


@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_damage_is_found_named_and_mended(
    folder: Path,
    config: Path,
    study: Study,
    undisturbed: Path,
    runs: ModuleType,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoiled = [
        "maps.zarr/maps/gradient/c/0/0/0",
        "maps.zarr/scales/edge/c/0",
        "maps.zarr/image/c/2/0/0/0",
        table_of(folder, 3),
        TABLES,
        "scores.parquet",
    ]
    if how != "delete":  # an entry that is gone is one that was never made
        spoiled.append(name_of(1))
    for name in spoiled:
        spoil(folder / name, how)
    assert command(monkeypatch, "verify", folder) == 1
    said = capsys.readouterr().out
    assert not [name for name in spoiled if f"damaged or missing: {name}\n" not in said.replace("\n ", " ")]
    assert said.count("damaged or missing: ") == len(spoiled)
    run_study(study, folder)
    damaged = {event["file"] for event in read(folder / "log.jsonl") if event["event"] == "damaged"}
    assert damaged == set(spoiled)
    assert runs.differences(undisturbed, folder) == []


@pytest.mark.parametrize("name", ["maps.zarr/zarr.json", "maps.zarr/maps/edge/zarr.json", PLAN, "ledger/basis.json"])
def test_damaged_descriptions_are_made_again(
    folder: Path, study: Study, undisturbed: Path, runs: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(folder / name, "truncate")
    if name == PLAN:
        with pytest.raises(MedsaliencyError, match=r"plan\.json"):
            verify(folder)
    elif name.startswith("maps"):
        assert verify(folder).damaged == (name,)
    run_study(study, folder)
    assert runs.differences(undisturbed, folder) == []


def test_what_a_killed_process_had_begun_is_removed(
    folder: Path, study: Study, undisturbed: Path, runs: ModuleType
) -> None:
    (folder / ".model-abcdefgh").mkdir()
    for name in (".model-abcdefgh/model.json", ".scores.parquet-a_c3efgh", "ledger/.000001.json-abcdefgh"):
        (folder / name).write_text("begun")
    (folder / "maps.zarr/maps/edge/c/0/0/0.0123.partial").write_text("begun")
    run_study(study, folder)
    assert runs.differences(undisturbed, folder) == []


def test_a_folder_in_which_nothing_but_a_begun_file_is_goes_on(study: Study, tmp_path: Path) -> None:
    (tmp_path / ".study.yaml-abcdefgh").write_text("name: ")
    Store.create(tmp_path, study).sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
    (tmp_path / "study.yaml").rename(tmp_path / ".bashrc")
    with pytest.raises(MedsaliencyError, match="not a run of a study"):
        Store.create(tmp_path, study)


def test_another_study_takes_no_folder_from_a_process_that_has_made_nothing_yet(study: Study, tmp_path: Path) -> None:
    (Store.create(tmp_path, study).path / "splits.csv").write_text("sample\n")
    before = contents(tmp_path)
    with locked(tmp_path):
        with pytest.raises(MedsaliencyError, match=f"process {os.getpid()} does"):
            Store.create(tmp_path, study.model_copy(update={"seed": 1}))
        assert {**contents(tmp_path), "run.lock": b""} == {**before, "run.lock": b""}
    Store.create(tmp_path, study.model_copy(update={"seed": 1}))
    assert not (tmp_path / "splits.csv").exists()
