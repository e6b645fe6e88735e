"""What holds of every checklist: its items, their texts, and that nothing is said which the study does not know."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from medsaliency.report.checklists import CHECKLISTS, STATUSES, as_csv, checklists, filled
from medsaliency.report.contents import Contents, Inference

SIZES = {"claim": 44, "metrics": 30, "clinical_xai": 5}


def nothing_known(contents: Contents) -> Contents:
    """A study whose tables are empty and whose record is lost."""
    return replace(
        contents,
        config={},
        provenance={},
        classes=(),
        performance={},
        scores=contents.scores[:0],
        summary=contents.summary[:0],
        exclusions=contents.exclusions[:0],
        curves=contents.curves[:0],
        seconds=contents.seconds[:0],
        cases=[],
        inference=Inference(),
    )


@pytest.mark.parametrize("name", CHECKLISTS)
def test_every_item_has_its_number_its_topic_and_a_text_for_its_status(informed: Contents, name: str) -> None:
    own = CHECKLISTS[name](informed)
    assert len(own.items) == SIZES[name]
    numbers = [item.number for item in own.items]
    prefix = "G" if name == "clinical_xai" else ""
    assert numbers == [f"{prefix}{n}" for n in range(1, SIZES[name] + 1)]
    assert len({item.topic for item in own.items}) == len(own.items)
    for item in own.items:
        assert item.status in STATUSES
        assert item.section
        assert bool(item.known) == (item.status in ("filled", "partly")), item
        assert bool(item.missing) == (item.status in ("gap", "partly")), item
        assert bool(item.unneeded) == (item.status == "not applicable"), item


@pytest.mark.parametrize("name", CHECKLISTS)
def test_what_is_known_holds_a_number_or_a_name_of_the_study(informed: Contents, name: str) -> None:
    own = (*informed.classes, "brain-mri", "resnet18", "Gradient", "Brain MRI", "medsaliency study", "Linux")
    for item in CHECKLISTS[name](informed).items:
        if item.known:
            assert re.search(r"\d", item.known) or any(word in item.known for word in own), item


@pytest.mark.parametrize("name", CHECKLISTS)
def test_a_study_that_knows_nothing_of_itself_fills_nothing(contents: Contents, name: str) -> None:
    own = CHECKLISTS[name](nothing_known(contents))
    said = [item for item in own.items if item.status != "gap"]
    # The record does begin two checklists, whatever else is known.
    assert [item.number for item in said] == (["1"] if name == "metrics" else [])
    assert all(item.missing for item in own.items)


def test_more_is_filled_where_more_is_recorded(contents: Contents, informed: Contents) -> None:
    for name, own in filled(informed).items():
        less = filled(contents)[name]
        assert own.count("gap") <= less.count("gap")
    assert filled(informed)["claim"].count("filled") > filled(contents)["claim"].count("filled")


def test_no_patient_and_no_folder_is_in_a_checklist(informed: Contents) -> None:
    known = {**informed.provenance, "data": {**informed.provenance["data"], "name": "/home/somebody/data/brain-mri"}}
    text = as_csv(replace(informed, provenance=known, title="/home/somebody/study"))
    assert "PATIENT-" not in text
    assert "somebody" not in text
    assert "brain-mri" in text


def test_plain_data_and_csv_say_the_same(informed: Contents) -> None:
    told: Mapping[str, Any] = json.loads(json.dumps(checklists(informed)))
    rows = list(csv.DictReader(io.StringIO(as_csv(informed))))
    assert len(rows) == sum(SIZES.values())
    for row in rows:
        items = {item["number"]: item for item in told[row.pop("checklist")]["items"]}
        assert row == items[row["number"]]
    assert all(own["source"].count("doi:") == 1 for own in told.values())


def test_no_cell_of_the_csv_is_a_formula(informed: Contents) -> None:
    hostile = replace(
        informed,
        title="=cmd()",
        classes=("=1+1", "+a", "-b"),
        provenance={**informed.provenance, "machine": "@x", "data": {**informed.provenance["data"], "name": "=x"}},
    )
    cells = [cell for row in csv.reader(io.StringIO(as_csv(hostile))) for cell in row]
    assert any("=1+1" in cell for cell in cells)
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
