import time
from pathlib import Path

import numpy as np
import pytest
import torch

from medsaliency.study import cost, usage
from medsaliency.study.cost import measured

MEGABYTE = 1024**2


@pytest.mark.parametrize("size", [40, 200])
def test_the_peak_is_what_the_step_held_at_most(size: int) -> None:
    with measured(torch.device("cpu")) as found:
        held = np.ones(size * MEGABYTE, dtype=np.uint8)
        del held
        time.sleep(0.02)
    assert found.peak_bytes is not None
    assert found.peak_bytes / MEGABYTE == pytest.approx(size, rel=0.1, abs=8)
    assert found.seconds >= 0.02


def test_memory_held_before_does_not_count() -> None:
    before = np.ones(200 * MEGABYTE, dtype=np.uint8)
    with measured(torch.device("cpu")) as found:
        before += 1
    assert found.peak_bytes is not None
    assert found.peak_bytes < 20 * MEGABYTE


def test_freed_memory_that_the_allocator_keeps_does_not_hide_a_peak() -> None:
    small = [np.ones(MEGABYTE // 16, dtype=np.uint8) for _ in range(16 * 100)]
    del small
    with measured(torch.device("cpu")) as found:
        assert len([np.ones(MEGABYTE // 16, dtype=np.uint8) for _ in range(16 * 100)]) == 1600
    assert found.peak_bytes is not None
    assert found.peak_bytes > 80 * MEGABYTE


def test_a_system_that_does_not_tell_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "CLEAR", Path("nowhere"))
    with measured(torch.device("cpu")) as found:
        pass
    assert found.peak_bytes is None


def test_a_step_does_not_hide_its_peak_from_the_stage_around_it() -> None:
    with measured(torch.device("cpu")):  # gives back what was freed before
        pass
    before = usage.resident("VmRSS")
    with usage.watched() as stage:
        for megabytes in (200, 1):
            with measured(torch.device("cpu")):
                assert np.ones(megabytes * MEGABYTE, dtype=np.uint8)[-1] == 1
    assert before is not None
    assert stage.resident is not None
    assert (stage.resident - before) / MEGABYTE == pytest.approx(200, rel=0.1)
