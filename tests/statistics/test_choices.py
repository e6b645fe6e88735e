"""Numbers drawn some rows at a time are those of one call."""

import numpy as np
import pytest

from medsaliency.statistics import choices
from medsaliency.statistics.choices import drawn_rows


@pytest.mark.parametrize("below", [2, 3, 6, 7, 16, 100, 216, 255, 256, 257, 300, 1000, 65535, 65536])
@pytest.mark.parametrize("at_once", [1, 37, 1000, 2**24])
def test_rows_are_those_of_one_call_of_numpy(below: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "AT_ONCE", at_once)
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    kind = np.min_scalar_type(below - 1).type
    for _ in range(3):
        wanted = one.integers(below, size=(23, 31), dtype=kind)
        parts = list(drawn_rows(other, below, 23, 31))
        assert max(map(len, parts)) <= max(1, at_once // 31)
        np.testing.assert_array_equal(np.concatenate(parts), wanted)
        assert parts[0].dtype == kind
        assert one.bit_generator.state == other.bit_generator.state


def test_very_many_choices_are_drawn_too() -> None:
    found = np.concatenate(list(drawn_rows(np.random.default_rng(0), 70_000, 40, 25)))
    assert found.shape == (40, 25)
    assert 60_000 < found.max() < 70_000
