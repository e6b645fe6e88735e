"""What a run says that it holds, and how that is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsaliency.study import ledger
from medsaliency.study.ledger import Entry, Plan, commit, keep_basis, read_entry, read_plan, write_plan
from medsaliency.study.store import Store, write_text
from medsaliency.types import MedsaliencyError

ENTRY = Entry(3, "basis", {"method/edge/edge/0": "key"}, ["method/edge/edge/0"], {"a": "0"}, {"scores": "a"})
PLAN = Plan({"one": "1", "two": "2"}, ["basis"], [["image"]])
BASIS = {"medsaliency": "1", "data": "2", "weights": "3"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_an_entry_comes_back_as_it_was_committed(store: Store) -> None:
    assert read_entry(store, 3) is None
    commit(store, ENTRY)
    assert read_entry(store, 3) == ENTRY


def test_an_entry_with_any_byte_changed_or_cut_off_is_none(store: Store) -> None:
    commit(store, ENTRY)
    path = store.path / ledger.name_of(3)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_entry(store, 3) in (None, ENTRY), place  # a space more or less changes nothing of it
    for length in range(len(whole) - 1):  # the last one is the end of a line
        path.write_bytes(whole[:length])
        assert read_entry(store, 3) is None, length


@pytest.mark.parametrize(
    "content", ["", "[]", "null", '"entry"', '{"entry": 3}', '{"entry": {}}', '{"entry": {"x": 1}}']
)
def test_what_is_no_entry_is_none(store: Store, content: str) -> None:
    write_text(store.path / ledger.name_of(3), content)
    assert read_entry(store, 3) is None


def test_parts_are_missing_that_are_not_there_or_have_another_key_or_another_basis() -> None:
    whole = {"one": "1", "two": "2"}
    assert PLAN.missing(None, 0) == {"one", "two"}
    assert PLAN.missing(Entry(0, "basis", whole), 0) == set()
    assert PLAN.missing(Entry(0, "basis", {**whole, "three": "3"}), 0) == set()
    assert PLAN.missing(Entry(0, "basis", {"one": "1", "two": "other"}), 0) == {"two"}
    assert PLAN.missing(Entry(0, "other", whole), 0) == {"one", "two"}


def test_a_file_is_damaged_that_is_missing_or_has_another_content(tmp_path: Path) -> None:
    for name in ("same", "changed", "gone"):
        (tmp_path / name).write_text(name)
    known = {name: str(ledger.file_hash(tmp_path / name)) for name in ("same", "changed", "gone")}
    assert ledger.damaged(tmp_path, known) == []
    (tmp_path / "changed").write_text("Changed")
    (tmp_path / "gone").unlink()
    assert ledger.damaged(tmp_path, known) == ["changed", "gone"]


def test_a_plan_comes_back_and_a_damaged_one_is_an_error(store: Store) -> None:
    assert read_plan(store) is None
    write_plan(store, PLAN)
    assert read_plan(store) == PLAN
    for content in ("{", "[]", '{"cells": {}}', '{"cells": {}, "bases": [], "samples": [], "more": 1}'):
        write_text(store.path / ledger.PLAN, content)
        with pytest.raises(MedsaliencyError, match=r"ledger/plan\.json"):
            read_plan(store)


def test_the_seal_holds_what_is_not_of_shards(store: Store) -> None:
    inside = ("scores.parquet", "model/model.json", "maps.zarr/zarr.json", "maps.zarr/maps/edge/zarr.json")
    markers = ("maps.zarr/marker/c/0/0/0",)
    outside = ("ledger/000000.json", "shards/a", "maps.zarr/maps/edge/c/0/0/0", "run.lock", "log.jsonl", ".hidden")
    for name in (*inside, *markers, *outside):
        write_text(store.path / name, name)
    assert ledger.sealed(store) is None
    assert ledger.spoiled(store) == []
    ledger.seal(store)
    assert sorted(ledger.sealed(store) or {}) == sorted((*inside, *markers))
    write_text(store.path / "scores.parquet", "other")
    write_text(store.path / "shards/a", "other")
    assert ledger.spoiled(store) == ["scores.parquet"]
    ledger.unseal(store)
    assert ledger.sealed(store) is None
    ledger.unseal(store)  # twice is not an error


def test_a_seal_that_cannot_be_read_is_none(store: Store) -> None:
    write_text(store.path / ledger.PRODUCTS, "{")
    assert ledger.sealed(store) is None


@pytest.mark.parametrize(
    ("other", "named"),
    [({"data": "x"}, "another data;"), ({"data": "x", "weights": "y"}, "another data and another weights;")],
)
def test_what_scores_rest_on_may_not_change(store: Store, other: dict[str, str], named: str) -> None:
    keep_basis(store, BASIS)
    keep_basis(store, BASIS)
    with pytest.raises(MedsaliencyError, match=named):
        keep_basis(store, {**BASIS, **other})


def test_a_damaged_basis_is_written_again(store: Store) -> None:
    write_text(store.path / ledger.BASIS, "{")
    keep_basis(store, BASIS)
    assert store.read_json(ledger.BASIS) == BASIS
