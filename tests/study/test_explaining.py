from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsaliency.data.dataset import Record
from medsaliency.model.targets import Contrast, Logit, Probability, Target
from medsaliency.study.config import load_study
from medsaliency.study.explaining import select, targets_of


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 50), st.integers(0, 9))
def test_images_are_chosen_evenly_and_whatever_their_order(labels: list[int], images: int, seed: int) -> None:
    records = [Record(id=f"r{i:03d}", label=label, patient=f"p{i}") for i, label in enumerate(labels)]
    chosen = select(records, images, seed)
    assert len(chosen) == min(images, len(records))
    assert chosen == select(records[::-1], images, seed)
    assert chosen[: images // 2] == select(records, images // 2, seed), "a study that grows keeps what it has"
    taken, there = Counter(r.label for r in chosen), Counter(labels)
    most = max(taken.values())
    assert all(taken[label] >= min(there[label], most - 1) for label in there)


def test_the_seed_chooses() -> None:
    records = [Record(id=f"r{i:03d}", label=0, patient=f"p{i}") for i in range(100)]
    assert select(records, 10, 0) != select(records, 10, 1)


PREDICTIONS = pd.DataFrame(
    {
        "sample": ["c", "a", "b"],
        "predicted": [2, 0, 1],
        "p_0": [0.3, 0.6, 0.1],
        "p_1": [0.1, 0.3, 0.5],
        "p_2": [0.6, 0.1, 0.4],
    }
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], [Logit(0), Logit(1), Logit(2)]),
        (["explain.score=probability"], [Probability(0), Probability(1), Probability(2)]),
        # The most probable of the other classes, which for a wrong label is the predicted one.
        (["explain.score=contrast"], [Contrast(0, 1), Contrast(1, 2), Contrast(2, 0)]),
        (["explain.target=label"], [Logit(2), Logit(1), Logit(2)]),
        (["explain.target=label", "explain.score=contrast"], [Contrast(2, 0), Contrast(1, 2), Contrast(2, 0)]),
    ],
    ids=["logit", "probability", "contrast", "label", "label against another"],
)
def test_what_is_explained_of_each_image(settings: list[str], expected: list[Target]) -> None:
    records = [Record("a", 2, "a"), Record("b", 1, "b"), Record("c", 2, "c")]
    assert targets_of(load_study(None, settings), records, PREDICTIONS) == expected
    assert PREDICTIONS["p_0"].tolist() == [0.3, 0.6, 0.1]
