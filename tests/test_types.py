import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.types import Score, generator, nearest, silent


def test_nearest_suggests_a_close_name_and_lists_all_where_none_is_close():
    assert nearest("folderr", ["manifest", "folder"]) == "; did you mean 'folder'?"
    assert nearest("zzz", ["manifest", "folder"]) == "; known: folder, manifest"


def test_nearest_cuts_a_long_list():
    assert nearest("zzz", [f"name{i:02d}" for i in range(41)]).endswith("name39, ...")


@given(st.integers(0, 2**40), st.lists(st.text(max_size=5), max_size=3))
def test_generator_depends_on_seed_and_names_only(seed, names):
    first = generator(seed, *names).random(4)
    np.random.default_rng(0).random(100)
    np.testing.assert_array_equal(first, generator(seed, *names).random(4))
    assert not np.array_equal(first, generator(seed + 1, *names).random(4))
    assert not np.array_equal(first, generator(seed, *names, "another use").random(4))


def test_generator_tells_the_parts_of_names_apart():
    assert generator(0, "ab", "c").random() != generator(0, "a", "bc").random()


def test_silent_yields_the_items_unchanged():
    assert list(silent([3, 1, 2], "reading", 3)) == [3, 1, 2]


def test_score_is_a_number_or_a_reason():
    assert Score(0.5).reason == ""
    undefined = Score.undefined("empty mask")
    assert np.isnan(undefined.value)
    assert undefined.reason == "empty mask"
    with pytest.raises(ValueError, match="number or a reason"):
        Score(float("nan"))
    with pytest.raises(ValueError, match="number or a reason"):
        Score(0.5, "empty mask")


def test_a_score_is_never_infinite() -> None:
    for reason in ("", "why"):
        with pytest.raises(ValueError, match="a number or a reason"):
            Score(float("inf"), reason)
