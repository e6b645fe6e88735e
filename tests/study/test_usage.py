import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from medsaliency.study import usage
from medsaliency.study.usage import cpu_seconds, forget, resident, watched

MEGABYTE = 1024**2
BUSY = "import time\nwhile time.process_time() < {seconds}: pass\nprint('done', flush=True)\n"


def _held() -> int:
    held = resident("VmRSS")
    assert held is not None
    return held


def _hold(megabytes: int) -> None:
    held = np.ones(megabytes * MEGABYTE, dtype=np.uint8)
    assert held[-1] == 1


def _above(peak: usage.Peak, before: int) -> float:
    assert peak.resident is not None
    return (peak.resident - before) / MEGABYTE


@pytest.mark.parametrize("size", [60, 200])
def test_the_peak_is_the_most_that_was_held(size: int) -> None:
    before = _held()
    with watched() as peak:
        _hold(size)
        before_it_ended = _held()
    assert _above(peak, before) == pytest.approx(size, rel=0.1, abs=10)
    assert (before_it_ended - before) / MEGABYTE < size / 2


def test_a_peak_is_seen_by_its_own_block_and_those_around_it() -> None:
    before = _held()
    with watched() as outer:
        with watched() as first:
            _hold(200)
        with watched() as second:
            _hold(50)
    assert _above(first, before) == pytest.approx(200, rel=0.1)
    assert _above(outer, before) == pytest.approx(200, rel=0.1)
    assert _above(second, before) < 100


def test_a_mark_that_begins_anew_is_not_lost_to_a_block_in_progress() -> None:
    before = _held()
    with watched() as peak:
        _hold(150)
        forget()
    assert _above(peak, before) == pytest.approx(150, rel=0.1)


def test_blocks_of_several_threads_watch_at_once() -> None:
    before, peaks = _held(), []

    def watch() -> None:
        with watched() as peak:
            time.sleep(0.3)
        peaks.append(peak)

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    _hold(150)
    for thread in threads:
        thread.join()
    assert [_above(peak, before) > 130 for peak in peaks] == [True] * 3


def test_the_watch_ends_with_an_error() -> None:
    with pytest.raises(RuntimeError), watched() as peak:
        raise RuntimeError
    assert peak.resident is not None
    assert peak not in usage._WATCHES


def test_a_system_that_does_not_tell_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATUS", "CLEAR"):
        monkeypatch.setattr(usage, name, usage.Path("nowhere"))
    with watched() as peak:
        _hold(10)
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
