from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from medsaliency.data.dataset import Record
from medsaliency.study.explaining import select


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 50), st.integers(0, 9))
def test_images_are_chosen_evenly_and_whatever_their_order(labels: list[int], images: int, seed: int) -> None:
    records = [Record(id=f"r{i:03d}", label=label, patient=f"p{i}") for i, label in enumerate(labels)]
    chosen = select(records, images, seed)
    assert len(chosen) == min(images, len(records))
    assert chosen == select(records[::-1], images, seed)
    taken, there = Counter(r.label for r in chosen), Counter(labels)
    most = max(taken.values())
    assert all(taken[label] >= min(there[label], most - 1) for label in there)


def test_the_seed_chooses() -> None:
    records = [Record(id=f"r{i:03d}", label=0, patient=f"p{i}") for i in range(100)]
    assert select(records, 10, 0) != select(records, 10, 1)
