from __future__ import annotations

import re
from xml.etree import ElementTree

from markupsafe import Markup

from medsaliency.report.contents import Contents
from medsaliency.report.figures import FIGURES
from medsaliency.report.figures.canvas import INK, MUTED, canvas, style
from medsaliency.report.figures.information_curves import overlay
from medsaliency.report.figures.inline import inline


def draw(contents: Contents, name: str, unique: str) -> Markup:
    (figure,) = FIGURES[name](contents)
    return inline(figure, unique, "What it shows")


def test_it_is_one_element_with_a_name_for_those_who_cannot_see_it(contents: Contents) -> None:
    root = ElementTree.fromstring(draw(contents, "cost", "one"))  # noqa: S314
    assert root.tag == "svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", "What it shows")
    assert not [element for element in root.iter() if element.tag in ("style", "script", "metadata", "image")]


def test_the_ink_is_the_pages(contents: Contents) -> None:
    for name in ("critical_difference", "cost", "distributions"):
        text = draw(contents, name, name)
        assert INK not in text
        assert MUTED not in text
        assert "#ffffff" not in text
        assert "currentColor" in text
        assert "font-family" not in text


def test_ids_are_unique_in_a_page_and_every_reference_is_met(contents: Contents) -> None:
    texts = [draw(contents, name, f"{name}-{i}") for i in range(2) for name in ("cost", "networks")]
    page = ElementTree.fromstring(f"<div>{''.join(texts)}</div>")  # noqa: S314
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 0
    pointed = {found for text in texts for found in re.findall(r'(?:href="|url\()#([^")]+)', text)}
    assert pointed == set(ids), "what nothing points to has no id"


def test_it_is_the_same_each_time(contents: Contents) -> None:
    assert draw(contents, "networks", "x") == draw(contents, "networks", "x")


def test_a_series_is_marked_by_role_and_method(contents: Contents) -> None:
    root = ElementTree.fromstring(inline(overlay(contents, "sic_mean"), "curve", "Curves"))  # noqa: S314
    found = {(e.get("data-role"), e.get("data-method")) for e in root.iter() if e.get("data-role")}
    assert found == {(r, m) for r in ("band", "mean", "median") for m in contents.summary["method"].unique()}
    (mean,) = [e for e in root.iter() if (e.get("data-role"), e.get("data-method")) == ("mean", "grad_cam")]
    assert mean.findtext("title") == "Grad-CAM"


@style()
def hostile() -> Markup:
    figure = canvas(2, 2)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], gid='series:mean:"><script>alert(1)</script>')
    axis.set_title("</svg><script>alert(1)</script>")
    return inline(figure, "x", '"><script>')


def test_text_from_outside_stays_text() -> None:
    text = hostile()
    assert "<script" not in text
    assert "</svg><script>alert(1)</script>" in "".join(ElementTree.fromstring(text).itertext())  # noqa: S314
