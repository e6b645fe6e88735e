from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from medsaliency.report import evidence
from medsaliency.report.contents import COLUMNS, Contents, Inference
from medsaliency.report.html import render
from medsaliency.report.wording import without_folders

from .markup import Page

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def html(rendered: str) -> str:
    return rendered


def test_the_page_loads_nothing(html: str) -> None:
    page = Page(html)
    assert page.loaded
    assert all(address.startswith(("data:image/", "#")) for address in page.loaded)
    assert all(
        address.startswith(("#", "https://", "data:text/csv;", "data:application/json;")) for address in page.links
    )
    assert "default-src 'none'" in html
    css = html[html.index("<style>") : html.index("</style>")]
    assert not re.findall(r"url\((?!\"#)", css), "only parts of the page itself"
    assert "@import" not in css


def test_every_picture_of_a_case_is_in_the_page_once(html: str, contents: Contents) -> None:
    pictures = re.findall(r"data:image/webp;base64,[^\"]+", html)
    steps = sum(len(strip.shares) for case in contents.cases for strip in case.strips)
    assert len(pictures) == sum(1 + len(case.maps) for case in contents.cases) + steps
    assert sum(map(len, pictures)) / len(pictures) < 8_000


def test_sections_come_in_order(html: str) -> None:
    sections = ("findings", "cases", "evidence", "record")
    assert [name for name in Page(html).ids if name in sections] == list(sections)


def test_the_page_says_what_it_is_and_what_it_is_not_for(html: str) -> None:
    assert '<html lang="en">' in html
    assert "<title>Brain MRI, ResNet-18 · medsaliency</title>" in html
    assert re.search(r'<meta name="description" content="6 methods and 2 controls.*not for diagnosis\.">', html)
    words = Page(html).words
    assert words.index("For research use only. Not for diagnosis.") < words.index("Findings")


def test_headings_do_not_skip_a_level(html: str) -> None:
    levels = [int(tag[1]) for tag in Page(html).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert html.count("<h2") == 4, "one a section"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures of the section Evidence, which take most of the time and have tests of their own."""
    monkeypatch.setattr(evidence, "DRAWN", ())
    monkeypatch.setattr(evidence, "curve_panels", lambda *_: [])


def hostile(contents: Contents) -> Contents:
    """The study with markup wherever text comes from outside."""
    renamed = {"gradient": HOSTILE}

    def table(name: str) -> pd.DataFrame:
        rows = getattr(contents.inference, name).replace(renamed).copy()
        for column in {"reason", "source", "term", "level"} & set(COLUMNS[name].split()):
            rows[column] = HOSTILE
        return rows

    tables = {name: table(name) for name in COLUMNS}
    inference = Inference(
        **tables,
        calibration={**contents.inference.calibration, "reason": HOSTILE},
        shortcut={**contents.inference.shortcut, "class": HOSTILE},
    )
    case = contents.cases[0]
    case = replace(
        case,
        sample=f'"><img src=x>{HOSTILE}',
        why=HOSTILE,
        maps={renamed.get(name, name): saliency for name, saliency in case.maps.items()},
        strips=[replace(strip, method=HOSTILE, why=HOSTILE) for strip in case.strips],
    )
    return replace(
        contents,
        title=HOSTILE,
        classes=(HOSTILE, "a</td><b>", "c"),
        performance={**contents.performance, "auroc": {HOSTILE: {"value": 0.9, "low": 0.8, "high": 0.95}}},
        cases=[case],
        curves=contents.curves.replace({"method": renamed}),
        summary=contents.summary.replace({"method": renamed}),
        scores=contents.scores.replace({"method": renamed}).assign(reason=HOSTILE),
        exclusions=contents.exclusions.assign(reason=HOSTILE),
        seconds=contents.seconds.replace({"name": renamed}),
        inference=inference,
        config={"data": HOSTILE},
        provenance={**contents.provenance, "data": {"name": HOSTILE}, "machine": HOSTILE},
    )


def test_names_from_outside_stay_text(contents: Contents) -> None:
    html = render(hostile(contents))
    page = Page(html)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert HOSTILE not in html
    assert page.words.count(HOSTILE) > 20, "it is all there to read"


@pytest.mark.usefixtures("undrawn")
def test_why_a_strip_is_shown_stays_text(contents: Contents) -> None:
    case = replace(contents.cases[0], strips=[replace(contents.cases[0].strips[0], why=HOSTILE)])
    page = Page(render(replace(contents, cases=[case])))
    assert page.tags.count("script") == 1
    assert f"Score-CAM {without_folders(HOSTILE)}" in page.words


def test_no_patient_and_no_folder_is_shown(html: str, contents: Contents) -> None:
    assert str(contents.scores["patient"].iloc[0])[:12] not in html
    assert "somebody" not in html
    assert "…/brain-mri" in html


@pytest.mark.usefixtures("undrawn")
def test_nan_is_undefined_with_its_count(contents: Contents) -> None:
    summary = contents.summary.copy()
    one = (summary["method"] == "gradient") & (summary["metric"] == "sic_mean")
    summary.loc[one, ["mean", "low", "high"]] = math.nan
    gap = contents.inference.against_controls.copy()
    gap.loc[
        (gap["method"] == "gradient") & (gap["metric"] == "sic_mean"), ["difference", "low", "high", "superiority"]
    ] = math.nan
    inference = replace(contents.inference, against_controls=gap)
    case = replace(contents.cases[0], probabilities=np.array([np.nan, 0.2, 0.8], dtype=np.float32))
    page = Page(render(replace(contents, summary=summary, inference=inference, cases=[case])))
    assert not re.search(r"\bnan\b", page.words, re.IGNORECASE)
    assert "undefined n = 60" in page.words
    assert "Predicted unknown" in page.words


@pytest.mark.usefixtures("undrawn")
def test_without_lesions_the_section_says_so(without_lesions: Contents) -> None:
    html = render(without_lesions)
    page = Page(html)
    said = "Lesion AUPRC: undefined (n = 60), no lesion mask"
    assert page.words.count(said) == 2, "once for the table and once for the comparison"
    scores = html[html.index('class="scores') : html.index("</table>", html.index('class="scores'))]
    assert "Lesion AUPRC" not in scores
    assert "Lesion outline" not in page.words


def test_undefined_counts_stand_beside_the_means(html: str) -> None:
    words = Page(html).words
    assert words.count("on 30 of 60, 30 undefined") == 3 * 8
    assert words.count("on 48 of 60, 12 undefined") == 3 * 8


def test_exclusions_of_like_measures_share_a_row(html: str) -> None:
    assert html.count("AIC entropy, AIC WebP, AIC mean</td>") == 3, "one row a class"


@pytest.mark.usefixtures("undrawn")
def test_an_exclusion_for_some_methods_says_for_how_many(contents: Contents) -> None:
    partial = contents.exclusions.assign(methods=[1] + [8] * (len(contents.exclusions) - 1))
    words = Page(render(replace(contents, exclusions=partial))).words
    assert words.count("at most 1 of 8 methods") == 1


@pytest.mark.usefixtures("undrawn")
def test_intervals_are_named_by_the_studys_own_level(contents: Contents) -> None:
    words = Page(render(replace(contents, performance={**contents.performance, "level": 0.9}))).words
    assert "90% interval" in words
    assert "95% interval" not in words


def test_an_empty_study_renders_and_says_what_is_missing(contents: Contents) -> None:
    none = pd.DataFrame(columns=["method", "metric"])
    empty = replace(
        contents, performance={}, provenance={}, scores=pd.DataFrame(), summary=none, exclusions=pd.DataFrame(),
        curves=none, seconds=pd.DataFrame(), cases=[], inference=Inference(),
    )  # fmt: skip
    words = Page(render(empty)).words
    for said in ("No information curve was computed.", "No case was chosen", "The model's accuracy is undefined."):
        assert said in words
