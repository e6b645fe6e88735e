from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medsaliency.report import evidence as module
from medsaliency.report import verdicts
from medsaliency.report.contents import Contents, Inference
from medsaliency.report.curves import styles
from medsaliency.report.evidence import DRAWN, EMPTY, PARTS, data, download, evidence, part
from medsaliency.report.html import PAGE
from medsaliency.report.performance import calibration

HOSTILE = "<script>alert('x')</script>"


def page(contents: Contents) -> str:
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    shown = evidence(contents, styles(verdicts.methods(contents), contents.controls))
    return environment.get_template("evidence.html.j2").render(coverage="95%", **shown)


@pytest.fixture(scope="module")
def html(rendered: str) -> str:
    return rendered[rendered.index('<div id="evidence"') : rendered.index('<div id="record"')]


@pytest.fixture(scope="module")
def nothing(contents: Contents) -> Contents:
    none = pd.DataFrame(columns=["method", "metric"])
    return replace(
        contents, performance={}, scores=pd.DataFrame(), summary=none, exclusions=pd.DataFrame(), curves=none,
        seconds=pd.DataFrame(), cases=[], inference=Inference(),
    )  # fmt: skip


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def decoded(address: str) -> str:
    head, _, body = address.partition("base64,")
    assert head == "data:text/csv;charset=utf-8;"
    return base64.b64decode(body).decode()


def test_parts_come_in_reading_order(html: str) -> None:
    assert re.findall(r'<section id="(\w+)"', html) == [*PARTS, "methods"]


def test_every_download_is_the_table_it_belongs_to(html: str, contents: Contents) -> None:
    links = dict(re.findall(r'<a download="(\w+)\.csv" href="([^"]+)"', html))
    wanted = {name for names in PARTS.values() for name in names}
    assert set(links) == wanted - {"sanity", "stages"}, "this study made no randomization check"
    for name, address in links.items():
        read, expected = pd.read_csv(io.StringIO(decoded(address))), data(name, contents)
        assert list(read.columns) == list(expected.columns)
        assert len(read) == len(expected) > 0
        for column in expected.select_dtypes(float).columns:
            assert read[column].to_numpy() == pytest.approx(expected[column].to_numpy(), rel=1e-5, nan_ok=True)


def test_no_download_names_a_patient_or_a_sample(html: str) -> None:
    for address in re.findall(r'href="(data:[^"]+)"', html):
        text = decoded(address)
        assert "PATIENT" not in text
        assert "case-" not in text
        assert "somebody" not in text


def test_every_part_links_its_method_and_back(html: str) -> None:
    for name in PARTS:
        assert html.count(f'href="#method-{name}"') == 1
        assert html.count(f'id="method-{name}"') == 1
        assert html.count(f'href="#{name}"') == 2, "the list of contents, and the way back"
    addresses = re.findall(r'href="(https?:[^"]+)"', html)
    assert addresses
    assert all(address.startswith("https://") for address in addresses)


def test_nothing_is_loaded(html: str) -> None:
    assert not re.search(r"\bsrc=|<link|<image|@import|url\((?!#)", html)


def test_ids_are_unique(html: str) -> None:
    found = re.findall(r'\sid="([^"]+)"', html)
    assert len(found) == len(set(found))


def test_figures_are_in_the_page_and_said_in_words(html: str) -> None:
    for name in set(DRAWN) - {"sanity"}:
        section = html[
            html.index(f'<section id="{name}"') : html.index("</section>", html.index(f'<section id="{name}"'))
        ]
        assert 'class="drawn"' in section, name
        assert re.search(r'role="img" aria-label="[^"]{20,}"', section), name
    assert "Distributions on SIC mean, AIC mean, Lesion AUPRC, and Pointing game." in html


def test_what_is_missing_is_said_once_and_nothing_is_drawn(nothing: Contents) -> None:
    html = page(nothing)
    said = words(html)
    for reason in EMPTY.values():
        assert said.count(reason) == 1, reason
    assert "data:text/csv" not in html
    assert 'class="drawn"' not in html
    assert "The model was not calibrated." in said


def test_names_from_outside_stay_text(contents: Contents) -> None:
    renamed = {"gradient": HOSTILE}
    inference = contents.inference
    hostile = replace(
        contents,
        classes=(HOSTILE, "b", "c"),
        summary=contents.summary.replace({"method": renamed}),
        scores=contents.scores.replace({"method": renamed}),
        curves=contents.curves.replace({"method": renamed}),
        inference=replace(
            inference,
            pairwise=inference.pairwise.replace({"method": renamed}),
            ranks=inference.ranks.replace({"method": renamed}),
            method_agreement=inference.method_agreement.replace({"method": renamed}),
        ),
    )
    html = page(hostile)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 5


def test_a_long_table_is_cut_to_the_first_measures_and_says_so(
    contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = contents.inference.pairwise
    monkeypatch.setattr(module, "LARGEST", 20_000)
    found = download("pairwise", rows, contents)
    assert found is not None
    assert found.label == "Pairwise (CSV, first measures)"
    kept = pd.read_csv(io.StringIO(decoded(found.address)))
    assert set(kept["metric"]) == {"sic_mean", "aic_mean", "lesion_auprc", "pointing_game"}
    monkeypatch.setattr(module, "LARGEST", 100)
    assert download("pairwise", rows, contents) is None


def test_a_part_without_numbers_has_no_link(nothing: Contents) -> None:
    assert part("pairwise", nothing).downloads == ()
    assert part("cost", nothing).figures == ()


def test_one_control_is_shown_and_the_others_wait(html: str) -> None:
    blocks = re.findall(r'<div class="against" data-control="(\w+)"( hidden)?>', html)
    assert blocks == [("random", ""), ("edge", " hidden")]


def test_verdicts_are_words_and_not_colors_alone(html: str) -> None:
    for said in ("better than the control", "worse than the control", "no difference shown"):
        assert f'role="img" aria-label="{said}"' in html


def test_calibration_is_told_before_and_after(contents: Contents, html: str) -> None:
    assert "Expected calibration error 0.061 [0.030, 0.102] 0.032 [0.020, 0.070]" in words(html)
    assert "Log loss 0.410 0.360" in words(html)
    told = {**contents.inference.calibration, "reason": "no validation image"}
    unfitted = calibration(replace(contents, inference=replace(contents.inference, calibration=told)))
    assert unfitted is not None
    assert unfitted.rows == ()
    assert "no validation image" in unfitted.note
