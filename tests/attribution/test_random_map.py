from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medsaliency.attribution.random_map import RandomMap
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import generator

LINEAR = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(30, 2)), ["a", "b"])


def maps(seed: int, ids: list[str], value: float = 0.0) -> dict[str, torch.Tensor]:
    probe = Probe(LINEAR, torch.full((len(ids), 1, 5, 6), value), [0] * len(ids))
    return dict(zip(ids, RandomMap()(probe, [generator(seed, i, "random") for i in ids]), strict=True))


@given(
    seed=st.integers(0, 2**40), ids=st.lists(st.text(max_size=5), min_size=1, max_size=5, unique=True), data=st.data()
)
@settings(max_examples=30, deadline=None)
def test_it_depends_on_seed_and_id_only(seed, ids, data) -> None:
    together = maps(seed, ids)
    other_order = maps(seed, data.draw(st.permutations(ids)), value=1.0)
    assert all(torch.equal(together[i], other_order[i]) for i in ids)
    assert all(torch.equal(together[i], maps(seed, [i])[i]) for i in ids)
    assert not torch.equal(together[ids[0]], maps(seed + 1, ids)[ids[0]])


def test_values_are_uniform_and_differ_between_images() -> None:
    drawn = torch.stack(list(maps(0, [str(i) for i in range(200)]).values()))
    assert 0 <= float(drawn.min()) < 0.01
    assert 0.99 < float(drawn.max()) < 1
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.02)
    assert len(torch.unique(drawn)) > 5900
