"""A figure as a part of a page: its ink is the page's, its ids are its own, and a screen reader hears its title."""

from __future__ import annotations

import re
from xml.etree import ElementTree  # nosec B405 # reads only what matplotlib wrote a moment before

from markupsafe import Markup
from matplotlib.figure import Figure

from medsaliency.report.figures.canvas import GRID, INK, MUTED, TONES, svg
from medsaliency.report.wording import method_label

_THEME = {
    INK: "currentColor",
    MUTED: "var(--ink-2)",
    GRID: "var(--line)",
    "#ffffff": "var(--card)",
    TONES["better"]: "var(--better)",
    TONES["worse"]: "var(--worse)",
    TONES["not shown"]: "var(--open)",
}
"""What stands for an ink of paper in a page that may be dark."""
_INKS = re.compile("|".join(_THEME))
_FONT = re.compile(r"font-family:[^;]*;?\s*")
_LONG = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"#([\w.-]+)")
_PLACES = ("d", "x", "y", "transform", "width", "height")


def inline(figure: Figure, name: str, label: str) -> Markup:
    """Return a figure as an ``svg`` element to stand in HTML.

    Args:
        figure: What is drawn.
        name: Unique in the page; the figure's ids begin with it.
        label: What the figure shows, for those who cannot see it.

    Returns:
        Markup without scripts, style sheets and outside references. An artist whose gid is ``series:ROLE:METHOD`` is
        marked with ``data-role`` and ``data-method``, and named by the method on hovering.
    """
    # The text is matplotlib's own writing, of a moment ago.
    root = ElementTree.fromstring(svg(figure, background="none"))  # noqa: S314  # nosec B314
    for element in root.iter():
        element.tag = _bare(element.tag)
        element.attrib = {_bare(key): value for key, value in element.attrib.items()}
    for unwanted in [child for child in root if child.tag == "metadata" or child.find("style") is not None]:
        root.remove(unwanted)
    texts = [value for element in root.iter() for key, value in element.attrib.items() if key != "id"]
    used = {identity for text in texts for identity in _REFERENCE.findall(text)}
    for element in list(root.iter()):
        _adapt(element, name, used)
    width = root.attrib.pop("width").removesuffix("pt")
    root.attrib.pop("height")
    root.attrib.pop("version", None)
    root.attrib |= {
        "role": "img", "aria-label": label, "class": "drawn", "fill": "currentColor",
        "stroke-linejoin": "round", "stroke-linecap": "butt", "style": f"--width:{float(width):.0f}",
    }  # fmt: skip
    # Serialized by the standard library, which escapes every text and attribute.
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704  # nosec B704


def _bare(name: str) -> str:
    return name.rpartition("}")[2]


def _adapt(element: ElementTree.Element, name: str, used: set[str]) -> None:
    found = element.attrib
    identity = found.pop("id", "")
    if identity in used:
        found["id"] = f"{name}-{identity}"
    elif identity.startswith("series:"):
        _, found["data-role"], found["data-method"] = identity.split(":", 2)
        title = ElementTree.Element("title")
        title.text = method_label(found["data-method"]) + {"mean": "", "median": ", median"}.get(
            found["data-role"], ", band"
        )
        element.insert(0, title)
    for key in ("href", "clip-path"):
        if key in found:
            found[key] = _REFERENCE.sub(rf"#{name}-\1", found[key])
    for key in _PLACES:
        if key in found:
            found[key] = _LONG.sub(lambda match: f"{float(match[0]):.2f}", found[key]).replace("\n", "")
    if "style" in found:
        found["style"] = _INKS.sub(lambda match: _THEME[match[0]], _FONT.sub("", found["style"]))
    element.tail = None
    if not element.text or not element.text.strip():
        element.text = None
