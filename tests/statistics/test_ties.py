import numpy as np
import pytest

from medsaliency.statistics.ties import tie_decimals


def test_sums_in_another_order_tie() -> None:
    values = np.array([0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1])
    assert values[0] != values[1]
    rounded = np.round(values, tie_decimals(values))
    assert rounded[0] == rounded[1]


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 250.0, 1e12])
def test_differences_tie_at_any_scale_and_real_ones_stay(scale: float) -> None:
    values = np.array([0.7, 0.5, 0.3, 0.1]) * scale
    decimals = tie_decimals(values)
    first, second = np.round([values[0] - values[1], values[2] - values[3]], decimals)
    assert first == second
    assert np.round(values[0] * (1 + 1e-9), decimals) != np.round(values[0], decimals)


def test_nothing_to_round() -> None:
    assert np.round(0.0, tie_decimals(np.zeros(3))) == 0
    assert np.round(1.0, tie_decimals(np.array([1.0, np.nan]))) == 1
    tie_decimals(np.empty((0, 3)))
