import numpy as np

from medsaliency.statistics.verdict import verdicts


def test_a_verdict_needs_the_level_and_one_direction() -> None:
    tested, reported = np.array([1.0, -1, 1, 1, 0, 1]), np.array([0.2, -0.2, 0.2, -0.2, 0.2, 0])
    p = np.array([0.05, 0.01, 0.0501, 0.001, 0.001, 0.001])
    expected = ["better", "worse", "not shown", "not shown", "not shown", "not shown"]
    assert verdicts(tested, reported, p, 0.05) == expected


def test_an_undefined_p_value_shows_nothing() -> None:
    assert verdicts(np.ones(1), np.ones(1), np.array([np.nan]), 0.05) == ["not shown"]
