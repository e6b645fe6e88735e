"""What a run keeps of another whose network was trained from another seed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medsaliency.report.contents import COLUMNS
from medsaliency.study.config import load_study
from medsaliency.study.networks import keep_networks
from medsaliency.study.pipeline import run_study
from medsaliency.study.results import write_statistics
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError

from .conftest import SMALL

FEW = ("explain.target=label", "explain.methods=[gradient, grad_cam, random]", "evaluate.metrics=[lesion_auprc]")


def test_the_card_tells_of_networks_trained_anew(small_path: Path, tmp_path: Path) -> None:
    own = load_study(None, [*SMALL, *FEW, f"model.checkpoint={small_path / 'model'}"])
    store = run_study(own, tmp_path / "run")
    retrained = run_study(load_study(None, [*SMALL, *FEW, "training.seed=7"]), tmp_path / "other").path
    before = store.read_table("statistics/trust.parquet")
    told = before[before["criterion"] == "repeatable"]
    assert set(told["verdict"]) == {"not shown"}
    assert told["value"].isna().all()

    keep_networks(store, [retrained])
    write_statistics(store)
    networks = store.read_table("statistics/networks.parquet")
    assert networks.columns.tolist() == COLUMNS["networks"].split()
    assert set(networks["kind"]) == {"repeatability"}
    after = store.read_table("statistics/trust.parquet")
    repeatable = after[after["criterion"] == "repeatable"].set_index("method")
    spearman = networks[networks["measure"] == "spearman"].set_index("method")
    for method in ("grad_cam", "gradient"):
        assert repeatable.loc[method, "value"] == pytest.approx(spearman.loc[method, "value"])
    assert after.loc[after["criterion"] == "reproducible", "value"].isna().all()

    retrained_icc = store.read_table("statistics/reliability.parquet")
    assert set(retrained_icc["source"]) == {"retrained"}
    scores = store.read_table("retrained.parquet")
    assert scores["repeat"].unique().tolist() == [0, 1]
    assert set(scores["sample"]) <= set(store.read_table("scores.parquet")["sample"])


def test_a_run_is_not_compared_with_itself(small_path: Path, tmp_path: Path) -> None:
    store = Store(shutil.copytree(small_path, tmp_path / "run"))
    with pytest.raises(MedsaliencyError, match="other weights"):
        keep_networks(store, [small_path])
    assert not store.has("networks.parquet")
