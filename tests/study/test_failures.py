"""One image, method or metric that fails takes nothing from the others, and is told of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from medsaliency.attribution.edge import Edge
from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.input_x_gradient import InputXGradient
from medsaliency.evaluation.gini import Gini
from medsaliency.model.probe import Probe
from medsaliency.study.config import Study, load_study
from medsaliency.study.failures import LONGEST, Failure, failure_table, reason_of
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store
from medsaliency.types import Generators, MedsaliencyError

SETTINGS = (
    "data.size=64",
    "data.options={training: 24, evaluation: 24}",
    "explain.images=5",
    "explain.batch_size=3",
    "explain.tune=false",
    "explain.methods=[gradient, input_x_gradient, edge, random]",
    "evaluate.metrics=[gini, pointing_game]",
    "evaluate.random_draws=1",
    "statistics.draws=100",
    "statistics.permutations=200",
)
Run = Callable[..., Store]


@pytest.fixture(scope="module")
def study(small_path: Path) -> Study:
    return load_study(None, [*SETTINGS, f"model.checkpoint={small_path / 'model'}"])


@pytest.fixture(scope="module")
def healthy(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return run_study(study, tmp_path_factory.mktemp("healthy") / "run")


def spoil(monkeypatch: pytest.MonkeyPatch, method: type, what: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Give ``what`` the images and maps of a method, to change them or raise."""
    own = method.__call__

    def spoiled(self: object, probe: Probe, rngs: Generators) -> Tensor:
        return what(probe.images, own(self, probe, rngs))

    monkeypatch.setattr(method, "__call__", spoiled)


def same_image(images: Tensor, image: np.ndarray) -> Tensor:
    return torch.stack([torch.equal(each, torch.from_numpy(image)) * torch.ones(()) for each in images]).bool()


def test_a_healthy_study_has_no_failure(healthy: Store) -> None:
    assert healthy.read_table("failures.parquet").empty
    assert "While the study went on" not in (healthy.path / "report.html").read_text()


def test_what_fails_is_recorded_and_the_rest_is_as_without(
    study: Study, healthy: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, kept = healthy.maps().samples, healthy.maps()
    bad, blank = kept.image(1), kept.image(3)

    def raises(images: Tensor, maps: Tensor) -> Tensor:
        if same_image(images, bad).any():
            raise RuntimeError("no map of this one")
        return maps

    def not_a_number(images: Tensor, maps: Tensor) -> Tensor:
        maps = maps.clone()
        maps[same_image(images, blank).cpu(), 0, 0] = float("nan")
        return maps

    score = Gini.__call__

    def out_of_memory(self: Gini, probe: Probe, maps: Tensor, rngs: Generators) -> object:
        if same_image(probe.images, bad).any() and len(np.unique(maps[0])) < 4:
            raise MemoryError
        return score(self, probe, maps, rngs)

    spoil(monkeypatch, Gradient, raises)
    spoil(monkeypatch, InputXGradient, not_a_number)
    store = run_study(study, tmp_path / "run")
    failures = store.read_table("failures.parquet")
    assert failures[["sample", "kind", "name"]].to_numpy().tolist() == [
        [names[1], "method", "gradient"],
        [names[3], "method", "input_x_gradient"],
    ]
    assert failures["reason"].iloc[0] == "RuntimeError: no map of this one"
    assert "1 of 4096 values are NaN" in failures["reason"].iloc[1]
    keys = ["sample", "method", "metric"]
    found, expected = (s.read_table("scores.parquet").set_index(keys).sort_index() for s in (store, healthy))
    assert found.index.equals(expected.index)
    lost = [(names[1], "gradient"), (names[3], "input_x_gradient")]
    for pair in lost:
        assert found.loc[pair, "value"].isna().all()
        assert found.loc[pair, "reason"].str.contains("the map ").all()
    others = ~found.index.droplevel("metric").isin(lost)
    pd.testing.assert_frame_equal(found[others], expected[others], rtol=1e-4)
    assert np.isnan(store.maps().map("gradient", 1)).all()
    np.testing.assert_array_equal(store.maps().map("edge", 1), kept.map("edge", 1))
    page = (store.path / "report.html").read_text()
    assert "While the study went on: Gradient gave no finite map of 1 image" in page
    assert names[1] not in page

    # Run again with what is mended, only what failed is made again, and all is as if nothing had happened.
    monkeypatch.undo()
    before = store.read_json("ledger/000001.json")["entry"]["files"]
    assert run_study(study, tmp_path / "run").read_table("failures.parquet").empty
    after = store.read_json("ledger/000001.json")["entry"]["files"]
    assert before["maps.zarr/maps/edge/c/1/0/0"] == after["maps.zarr/maps/edge/c/1/0/0"]
    again = store.read_table("scores.parquet").set_index(keys).sort_index()
    pd.testing.assert_frame_equal(again, expected)

    # A metric that runs out of memory.
    monkeypatch.setattr(Gini, "__call__", out_of_memory)
    monkeypatch.setattr(Edge, "__call__", lambda _, probe, __: torch.ones_like(probe.images[:, 0]))
    shutil.rmtree(tmp_path / "run")
    failures = run_study(study, tmp_path / "run").read_table("failures.parquet")
    assert failures[["sample", "kind", "name", "method", "reason"]].to_numpy().tolist() == [
        [names[1], "metric", "gini", "edge", "MemoryError"]
    ]


def test_a_method_that_always_raises_leaves_the_others(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: Tensor, __: Tensor) -> Tensor:
        raise MedsaliencyError("gradient: expected another network, got this one; use another")

    spoil(monkeypatch, Gradient, never)
    store = run_study(study, tmp_path / "run")
    failures = store.read_table("failures.parquet")
    assert set(failures["name"]) == {"gradient"}
    assert len(failures) == 5
    scores = store.read_table("scores.parquet")
    assert scores.loc[scores["method"] == "gradient", "value"].isna().all()
    assert scores.loc[scores["method"] == "edge", "value"].notna().any()
    with pytest.raises(MedsaliencyError, match=r"method gradient: gradient: expected another network.*--strict"):
        run_study(study, tmp_path / "strict", strict=True)


def images_in(folder: Path, classes: Sequence[str], many: int) -> None:
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(many):
            pixels = np.random.default_rng([label, i]).integers(0, 120 + 100 * label, (40, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")


def test_images_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    images_in(tmp_path / "data", ["a", "b"], 16)
    settings = (
        *("data.source=folder", f"data.root={tmp_path / 'data'}", "data.size=32", "training.epochs=1"),
        *SETTINGS[2:],
    )
    study = load_study(None, settings)
    healthy = run_study(study, tmp_path / "healthy")
    splits = pd.read_csv(healthy.path / "splits.csv").groupby("split")["sample"].first()
    for name in splits:
        (tmp_path / "data" / name).write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    store = run_study(study, tmp_path / "run")
    failures = store.read_table("failures.parquet").set_index("sample")
    assert failures["stage"].to_dict() == {
        splits["training"]: "training",
        splits["evaluation"]: "predicting",
        splits["validation"]: "calibrating",
    }
    again = run_study(study, tmp_path / "run").read_table("failures.parquet")
    assert sorted(again["sample"]) == sorted(failures.index), "what failed in training is not forgotten"
    assert set(failures["kind"]) == {"image"}
    assert splits["evaluation"] not in set(store.read_table("predictions.parquet")["sample"])
    page = (store.path / "report.html").read_text()
    assert "could not be read" in page
    assert all(str(tmp_path) not in page and Path(name).name not in page for name in splits)
    with pytest.raises(MedsaliencyError, match="--strict"):
        run_study(study, tmp_path / "strict", strict=True)


def test_reasons_are_one_line_and_name_a_foreign_exception() -> None:
    assert reason_of(MedsaliencyError("so it is")) == "so it is"
    assert reason_of(ValueError("two\nlines")) == "ValueError: two lines"
    assert reason_of(MemoryError()) == "MemoryError"
    assert len(reason_of(ValueError("x" * 1000))) == LONGEST


def test_a_failure_is_listed_once() -> None:
    one = Failure("training", "a", "image", "", "", "why")
    assert len(failure_table([one, one])) == 1
    assert list(failure_table([])) == ["stage", "sample", "kind", "name", "method", "reason"]
    assert str(Failure("s", "a", "metric", "gini", "edge", "why")) == "a: metric gini of edge: why"
