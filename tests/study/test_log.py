import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsaliency import __version__
from medsaliency.study.log import EVENTS, Log, read
from medsaliency.study.profiling import Trace

MEGABYTE = 1024**2


def _events(path: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read(path) if event["event"] == kind]


def test_an_event_is_a_line_with_its_time_in_utc(tmp_path: Path) -> None:
    begin = time.time()
    with Log(tmp_path / "log.jsonl") as log:
        log.event("damaged", file="ledger/000003.json")
    first, second = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(first)["event"] == "created"
    event = json.loads(second)
    assert list(event) == ["time", "event", "file"]
    assert event["file"] == "ledger/000003.json"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    seconds = time.mktime(time.strptime(event["time"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert begin - 1 <= seconds <= time.time()


def test_a_log_is_gone_on_with_and_keeps_the_name_of_its_folder(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as first:
        first.event("damaged", file="gini")
    with Log(tmp_path / "log.jsonl") as second:
        second.event("damaged", file="")
    assert first.run == second.run
    assert [event["file"] for event in _events(tmp_path / "log.jsonl", "damaged")] == ["gini", ""]
    assert len(_events(tmp_path / "log.jsonl", "created")) == 1
    with Log(tmp_path / "other.jsonl") as other:
        assert other.run != first.run


@pytest.mark.parametrize("kept", [1, 20, 60])
def test_a_torn_line_is_left_out_and_the_next_event_is_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "log.jsonl"
    with Log(path) as log:
        log.event("damaged", file="first")
        size = path.stat().st_size
        log.event("damaged", file="torn" * 10)
    os.truncate(path, size + kept)
    torn = path.read_bytes()
    assert [event["file"] for event in _events(path, "damaged")] == ["first"]
    with Log(path) as log:
        log.event("damaged", file="last")
    assert path.read_bytes().startswith(torn + b"\n")
    assert [event["file"] for event in _events(path, "damaged")] == ["first", "last"]


def test_a_folder_whose_very_first_line_was_torn_gets_its_name(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"time": "2026-01-01T00:0')
    with Log(path) as log:
        assert [event["run"] for event in _events(path, "created")] == [log.run]


def test_what_is_no_number_becomes_null_and_numpy_is_plain(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        log.event(
            "shard", number=np.int64(3), images=2, computed=5, seconds=float("nan"), peak_bytes=np.inf, worker=None
        )
    (event,) = _events(tmp_path / "log.jsonl", "shard")
    assert (event["number"], event["seconds"], event["peak_bytes"], event["worker"]) == (3, None, None, None)


@pytest.mark.parametrize(
    ("name", "fields", "match"),
    [
        ("nothing", {}, "expected one of the events created, .*'nothing'"),
        ("damaged", {}, "'damaged': expected the fields file, got none"),
        ("failure", {"id": "Jane"}, "'failure': expected the fields stage, sample, kind, name, method, got id"),
    ],
)
def test_an_event_has_its_own_fields_and_no_others(
    tmp_path: Path, name: str, fields: dict[str, Any], match: str
) -> None:
    with Log(tmp_path / "log.jsonl") as log, pytest.raises(ValueError, match=match):
        log.event(name, **fields)
    assert [event["event"] for event in read(tmp_path / "log.jsonl")] == ["created"]


def test_start_and_end(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        log.start(seed=7, engine="local", workers=2)
        time.sleep(0.05)
        log.end("failed", OSError("/home/jane.png"))
    (start,), (end,) = _events(tmp_path / "log.jsonl", "start"), _events(tmp_path / "log.jsonl", "end")
    assert start["versions"]["medsaliency"] == __version__
    assert {"python", "torch", "numpy"} <= set(start["versions"])
    assert (start["seed"], start["engine"], start["workers"], start["pid"]) == (7, "local", 2, os.getpid())
    assert start["threads"] >= 1
    assert (end["status"], end["error"]) == ("failed", "OSError")
    assert 0.05 <= end["seconds"] < 10
    assert "jane" not in (tmp_path / "log.jsonl").read_text()


def test_a_stage_is_measured(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        with log.stage("busy"):
            held = np.ones(200 * MEGABYTE, dtype=np.uint8)
            own = time.process_time()
            while time.process_time() < own + 0.2:
                pass
            del held
        with log.stage("idle"):
            time.sleep(0.2)
    busy, idle = _events(tmp_path / "log.jsonl", "stage")
    assert (busy["name"], idle["name"]) == ("busy", "idle")
    assert 0.2 <= busy["cpu_seconds"] < 5
    assert idle["cpu_seconds"] < 0.15 <= idle["seconds"]
    assert busy["peak_bytes"] - idle["peak_bytes"] > 150 * MEGABYTE
    assert (busy["failed"], busy["error"]) == (False, None)
    assert {"cuda_peak_bytes", "cuda_device"} <= set(busy)
    assert log.seconds == {"busy": busy["seconds"], "idle": idle["seconds"]}


def test_nested_stages_are_both_logged_the_inner_first(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log, log.stage("outer"):
        for _ in range(2):
            with log.stage("inner"):
                time.sleep(0.02)
    first, second, outer = _events(tmp_path / "log.jsonl", "stage")
    assert [event["name"] for event in (first, second, outer)] == ["inner", "inner", "outer"]
    assert outer["peak_bytes"] >= max(first["peak_bytes"], second["peak_bytes"])
    assert log.seconds["inner"] == pytest.approx(first["seconds"] + second["seconds"], abs=0.002)
    assert log.seconds["outer"] >= 0.04


@pytest.mark.parametrize("error", [ValueError("of /data/jane.png"), KeyboardInterrupt()])
def test_a_stage_that_fails_is_logged_with_the_class_of_its_error(tmp_path: Path, error: BaseException) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        with pytest.raises(type(error)) as raised, log.stage("training"):
            raise error
        assert raised.value is error
    (stage,) = _events(tmp_path / "log.jsonl", "stage")
    assert (stage["name"], stage["failed"], stage["error"]) == ("training", True, type(error).__name__)
    assert "jane" not in (tmp_path / "log.jsonl").read_text()


def test_stages_go_into_the_trace(tmp_path: Path) -> None:
    begin = time.time()
    with Log(tmp_path / "log.jsonl", Trace(tmp_path / "trace.json")) as log, log.stage("tuning"):
        time.sleep(0.05)
    assert log.trace is not None
    ((name, began, end, worker),) = log.trace._spans
    assert (name, worker) == ("tuning", "driver")
    assert begin <= began <= end - 0.05 <= time.time()


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere/log\.jsonl"):
        Log(tmp_path / "nowhere" / "log.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_disk_is_an_error_and_does_not_hide_what_failed_before(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        log._file.close()
        log._file = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115  # closed by the log
        with pytest.raises(OSError, match="No space left"):
            log.event("damaged", file="")
        with pytest.raises(OSError, match="No space left"), log.stage("tuning"):
            pass
        with pytest.raises(ZeroDivisionError) as raised, log.stage("tuning"):
            raise ZeroDivisionError
        assert "No space left" in raised.value.__notes__[0]


def test_a_line_that_is_written_in_part_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 10

        def fileno(self) -> int:
            return int(self.file.fileno())

        def write(self, line: bytes) -> int:
            written = self.file.write(line[: self.room])
            self.room = 10_000
            return int(written)

        def close(self) -> None:
            self.file.close()

    with Log(tmp_path / "log.jsonl") as log:
        monkeypatch.setattr(log, "_file", Full(log._file))
        with pytest.raises(OSError, match=r"log\.jsonl"):
            log.event("damaged", file="torn")
        log.event("damaged", file="whole")
    assert [event["file"] for event in _events(tmp_path / "log.jsonl", "damaged")] == ["whole"]


def test_events_of_threads_are_whole_lines_for_readers_meanwhile(tmp_path: Path) -> None:
    path, seen, over = tmp_path / "log.jsonl", [], threading.Event()

    def follow() -> None:
        while not over.is_set():
            seen.append(len(list(read(path))))

    with Log(path) as log:
        readers = [threading.Thread(target=follow) for _ in range(2)]
        writers = [
            threading.Thread(target=lambda: [log.event("damaged", file="x" * 500) for _ in range(100)])
            for _ in range(4)
        ]
        for thread in (*readers, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        over.set()
        for thread in readers:
            thread.join()
    lines = path.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["created", *["damaged"] * 400]
    assert all(event["file"] == "x" * 500 for event in _events(path, "damaged"))
    assert len(seen) > 2
    assert max(seen) <= 401


def test_a_killed_process_loses_no_event_that_it_had_logged(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from medsaliency.study.log import Log\n"
        "log = Log(Path(sys.argv[1])); n = 0\n"
        "while True:\n"
        "    log.event('damaged', file=str(n) + ' ' * 2000); print(n, flush=True); n += 1\n"
    )
    path = tmp_path / "log.jsonl"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 50:
                break
        child.send_signal(signal.SIGKILL)
        said = [50, *(int(line) for line in child.stdout.read().split())]
    with Log(path) as log:
        log.event("damaged", file="after")
    numbers = [event["file"].strip() for event in _events(path, "damaged")]
    assert numbers[:-1] == [str(n) for n in range(len(numbers) - 1)]
    assert numbers[-1] == "after"
    assert len(numbers) - 1 > said[-1] >= 50


def test_every_event_is_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "observe.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", fields) for name, fields in rows} == {k: list(v) for k, v in EVENTS.items()}
