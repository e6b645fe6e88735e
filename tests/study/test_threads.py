"""Maps and scores do not depend on how many threads the libraries take, so that any worker gives the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medsaliency.attribution import CONTROLS
from medsaliency.evaluation import METRICS
from medsaliency.study.config import PANEL
from medsaliency.study.store import Store

EXPLAINED = """
import hashlib, json, sys
import torch
from medsaliency.data import open_source
from medsaliency.evaluation import METRICS
from medsaliency.model.checkpoint import load
from medsaliency.model.targets import Logit
from medsaliency.study.cells import Cell
from medsaliency.study.config import PANEL, load_study
from medsaliency.study.shard import Shard

threads, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(threads)
assert torch.get_num_threads() == threads
study = load_study(None, **{"data.size": 64, "evaluate.metrics": list(METRICS)})
data = open_source(kind="sandbox", size=64)
records = [record for record in data.of("evaluation") if record.label][:2]
samples = [data.sample(record, 64, 1) for record in records]
shard = Shard(study, load(folder, device="cpu"), records, samples, [Logit(1)] * 2, {}, strict=True)
for _ in shard.work([Cell("method", name, name) for name in PANEL]):
    pass
for _ in shard.work([Cell("metric", name, "gradient") for name in METRICS]):
    pass
found = {name: hashlib.sha256(own.tobytes()).hexdigest() for name, own in shard.maps.items()}
for metric, own in shard.tables()["scores"].groupby("metric"):
    found[f"score {metric}"] = [value.hex() for value in own["value"]]
json.dump(found, sys.stdout)
"""


def explained(threads: int, model: Path) -> dict[str, object]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", EXPLAINED, str(threads), str(model)],
        env={**os.environ, **dict.fromkeys(names, str(threads))},
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_maps_and_scores_are_the_same_for_any_number_of_threads(small_run: Store) -> None:
    one, two = (explained(threads, small_run.path / "model") for threads in (1, 2))
    assert set(PANEL) <= set(one)
    assert CONTROLS & set(one)
    assert sum(name.startswith("score ") for name in one) >= len(METRICS)
    assert {name for name in one if one[name] != two[name]} == set()
