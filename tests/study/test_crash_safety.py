"""Studies that are killed, stopped, starved of room or damaged, and go on as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from medsaliency import cli
from medsaliency.study import stages
from medsaliency.study.config import Study, load_study
from medsaliency.study.engines.local import Local
from medsaliency.study.ledger import PLAN, name_of, read_entry
from medsaliency.study.lock import locked
from medsaliency.study.log import read
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store
from medsaliency.study.verify import verify
from medsaliency.types import MedsaliencyError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TABLES = "predictions/evaluation-predictions.parquet"
SELF_KILLING = """
import os, signal
from medsaliency.attribution.edge import Edge
explain = Edge.__call__
def deadly(self, probe, rngs):
    if any(abs(float(image.sum()) - {sum!r}) < 1e-3 for image in probe.images):
        os.kill(os.getpid(), signal.SIGKILL)
    return explain(self, probe, rngs)
Edge.__call__ = deadly
"""


@pytest.fixture(scope="module")
def runs() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("killed_runs")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def config(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(runs.STUDY)
    return path


@pytest.fixture(scope="module")
def study(config: Path) -> Study:
    return load_study(config)


@pytest.fixture(scope="module")
def undisturbed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(study, tmp_path_factory.mktemp("undisturbed") / "run").path


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed run, to be spoiled."""
    shutil.copytree(undisturbed, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes; skipped where that is not allowed, but not in continuous integration as root."""
    place = tmp_path / "disk"
    place.mkdir()
    made = []

    def mount(size: int) -> Path:
        found = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, text=True
        )
        if found.returncode:
            if os.environ.get("CI") and os.geteuid() == 0:
                pytest.fail(f"no disk could be mounted: {found.stderr}")
            pytest.skip(f"a small disk can be mounted by root alone: {found.stderr.strip()}")
        made.append(place)
        return place

    yield mount
    for each in made:
        subprocess.run(["umount", "--lazy", str(each)], check=True)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["medsaliency", *map(str, arguments)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def patience() -> float:
    """Seconds in which a study has to end: five, and as much longer as other work takes the cores from it."""
    return 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def stopped_by(work: Callable[[], object]) -> OSError | MedsaliencyError | None:
    """What the command line tells in one line, where the work ends by it; None where it does not."""
    try:
        work()
    except (OSError, MedsaliencyError) as error:
        return error
    return None


def size_of(folder: Path) -> int:
    """Bytes that the files of a folder take on a disk with blocks of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


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
    assert damaged == {name for name in spoiled if name not in (TABLES, "scores.parquet")}
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


def test_two_processes_on_one_folder_the_second_is_refused(
    config: Path,
    study: Study,
    undisturbed: Path,
    runs: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    first = runs.run_command(config, folder, "--workers", "1")
    watch = runs.Watch(folder, 0)
    while not watch.path.exists():
        assert first.poll() is None, runs.said(folder)
        time.sleep(0.01)
    refused = 0
    for changed in ([], ["--seed", "1"]):  # the same study, and another
        while first.poll() is None and len(watch.stages()) < len(changed):
            time.sleep(0.01)
        assert command(monkeypatch, "study", config, "--output", folder, *changed) == 2
        (line,) = capsys.readouterr().err.splitlines()
        refused += f"process {first.pid} does" in line or "another study" in line
    assert refused == 2
    assert first.wait(300) == 0, runs.said(folder)
    assert runs.differences(undisturbed, folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interruption_ends_it_within_seconds_and_says_how_to_go_on(
    config: Path,
    study: Study,
    runs: ModuleType,
    number: signal.Signals,
    workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    began: list[float] = []
    keep = stages.keep

    def interrupted(*arguments: object) -> object:
        found = keep(*arguments)  # type: ignore[arg-type]
        if not began:
            began.append(time.perf_counter())
            os.kill(os.getpid(), number)
        return found

    monkeypatch.setattr(stages, "keep", interrupted)
    folder = tmp_path / "run"
    assert command(monkeypatch, "study", config, "--output", folder, "--workers", workers) == 130
    assert time.perf_counter() - began[0] < patience()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"medsaliency: stopped; what is done is kept in {folder}: run the same command again to go on"
    assert runs.workers_of(os.getpid()) == []
    assert len(list((folder / "ledger").glob("[0-9]*.json"))) == 1
    assert [event["status"] for event in read(folder / "log.jsonl") if event["event"] == "end"] == ["stopped"]


@pytest.mark.slow
def test_ctrl_c_of_a_terminal_reaches_all_and_the_study_goes_on(
    config: Path, study: Study, undisturbed: Path, runs: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    started = runs.run_command(config, folder, "--workers", "2")
    watch = runs.Watch(folder, 0)
    while not watch.events("shard"):
        assert started.poll() is None, runs.said(folder)
        time.sleep(0.01)
    workers = runs.workers_of(started.pid)
    assert len(workers) == 2
    begin = time.perf_counter()
    os.killpg(started.pid, signal.SIGINT)
    assert started.wait(60) == 130
    assert time.perf_counter() - begin < patience()
    assert runs.end_of(workers, patience())[1] == []
    said = runs.said(folder)
    assert said.splitlines()[-1].endswith("run the same command again to go on")
    assert "Traceback" not in said
    reported = runs.Reported.of(folder)
    assert reported.entries
    run_study(study, folder)
    assert reported.lost(folder) == []
    assert runs.differences(undisturbed, folder) == []


@pytest.mark.slow
def test_workers_end_with_the_study_also_while_they_start(config: Path, runs: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    started = runs.run_command(config, folder, "--workers", "2")
    while not (workers := runs.workers_of(started.pid)):
        assert started.poll() is None, runs.said(folder)
        time.sleep(0.01)
    started.kill()
    started.wait()
    assert runs.end_of(workers, patience())[1] == []


def test_a_worker_that_is_killed_is_replaced(
    study: Study, undisturbed: Path, runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, killed = stages.keep, []

    def kill_one(*arguments: object) -> object:
        if not killed:
            killed.append(runs.workers_of(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)
        return keep(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "keep", kill_one)
    store = run_study(study, tmp_path / "run", engine=Local(2))
    assert len(killed) == 1
    assert not runs.alive(killed[0])
    assert store.read_table("failures.parquet").empty
    assert runs.differences(undisturbed, store.path) == []


def test_an_image_that_kills_its_worker_twice_is_told_and_the_rest_is_there(
    study: Study, undisturbed: Path, runs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = Store(undisturbed).maps()
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "sitecustomize.py").write_text(SELF_KILLING.format(sum=float(maps.image(2).sum())))
    with monkeypatch.context() as poisoned:
        poisoned.setenv("PYTHONPATH", str(poison))
        store = run_study(study, tmp_path / "run", engine=Local(2))
    lost = maps.samples[2:4]
    failures = store.read_table("failures.parquet")
    assert failures["sample"].tolist() == lost
    assert set(failures["kind"]) == {"worker"}
    assert failures["reason"].str.contains("worker ended 2 times while it worked on nothing else").all()
    scores, expected = store.read_table("scores.parquet"), Store(undisturbed).read_table("scores.parquet")
    gone = scores["sample"].isin(lost)
    # A threshold that is tuned on the others' images depends on which there are.
    whole = ~gone & ~scores["metric"].str.endswith("_tuned")
    assert scores[gone]["value"].isna().all()
    assert scores[gone]["reason"].str.len().min() > 0
    assert scores[whole].reset_index(drop=True).equals(expected[whole].reset_index(drop=True))
    run_study(study, store.path)
    assert runs.differences(undisturbed, store.path) == []


@pytest.mark.slow
def test_the_harness_kills_compares_and_writes_what_it_saw(tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    done = subprocess.run(
        [sys.executable, "crash_safety.py", "--moments", "4", "--commands", "0", "--json", str(seen)],
        cwd=BENCHMARKS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    moments = json.loads(seen.read_text())["moments"]
    assert len(moments) == 4
    assert all(not moment["lost"] and not moment["differences"] for moment in moments)
    assert done.stdout.count(" equal\n") == 4
