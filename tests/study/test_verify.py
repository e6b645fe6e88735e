"""Whether a run is whole: every kind of loss is found, and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsaliency.study.ledger import BASIS, PLAN, PRODUCTS, Entry, Plan, commit, file_hash, name_of, seal, write_plan
from medsaliency.study.store import Store, write_text
from medsaliency.study.verify import Verdict, verify
from medsaliency.types import MedsaliencyError

PARTS = ("method/edge/edge/0", "metric/gini/edge/0")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished run of two shards with two parts each, a map file and a table each, and three products."""
    store = Store(tmp_path)
    for name in ("study.yaml", "scores.parquet", "model/model.json", "predictions/evaluation-images.parquet"):
        write_text(tmp_path / name, name)
    keys = dict.fromkeys(PARTS, "key")
    write_plan(store, Plan(keys, ["0", "1"], [["a", "b"], ["c"]]))
    for number in range(2):
        maps, table = f"maps.zarr/maps/edge/c/{number}/0/0", f"shards/00000{number}-scores.parquet"
        for name in (maps, table):
            write_text(tmp_path / name, name)
        files = {name: str(file_hash(tmp_path / name)) for name in (maps, table)}
        commit(store, Entry(number, str(number), keys, [], files, {"scores": table}))
    seal(store)
    return store


def test_a_finished_run_is_whole(store: Store) -> None:
    assert verify(store.path) == Verdict(2, 2, 4, 0, 0, 8, (), True)
    lines = verify(store.path).lines()
    assert lines[0] == "Shards: 2 of 2 complete; parts: 4 of 4"
    assert lines[-1] == "The run is whole."


@pytest.mark.parametrize(
    "name",
    ["maps.zarr/maps/edge/c/1/0/0", "shards/000000-scores.parquet", "scores.parquet", "study.yaml", "model/model.json"],
)
@pytest.mark.parametrize("spoil", ["flip", "truncate", "delete"])
def test_any_file_that_is_spoiled_is_found_and_named(store: Store, name: str, spoil: str) -> None:
    path = store.path / name
    content = path.read_bytes()
    if name == "study.yaml" and spoil == "delete":
        return  # then it is no run at all: see below
    if spoil == "delete":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if spoil == "truncate" else bytes([content[0] ^ 1]) + content[1:])
    verdict = verify(store.path)
    assert verdict.damaged == (name,)
    assert not verdict.whole
    assert f"damaged or missing: {name}" in verdict.lines()
    assert verdict.lines()[-1] == "Run `medsaliency study` again to make what is missing."


def test_a_spoiled_entry_is_named_and_its_parts_are_missing(store: Store) -> None:
    write_text(store.path / name_of(1), "{}")
    assert verify(store.path) == Verdict(2, 1, 4, 2, 0, 6, (name_of(1),), True)


def test_what_was_never_done_is_missing_and_not_damaged(store: Store) -> None:
    (store.path / name_of(1)).unlink()
    (store.path / PRODUCTS).unlink()
    verdict = verify(store.path)
    assert verdict == Verdict(2, 1, 4, 2, 0, 2, (), False)
    assert not verdict.whole
    assert "Not finished: tables and report are not those of the shards" in verdict.lines()


def test_parts_of_other_settings_are_missing(store: Store) -> None:
    write_plan(store, Plan({PARTS[0]: "key", PARTS[1]: "other"}, ["0", "changed"], [["a", "b"], ["c"]]))
    assert verify(store.path).missing == 1 + 2


def test_what_failed_is_counted_and_is_no_damage(store: Store) -> None:
    commit(store, Entry(1, "1", dict.fromkeys(PARTS, "key"), [PARTS[0], "no longer asked for"]))
    verdict = verify(store.path)
    assert (verdict.failed, verdict.whole) == (1, True)
    assert verdict.lines()[0].endswith(", 1 with failures")


def test_a_seal_that_cannot_be_read_is_damage(store: Store) -> None:
    write_text(store.path / PRODUCTS, "{")
    verdict = verify(store.path)
    assert verdict.damaged == (PRODUCTS,)
    assert not verdict.sealed


def test_before_the_seal_the_model_s_answers_are_read_too(store: Store) -> None:
    name = "predictions/evaluation-images.parquet"
    store.write_json("ledger/evaluation.json", {"basis": "b", "files": {name: file_hash(store.path / name)}})
    (store.path / PRODUCTS).unlink()
    assert verify(store.path).damaged == ()
    write_text(store.path / name, "other")
    assert verify(store.path).damaged == (name,)
    write_text(store.path / "ledger/evaluation.json", "{")
    assert verify(store.path).damaged == ("ledger/evaluation.json",)


@pytest.mark.parametrize("removed", ["study.yaml", PLAN])
def test_a_folder_that_is_no_run_or_has_no_shards_yet_is_told(store: Store, removed: str) -> None:
    (store.path / removed).unlink()
    with pytest.raises(MedsaliencyError, match="expected the folder of a study that has come to its shards"):
        verify(store.path)


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="got no folder"):
        verify(tmp_path / "none")


def test_a_damaged_plan_is_told(store: Store) -> None:
    write_text(store.path / PLAN, '{"cells": {}}')
    with pytest.raises(MedsaliencyError, match=r"plan\.json"):
        verify(store.path)
    assert not store.has(BASIS), "nothing is written"
