"""Studies whose processes are killed or stopped, and go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from medsaliency.study import stages
from medsaliency.study.config import Study
from medsaliency.study.engines.local import Local
from medsaliency.study.log import read
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store

from .running import command, patience

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
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
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    moments = json.loads(seen.read_text())["moments"]
    assert len(moments) == 4
    assert all(not moment["lost"] and not moment["differences"] for moment in moments)
    assert done.stdout.count(" equal\n") == 4
