import pytest

from medsaliency.study.estimate import Step, estimated


def test_one_step_of_a_metric_says_what_all_of_them_will_cost() -> None:
    plan = {"a": 2, "b": 2, "metric": 4}
    steps = [Step("a", 1.0), Step("b", 3.0), Step("metric", 10.0), Step("metric", 12.0)]
    found = [step.seconds_left for step in estimated(steps, plan)]
    # At first a stands for all seven others; after a and b, what is unknown costs 2 s.
    assert found == pytest.approx([7 * 1.0, 4 * 2.0 + 1 + 3, 3 * 10.0 + 1 + 3, 2 * 11.0 + 1 + 3])


def test_steps_done_before_cost_nothing_and_teach_nothing() -> None:
    steps = [Step("a"), Step("b"), Step("a", 5.0)]
    assert [s.seconds_left for s in estimated(steps, {"a": 2, "b": 2})] == [None, None, pytest.approx(5.0)]
    assert [s.name for s in estimated([Step("a")], {"a": 1})] == ["a"]


def test_two_workers_need_half_of_the_time() -> None:
    steps = [Step("a", 4.0)]
    assert [s.seconds_left for s in estimated(steps, {"a": 5}, workers=2)] == [pytest.approx(8.0)]


def test_at_the_end_nothing_is_left() -> None:
    *_, last = estimated([Step("a", 1.0), Step("b", 2.0)], {"b": 1, "a": 1})
    assert last.seconds_left == 0
