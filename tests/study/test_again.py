"""Random maps drawn again, and scores given again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsaliency.study.cells import cells_of, further_draws
from medsaliency.study.config import load_study
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store


@pytest.fixture
def run(small_path: Path, tmp_path: Path) -> Callable[..., Store]:
    def run(name: str, *settings: str) -> Store:
        study = load_study(
            None,
            [
                *("data.size=64", "data.options={training: 24, evaluation: 24}", "explain.images=4"),
                *("explain.methods=[gradient, random]", "evaluate.metrics=[lesion_auprc, infidelity]"),
                *("statistics.draws=100", f"model.checkpoint={small_path / 'model'}", *settings),
            ],
        )
        return run_study(study, tmp_path / name)

    return run


def test_further_random_maps_are_scored_beside_the_one_that_is_kept(run: Callable[..., Store]) -> None:
    store = run("draws", "evaluate.random_draws=4")
    draws = store.read_table("draws.parquet")
    assert set(draws["method"]) == {"random"}
    assert draws["draw"].unique().tolist() == [0, 1, 2, 3]
    counts = draws.groupby(["metric", "draw"])["sample"].nunique()
    assert (counts == 4).all()
    scores = store.read_table("scores.parquet")
    kept = scores[(scores["method"] == "random") & (scores["metric"] == "infidelity")].set_index("sample")["value"]
    own = draws[(draws["metric"] == "infidelity")].pivot(index="sample", columns="draw", values="value")
    np.testing.assert_array_equal(own[0].loc[kept.index], kept)
    assert (own.nunique(axis=1) == 4).all(), "each draw is another map"
    against = store.read_table("statistics/against_controls.parquet")
    assert set(against.loc[against["control"] == "random", "draws"]) == {4}


def test_scores_are_repeated_with_other_choices_of_the_metric_and_the_same_maps(run: Callable[..., Store]) -> None:
    store = run("repeats", "evaluate.repeats=3", "evaluate.random_draws=1")
    repeats = store.read_table("repeats.parquet")
    values = repeats.pivot(index=["metric", "method", "sample"], columns="repeat", values="value")
    assert values.columns.tolist() == [0, 1, 2]
    assert (values.loc["lesion_auprc"].nunique(axis=1) <= 1).all(), "nothing is drawn there"
    assert (values.loc["faithfulness_correlation"].nunique(axis=1) == 3).all()
    icc = store.read_table("statistics/reliability.parquet").set_index("metric")
    assert set(icc["source"]) == {"seed"}
    assert icc.loc["lesion_auprc", "icc"] == pytest.approx(1)
    assert store.read_table("draws.parquet").empty


def test_the_shards_size_changes_no_draw(run: Callable[..., Store]) -> None:
    one, two = (run(str(size), f"explain.batch_size={size}", "explain.tune=false") for size in (1, 4))
    values = [
        store.read_table("draws.parquet").sort_values(["metric", "sample", "draw"])["value"] for store in (one, two)
    ]
    np.testing.assert_allclose(*values, rtol=1e-4)


def test_every_step_is_announced() -> None:
    study = load_study(None, ["explain.methods=[gradient, random]", "evaluate.metrics=[gini]", "evaluate.repeats=3"])
    assert further_draws(study) == 4
    steps = [cell.name for cell in cells_of(study)]
    assert steps == ["gradient", "random", "gini", "gini", *["gini"] * 4, *["gini"] * 4]
    without = load_study(None, ["explain.methods=[gradient]", "evaluate.metrics=[gini]"])
    assert further_draws(without) == 0
