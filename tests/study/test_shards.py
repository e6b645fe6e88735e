"""What a run that goes on, or is given another configuration, does again, and what it keeps."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsaliency.attribution.edge import Edge
from medsaliency.evaluation import make_metric
from medsaliency.study import pipeline
from medsaliency.study.classifier import train_model
from medsaliency.study.config import load_study
from medsaliency.study.ledger import Plan, name_of, read_entry, read_plan
from medsaliency.study.log import read
from medsaliency.study.pipeline import run_study
from medsaliency.study.reading import load_data
from medsaliency.study.shards import look, tables_of
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError

BASE = {
    "data.size": "32",
    "data.options": "{training: 24, evaluation: 12}",
    "training.epochs": "1",
    "explain.images": "5",
    "explain.batch_size": "2",
    "explain.tune": "false",
    "explain.maps": "float16",
    "explain.methods": "{gradient: {sign: absolute}, edge: {}, random: {}}",
    "evaluate.metrics": "[pointing_game, gini]",
    "evaluate.random_draws": "2",
}
WHOLE = 3 + 2 * 3 + 2
"""Parts of a shard: three methods, two metrics of each, and both of a further random map."""
Run = Callable[..., Store]


def settings(**changes: str) -> list[str]:
    """The overrides of the base study, with changes: ``explain__images`` for ``explain.images``."""
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return [f"{name}={value}" for name, value in {**BASE, **named}.items()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    study = load_study(None, settings())
    train_model(study, load_data(study), folder)
    return folder


@pytest.fixture
def run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a study as far as its tables, which is what is looked at here."""

    def nothing(_: Store) -> None:
        """In the place of statistics and report."""

    monkeypatch.setattr(pipeline.results, "write_statistics", nothing)
    monkeypatch.setattr(pipeline, "write_report", nothing)

    def run(name: str = "run", **changes: str) -> Store:
        study = load_study(None, [*settings(**changes), f"model.checkpoint={model}"])
        return run_study(study, tmp_path / name)

    return run


def computed(store: Store) -> dict[int, int]:
    """How many parts were computed of each shard that the last start worked on."""
    events = list(read(store.path / "log.jsonl"))
    last = max(place for place, event in enumerate(events) if event["event"] == "start")
    return {event["number"]: event["computed"] for event in events[last:] if event["event"] == "shard"}


def told(store: Store, event: str) -> list[str]:
    """What a log says was stale or damaged."""
    field = {"stale": "what", "damaged": "file"}[event]
    return [each[field] for each in read(store.path / "log.jsonl") if each["event"] == event]


def assert_same(store: Store, fresh: Store) -> None:
    """See that two runs hold the same tables and maps, bit for bit."""
    for name in ("scores", "curves", "draws", "repeats", "predictions", "failures"):
        assert (store.path / f"{name}.parquet").read_bytes() == (fresh.path / f"{name}.parquet").read_bytes(), name
    ours, theirs = store.maps(), fresh.maps()
    assert sorted(ours.methods) == sorted(theirs.methods)
    assert ours.samples == theirs.samples
    for place in range(len(theirs.samples)):
        np.testing.assert_array_equal(ours.image(place), theirs.image(place))
        for method in theirs.methods:
            np.testing.assert_array_equal(ours.map(method, place), theirs.map(method, place))
    assert files_of_maps(store) == files_of_maps(fresh)


def files_of_maps(store: Store) -> list[str]:
    """The files of a run's maps."""
    files = (path for path in (store.path / "maps.zarr").rglob("*") if path.is_file())
    return sorted(path.relative_to(store.path).as_posix() for path in files)


def test_a_run_that_has_all_computes_nothing(run: Run) -> None:
    store = run()
    assert computed(store) == dict.fromkeys(range(3), WHOLE)
    entries = [(store.path / name_of(number)).read_bytes() for number in range(3)]
    run()
    assert computed(store) == {}
    assert [(store.path / name_of(number)).read_bytes() for number in range(3)] == entries
    assert told(store, "stale") == told(store, "damaged") == []


def test_another_parameter_of_a_method_makes_its_parts_alone_stale(run: Run) -> None:
    store = run()
    of_edge = {path: path.stat().st_mtime_ns for path in (store.path / "maps.zarr/maps/edge/c").rglob("*")}
    other = {"explain__methods": "{gradient: {sign: signed}, edge: {}, random: {}}"}
    run(**other)
    assert computed(store) == dict.fromkeys(range(3), 1 + 2)
    stale = ("method gradient", "metric gini", "metric pointing_game")
    assert sorted(told(store, "stale")) == [f"{what}, 3 parts of shards" for what in stale]
    assert {path: path.stat().st_mtime_ns for path in of_edge} == of_edge
    assert_same(store, run("fresh", **other))


def test_a_new_method_computes_only_itself(run: Run) -> None:
    store = run()
    other = {"explain__methods": "{gradient: {sign: absolute}, grad_cam: {}, edge: {}, random: {}}"}
    run(**other)
    assert computed(store) == dict.fromkeys(range(3), 1 + 2)
    assert told(store, "stale") == []
    assert_same(store, run("fresh", **other))


def test_a_new_metric_computes_only_itself(run: Run) -> None:
    store = run()
    other = {"evaluate__metrics": "[pointing_game, lesion_overlap, gini]"}
    run(**other)
    assert computed(store) == dict.fromkeys(range(3), 3 + 1)
    assert_same(store, run("fresh", **other))


def test_what_is_no_longer_asked_for_is_gone_and_comes_back(run: Run) -> None:
    store = run()
    other = {"explain__methods": "{gradient: {sign: absolute}, random: {}}", "evaluate__metrics": "[gini]"}
    run(**other)
    assert computed(store) == {}
    scores = store.read_table("scores.parquet")
    assert set(scores["method"]) == {"gradient", "random"}
    assert set(scores["metric"]) == {"gini"}
    assert_same(store, run("fresh", **other))
    entry = read_entry(store, 0)
    assert entry is not None
    assert not [name for name in (*entry.cells, *entry.files) if "edge" in name]
    run()
    assert computed(store) == dict.fromkeys(range(3), WHOLE - (2 + 2 + 1))
    assert_same(store, run("as before"))


def test_more_images_keep_the_shards_that_are_whole(run: Run) -> None:
    store = run()
    run(explain__images="7")
    assert computed(store) == {2: WHOLE, 3: WHOLE}
    assert_same(store, run("fresh", explain__images="7"))


@pytest.mark.parametrize(("images", "again"), [("4", {}), ("3", {1: WHOLE})])
def test_fewer_images_drop_shards(run: Run, images: str, again: dict[int, int]) -> None:
    store = run()
    run(explain__images=images)
    assert computed(store) == again
    assert not (store.path / name_of(2)).exists()
    assert_same(store, run("fresh", explain__images=images))


@pytest.mark.parametrize("other", [{"explain__batch_size": "3"}, {"explain__maps": "float32"}])
def test_other_shards_or_another_precision_compute_everything(run: Run, other: dict[str, str]) -> None:
    store = run()
    run(**other)
    assert list(computed(store).values()) == [WHOLE] * (2 if "explain__batch_size" in other else 3)
    assert_same(store, run("fresh", **other))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": "1"}, r"another study \(it differs in seed\)"),
        ({"data__options": "{training: 24, evaluation: 16}"}, r"another study \(it differs in data\.options"),
        ({"model__target_layer": "stage1"}, r"another study \(it differs in model\.target_layer\)"),
    ],
)
def test_another_seed_other_data_or_another_model_is_refused(run: Run, other: dict[str, str], named: str) -> None:
    store = run()
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}
    with pytest.raises(MedsaliencyError, match=named):
        run(**other)
    assert {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} == before


def test_other_weights_in_the_same_place_are_refused(run: Run, model: Path, tmp_path: Path) -> None:
    run()
    kept = tmp_path / "kept"
    shutil.copytree(model, kept)
    shutil.rmtree(model)
    other = load_study(None, [*settings(), "training.seed=1"])
    try:
        train_model(other, load_data(other), model)
        with pytest.raises(MedsaliencyError, match="begun with another weights"):
            run()
    finally:
        shutil.rmtree(model)
        shutil.copytree(kept, model)


def test_what_failed_is_done_again_with_the_scores_that_hung_on_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(Edge, "__call__", fail)
        store = run()
    scores = store.read_table("scores.parquet")
    assert set(scores.loc[scores["method"] == "edge", "reason"]) == {"the map was not made: RuntimeError: no memory"}
    failures = store.read_table("failures.parquet")
    assert Counter(zip(failures["kind"], failures["name"], strict=True)) == {("method", "edge"): 5}
    run()
    assert computed(store) == dict.fromkeys(range(3), 1 + 2)
    assert store.read_table("failures.parquet").empty
    assert_same(store, run("fresh"))


def plan_of(store: Store) -> Plan:
    plan = read_plan(store)
    assert plan is not None
    return plan


def test_what_is_damaged_is_done_again_and_no_more(run: Run) -> None:
    store = run()
    plan, entry = plan_of(store), read_entry(store, 1)
    assert entry is not None
    of_edge = [name for name in entry.files if "/edge/" in name]
    assert [name.split("/")[1] for name in of_edge] == ["maps", "scales"]
    expected = {
        "maps.zarr/image/c/1/0/0/0": [],
        "maps.zarr/lesion/c/1/0/0": [],
        **{name: ["method/edge/edge/0"] for name in of_edge},
        **{name: list(plan.cells) for name in entry.tables.values()},
    }
    for name, parts in expected.items():
        content = (store.path / name).read_bytes()
        (store.path / name).write_bytes(content[:-1])
        work = look(store, plan, 1)
        assert (work.damaged, [cell.id for cell in work.cells], work.needed) == ((name,), parts, True), name
        assert not look(store, plan, 0).needed
        (store.path / name).write_bytes(content)
    (store.path / name_of(1)).write_text("{}")
    work = look(store, plan, 1)
    assert (work.damaged, work.entry, len(work.cells)) == ((name_of(1),), None, WHOLE)


def test_images_are_written_again_without_any_part(run: Run) -> None:
    store = run()
    path = store.path / "maps.zarr/image/c/2/0/0/0"
    whole = path.read_bytes()
    path.write_bytes(whole[:10])
    run()
    assert computed(store) == {2: 0}
    assert told(store, "damaged") == ["maps.zarr/image/c/2/0/0/0"]
    assert path.read_bytes() == whole


def test_what_no_entry_names_is_removed(run: Run) -> None:
    store = run()
    for name in ("shards/000000-scores-0123456789ab.parquet", "shards/other", "ledger/000009.json"):
        (store.path / name).write_text("left behind")
    run()
    assert computed(store) == {}
    assert not (store.path / "ledger/000009.json").exists()
    entries = [read_entry(store, number) for number in range(3)]
    named = {name for entry in entries if entry is not None for name in entry.files}
    assert {f"shards/{path.name}" for path in (store.path / "shards").iterdir()} <= named


def test_tables_of_shards_have_no_part_that_is_not_asked_for(run: Run) -> None:
    store = run()
    plan = plan_of(store)
    fewer = Plan({name: key for name, key in plan.cells.items() if "gini" not in name}, plan.bases, plan.samples)
    scores = [table for (table,) in tables_of(store, fewer, "scores")]
    measures = {measure.name for measure in make_metric("pointing_game").measures}
    assert [len(table) for table in scores] == [images * 3 * len(measures) for images in (2, 2, 1)]
    assert all(set(table["metric"]) == measures for table in scores)
