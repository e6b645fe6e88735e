"""The judge of metrics plants lesions whose masks are exact, and nothing else tells its classes apart."""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from medsaliency.data.dataset import Dataset, Raw, Record

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def cases() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return import_module("validity_cases")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def dataset() -> Dataset:
    records = tuple(
        Record(id=f"{i:03d}", label=i % 3, patient=f"p{i}", split=split)
        for i, split in enumerate(["training"] * 40 + ["validation"] * 10 + ["evaluation"] * 20)
    )
    return Dataset("set", ("a", "b", "c"), records, lambda record: Raw(np.full((1, 90, 120), 0.5, dtype=np.float32)))


def test_every_second_image_has_a_lesion_and_the_others_are_as_they_were(cases: ModuleType, dataset: Dataset) -> None:
    found = cases.planted(dataset)
    assert found.classes == ("without", "with")
    counts = Counter((record.split, record.label) for record in found.records)
    assert counts == {(split, k): n // 2 for split, n in (("training", 40), ("validation", 10), ("evaluation", 20))
                      for k in (0, 1)}  # fmt: skip
    for record in found.records:
        raw = found.read(record)
        if record.label == 0:
            assert raw.lesion is None
            assert (raw.pixels == 0.5).all()
        else:
            assert raw.lesion is not None
            changed = raw.pixels[0] > 0.5 + 0.1
            assert changed[raw.lesion].all()
            # The soft edge reaches a little beyond the mask, and nothing else is changed.
            assert changed.sum() < 1.6 * raw.lesion.sum()
            assert 0.002 < raw.lesion.mean() < 0.03


def test_a_lesion_is_the_same_whenever_it_is_read(cases: ModuleType, dataset: Dataset) -> None:
    found = cases.planted(dataset)
    record = next(record for record in found.records if record.label == 1)
    other = next(r for r in found.records if r.label == 1 and r.id != record.id)
    assert np.array_equal(found.read(record).pixels, cases.planted(dataset).read(record).pixels)
    assert not np.array_equal(found.read(record).lesion, found.read(other).lesion)


def test_the_misplaced_oracle_keeps_the_shape_and_leaves_the_lesion(cases: ModuleType) -> None:
    from medsaliency.types import Geometry, Sample

    lesion = np.zeros((64, 64), dtype=bool)
    lesion[10:18, 12:17] = True
    image = np.full((1, 64, 64), 0.5, dtype=np.float32)
    sample = Sample("s", image, 0, "p", lesion, Geometry((64, 64)))
    moved = cases.misplaced(sample, np.random.default_rng(0))
    own = cases.oracle(lesion)
    assert moved.sum() == pytest.approx(own.sum(), rel=0.2)  # blurred across the border, a little is lost
    assert (moved > 0.5 * moved.max())[lesion].mean() < 0.05
    assert own[lesion].min() > 5 * own[~lesion].mean()
