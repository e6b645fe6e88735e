from __future__ import annotations

import base64
import csv
import html
import io
import json
from dataclasses import replace

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medsaliency.report import checklists
from medsaliency.report.contents import Contents
from medsaliency.report.html import PAGE
from medsaliency.report.record import plain, record

HOSTILE = "<script>alert('x')</script>"


def page(contents: Contents) -> str:
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("record.html.j2").render(record=record(contents))


def opened(address: str) -> str:
    return base64.b64decode(address.split("base64,", 1)[1]).decode()


def test_the_record_shows_what_repeats_the_study(informed: Contents) -> None:
    html = page(informed)
    for text in (
        "medsaliency study study.yaml --data-root FOLDER --output NEW_FOLDER", "c0de" * 16, "da7a" * 16, "1a9e" * 16,
        "3e16" * 16, "learning rate", "seed of the training", "2,421", "803", "No named patient is in two splits.",
        "randomization margin", "permutations", "10,000", "Smoothgrad(samples=25, noise=0.15)", "3.12.4",
        "For research use only",
    ):  # fmt: skip
        assert text in html, text


def test_plain_values_are_versions_only_where_they_are(informed: Contents) -> None:
    names = [name for name, _ in record(informed)["versions"]]
    assert names == ["medsaliency", "python", "torch", "machine"]
    given = replace(informed, provenance={**informed.provenance, "training": "taken as given"})
    assert ("training", "taken as given") in record(given)["training"]
    assert "training" not in dict(record(given)["versions"])


def test_patients_of_unknown_names_are_not_counted(informed: Contents) -> None:
    assert [row[3] for row in record(informed)["splits"]] == [803, 41]
    data = {**informed.provenance["data"], "patients_known": False}
    unnamed = replace(informed, provenance={**informed.provenance, "data": data})
    assert [row[3] for row in record(unnamed)["splits"]] == [None, None]
    assert "not known: each image counts as its own" in page(unnamed)


def test_the_self_test_of_geometry_is_told(informed: Contents) -> None:
    assert "self-test of geometry" not in page(informed)
    seen = {"markers": 1, "chains": 1, "tested": 1, "largest": 0.25}
    tested = replace(informed, provenance={**informed.provenance, "geometry": seen})
    assert "1 marker on 1 of 1 way from native pixels" in page(tested)
    seen = {"markers": 100, "chains": 35, "tested": 20, "largest": 0.25}
    tested = replace(informed, provenance={**informed.provenance, "geometry": seen})
    said = "100 markers on 20 of 35 ways from native pixels to the model's grid came back within 0.250 pixels"
    assert said in html.unescape(page(tested))


def test_a_record_of_nothing_says_so(contents: Contents) -> None:
    html = page(replace(contents, provenance={}, config={}, seconds=contents.seconds[:0]))
    assert html.count("not recorded") + html.count("Not recorded") >= 6
    assert "The command was not recorded." in html
    assert "None" not in html


def test_every_item_of_every_checklist_is_on_the_page(informed: Contents) -> None:
    html = page(informed)
    for own in checklists.filled(informed).values():
        assert f"{own.title}, {len(own.items)} items" in html
        for item in own.items:
            assert f">{item.topic}</th>" in html
    assert html.count("To add:") == sum(
        bool(i.missing) for own in checklists.filled(informed).values() for i in own.items
    )


def test_checklists_can_be_taken_away(informed: Contents) -> None:
    known = record(informed)
    assert json.loads(opened(known["json"])) == checklists.checklists(informed)
    assert len(list(csv.reader(io.StringIO(opened(known["csv"]))))) == 1 + 44 + 30 + 5
    assert known["csv"] in page(informed)


def test_names_from_outside_stay_text(informed: Contents) -> None:
    known = {**informed.provenance, "machine": HOSTILE, "methods": {HOSTILE: HOSTILE}, "command": HOSTILE}
    data = {**informed.provenance["data"], "name": HOSTILE, "counts": {HOSTILE: {HOSTILE: 1}}, "classes": [HOSTILE]}
    hostile = replace(informed, title=HOSTILE, classes=(HOSTILE,) * 3, provenance={**known, "data": data})
    html = page(hostile)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_no_folder_and_no_patient_is_shown(informed: Contents) -> None:
    html = page(
        replace(informed, provenance={**informed.provenance, "command": "medsaliency study /home/somebody/x.yaml"})
    )
    assert "somebody" not in html
    assert "PATIENT-" not in html
    assert "…/edge.npy" in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12_345, "12,345"),
        (0.002, "0.002"),
        (True, "yes"),
        (None, "none"),
        ([128, 128], "128 × 128"),
        (("evidence", "lesion_auprc"), "evidence, lesion_auprc"),
        ([], "none"),
        ({"batch_size": 32, "exact": False}, "batch size 32, exact no"),
        ("/home/somebody/data/x.png", "…/x.png"),
    ],
)
def test_values_are_written_plainly(value: object, text: str) -> None:
    assert plain(value) == text
