from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.html import render, script_json

HOSTILE = "<script>alert('x')</script>"


class Page(HTMLParser):
    """The tags, their addresses and the text of a page, scripts apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.data = ""
        self._script = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.addresses += [str(named[key]) for key in ("src", "href", "xlink:href", "action") if key in named]
        self._script = (named.get("id") or "script") if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._script = ""

    def handle_data(self, data: str) -> None:
        if self._script == "figures":
            self.data += data
        elif not self._script:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def html(contents: Contents) -> str:
    return render(contents)


def test_the_page_loads_nothing(html: str) -> None:
    page = Page(html)
    assert page.addresses
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in page.addresses)
    assert "default-src 'none'" in html
    css = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in css
    assert "@import" not in css


def test_the_page_is_of_a_size_to_send(html: str, contents: Contents) -> None:
    pictures = re.findall(r"data:image/webp;base64,[^\"]+", html)
    assert len(pictures) == sum(1 + len(case.maps) for case in contents.cases)
    assert sum(map(len, pictures)) / len(pictures) < 8_000
    assert html.count("plotly.js v") == 1


def test_sections_come_in_order(html: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == [
        "Findings", "Model performance", "Gallery", "Information curves", "Scores", "Each method against random maps",
        "Exclusions", "What ran",
    ]  # fmt: skip


def test_names_from_outside_stay_text(contents: Contents) -> None:
    classes = (HOSTILE, "a</td><b>", "c")
    performance = {**contents.performance, "auroc": {HOSTILE: {"value": 0.9, "low": 0.8, "high": 0.95}}}
    cases = [replace(contents.cases[0], sample=f'"><img src=x>{HOSTILE}', why=HOSTILE)]
    renamed = {"gradient": HOSTILE}
    hostile = replace(
        contents,
        title=HOSTILE,
        classes=classes,
        performance=performance,
        cases=[replace(case, maps={renamed.get(n, n): m for n, m in case.maps.items()}) for case in cases],
        curves=contents.curves.replace({"method": renamed}),
        summary=contents.summary.replace({"method": renamed}),
        against_random=contents.against_random.replace({"method": renamed}),
        config={"data": HOSTILE},
    )
    harmless, page = Page(render(contents)), Page(render(hostile))
    assert page.tags.count("script") == harmless.tags.count("script")
    assert "img" not in page.tags
    assert HOSTILE in page.words
    assert HOSTILE in json.dumps(json.loads(page.data)), "the data keep the name, escaped"


def test_script_json_cannot_end_its_block() -> None:
    value = {"a": "</script><!-- & \u2028", "b": None}
    text = script_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_no_patient_and_no_folder_is_shown(html: str, contents: Contents) -> None:
    assert str(contents.scores["patient"].iloc[0])[:12] not in html
    assert "somebody" not in html
    assert "…/brain-mri" in html


def test_nan_is_undefined_with_its_count(contents: Contents) -> None:
    summary = contents.summary.copy()
    one = (summary["method"] == "gradient") & (summary["metric"] == "sic_mean")
    summary.loc[one, ["mean", "low", "high"]] = math.nan
    gap = contents.against_random.copy()
    gap.loc[(gap["method"] == "gradient") & (gap["metric"] == "sic_mean"), ["difference", "low", "high", "wins"]] = (
        np.nan
    )
    case = replace(contents.cases[0], probabilities=np.array([np.nan, 0.2, 0.8], dtype=np.float32))
    page = Page(render(replace(contents, summary=summary, against_random=gap, cases=[case])))
    assert not re.search(r"\bnan\b", page.words, re.IGNORECASE)
    assert "undefined n = 60" in page.words
    assert "predicted unknown" in page.words


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


def test_an_exclusion_for_some_methods_says_for_how_many(contents: Contents) -> None:
    partial = contents.exclusions.assign(methods=[1] + [8] * (len(contents.exclusions) - 1))
    words = Page(render(replace(contents, exclusions=partial))).words
    assert words.count("at most 1 of 8 methods") == 1


def test_intervals_are_named_by_the_studys_own_level(contents: Contents) -> None:
    words = Page(render(replace(contents, performance={**contents.performance, "level": 0.9}))).words
    assert "90% interval" in words
    assert "95% interval" not in words


def test_an_empty_study_renders_and_says_what_is_missing(contents: Contents) -> None:
    nothing = pd.DataFrame(columns=["method", "metric"])
    empty = replace(
        contents, performance={}, provenance={}, scores=pd.DataFrame(), summary=nothing, against_random=nothing,
        exclusions=pd.DataFrame(), curves=nothing, seconds=pd.DataFrame(), cases=[],
    )  # fmt: skip
    html = render(empty)
    words = Page(html).words
    for said in ("No information curve was computed.", "No case was chosen", "The model's accuracy is undefined."):
        assert said in words
    assert len(html) < 100_000, "plotly is left out where there is nothing to draw"
