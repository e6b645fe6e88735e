import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from medsaliency.study import usage
from medsaliency.study.usage import cpu_seconds, watched

BUSY = "import time\nwhile time.process_time() < {seconds}: pass\nprint('done', flush=True)\n"


MEASURE = """
import json, sys, threading, time
import numpy as np
from medsaliency.study.usage import forget, resident, watched

MEGABYTE = 1024**2


def hold(megabytes):
    held = np.ones(megabytes * MEGABYTE, dtype=np.uint8)
    assert held[-1] == 1


def above(peak, before):
    return (peak.resident - before) / MEGABYTE


def alone(size):
    before = resident("VmRSS")
    with watched() as peak:
        hold(size)
        after = resident("VmRSS")
    return above(peak, before), (after - before) / MEGABYTE


def nested():
    before = resident("VmRSS")
    with watched() as outer:
        with watched() as first:
            hold(200)
        with watched() as second:
            hold(50)
    return [above(peak, before) for peak in (outer, first, second)]


def begun_anew():
    before = resident("VmRSS")
    with watched() as peak:
        hold(150)
        forget()
    return above(peak, before)


def in_threads():
    before, peaks = resident("VmRSS"), []

    def watch():
        with watched() as peak:
            time.sleep(0.3)
        peaks.append(peak)

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    hold(150)
    for thread in threads:
        thread.join()
    return [above(peak, before) for peak in peaks]


json.dump({"60": alone(60), "200": alone(200), "nested": nested(), "anew": begun_anew(), "threads": in_threads()},
    sys.stdout)
"""
"""Run in a process of its own: in that of many tests, other threads and what is freed late count as well."""


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", MEASURE], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("size", [60, 200])
def test_the_peak_is_the_most_that_was_held(measured: dict[str, Any], size: int) -> None:
    peak, before_it_ended = measured[str(size)]
    assert peak == pytest.approx(size, rel=0.1, abs=10)
    assert before_it_ended < size / 2


def test_a_peak_is_seen_by_its_own_block_and_those_around_it(measured: dict[str, Any]) -> None:
    outer, first, second = measured["nested"]
    assert [outer, first] == pytest.approx([200, 200], rel=0.1)
    assert second < 100


def test_a_mark_that_begins_anew_is_not_lost_to_a_block_in_progress(measured: dict[str, Any]) -> None:
    assert measured["anew"] == pytest.approx(150, rel=0.1)


def test_blocks_of_several_threads_watch_at_once(measured: dict[str, Any]) -> None:
    assert [peak > 130 for peak in measured["threads"]] == [True] * 3


def test_the_watch_ends_with_an_error() -> None:
    with pytest.raises(RuntimeError), watched() as peak:
        raise RuntimeError
    assert peak.resident is not None
    assert peak not in usage._WATCHES


def test_a_system_that_does_not_tell_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATUS", "CLEAR"):
        monkeypatch.setattr(usage, name, usage.Path("nowhere"))
    with watched() as peak:
        assert np.ones(10_000_000, dtype=np.uint8).all()
    assert (peak.resident, peak.cuda, peak.device) == (None, None, None)


def test_processor_time_of_this_process() -> None:
    begin, own = cpu_seconds(), time.process_time()
    while time.process_time() < own + 0.3:
        pass
    assert cpu_seconds() - begin == pytest.approx(0.3, abs=0.15)


def test_processor_time_of_children_counts_while_they_run_and_after() -> None:
    begin = cpu_seconds()
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY.format(seconds=0.5)!r}])"
    script = f"{nested}\ninput()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        running = cpu_seconds() - begin
        child.communicate(b"\n")
    ended = cpu_seconds() - begin
    assert running >= 0.45
    assert ended >= running - 0.05
    assert ended < running + 1
