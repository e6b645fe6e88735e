from collections.abc import Iterator

import pytest

from medsaliency.study import estimate
from medsaliency.study.estimate import Step, estimated


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    return now


def run(clock: list[float], *steps: tuple[str, float | None]) -> Iterator[Step]:
    for name, seconds in steps:
        clock[0] += seconds or 0.0
        yield Step(name, fresh=seconds is not None)


def test_one_step_of_a_metric_says_what_all_of_them_will_cost(clock: list[float]) -> None:
    plan = ["a", "b", "metric", "metric"] * 2
    steps = run(clock, ("a", 1.0), ("b", 3.0), ("metric", 10.0), ("metric", 12.0))
    found = [step.seconds_left for step in estimated(steps, plan)]
    # At first a stands for all seven others; after a and b, what is unknown costs 2 s.
    assert found == pytest.approx([7 * 1.0, 4 * 2.0 + 1 + 3, 3 * 10.0 + 1 + 3, 2 * 11.0 + 1 + 3])


def test_steps_done_before_cost_nothing_and_teach_nothing(clock: list[float]) -> None:
    steps = run(clock, ("a", None), ("b", None), ("a", 5.0))
    assert [s.seconds_left for s in estimated(steps, ["a", "b", "a", "b"])] == [None, None, pytest.approx(5.0)]
    assert [s.name for s in estimated(run(clock, ("a", None)), ["a"])] == ["a"]


def test_at_the_end_nothing_is_left(clock: list[float]) -> None:
    *_, last = estimated(run(clock, ("a", 1.0), ("b", 2.0)), ["b", "a"])
    assert last.seconds_left == 0
