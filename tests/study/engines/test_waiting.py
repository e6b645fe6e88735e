from collections.abc import Iterator

from medsaliency.study.engines import AHEAD, TRIES
from medsaliency.study.engines.waiting import Waiting
from medsaliency.study.work import Prediction, Task

TASKS: list[Task] = [Prediction(number, ()) for number in range(5)]


def test_tasks_are_taken_when_they_are_given_out_and_not_before() -> None:
    taken = []

    def source() -> Iterator[Task]:
        for task in TASKS:
            taken.append(task.number)
            yield task

    waiting = Waiting(source())
    first = [waiting.next(TASKS[:held]) for held in range(AHEAD)]
    assert first == TASKS[:AHEAD]
    assert waiting.next(TASKS[:AHEAD]) is None  # it has enough
    assert taken == [0, 1]


def test_it_is_over_when_all_are_given_out_and_none_came_back() -> None:
    waiting = Waiting(TASKS[:1])
    task = waiting.next([])
    assert task is not None
    assert not waiting.over  # nobody knows yet that there is no other
    assert waiting.next([]) is None
    assert waiting.over
    assert waiting.back(task, 1, "killed") is None
    assert not waiting.over


def test_tasks_of_a_worker_that_ended_come_first_each_alone() -> None:
    waiting = Waiting(TASKS)
    held = [waiting.next([]), waiting.next(TASKS[:1])]
    for task in held:
        assert task is not None
        assert waiting.back(task, 2, "killed") is None
    assert waiting.next(TASKS[3:4]) is None  # one that has a task waits until it has none
    assert waiting.next([]) == TASKS[0]
    assert waiting.next(TASKS[:1]) is None  # and then has this one alone
    assert waiting.next([]) == TASKS[1]
    assert waiting.next([]) == TASKS[2]


def test_a_task_is_lost_when_it_was_alone_often_enough_and_others_with_it_are_not_blamed() -> None:
    waiting = Waiting(TASKS[:2])
    for _ in range(10):
        assert waiting.back(TASKS[0], 2, "killed") is None
    found = [waiting.back(TASKS[1], 1, f"end {time}") for time in range(TRIES)]
    assert found[:-1] == [None] * (TRIES - 1)
    lost = found[-1]
    assert lost is not None
    assert lost.task == TASKS[1]
    assert f"ended {TRIES} times" in lost.reason
    assert f"end {TRIES - 1}" in lost.reason
