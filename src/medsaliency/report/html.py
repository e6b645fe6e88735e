"""The report as one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import styles
from medsaliency.report.evidence import evidence
from medsaliency.report.findings import findings
from medsaliency.report.gallery import gallery
from medsaliency.report.record import record
from medsaliency.report.trust_card import trust_card
from medsaliency.report.wording import count, without_folders

PAGE = Path(__file__).parent / "page"
"""The page's template, a section a file, with the style and the script of each."""
STYLES = ("base", "findings", "cases", "evidence", "record", "responsive")
SCRIPTS = ("base", "cases", "zoom", "evidence")


def render(contents: Contents) -> str:
    """Return the report of a study as one HTML page that loads nothing.

    Names of samples and classes are text from outside: everything is escaped. Folders of absolute paths and patients'
    identifiers do not appear.

    Args:
        contents: All that the report shows. Tables without rows leave their section with a line that says so.

    Returns:
        The page; the caller writes it.

    Raises:
        ValueError: If a map, an image or a strip of a case does not have the shape that ``Case`` declares.
    """
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = styles(verdicts.methods(contents), contents.controls)
    return environment.get_template("page.html.j2").render(
        title=without_folders(contents.title),
        subtitle=subtitle(contents),
        coverage=verdicts.coverage(contents),
        findings=findings(contents),
        card=trust_card(contents),
        classes=contents.classes,
        gallery=gallery(contents, drawn),
        **evidence(contents, drawn),
        record=record(contents),
        # Markup marks what this package itself ships; nothing of a user's is ever wrapped in it.
        css=Markup(_joined(STYLES, "css")),  # noqa: S704  # nosec B704
        js=Markup(_joined(SCRIPTS, "js")),  # noqa: S704  # nosec B704
    )


def _joined(names: tuple[str, ...], ending: str) -> str:
    return "\n".join((PAGE / f"{name}.{ending}").read_text(encoding="utf-8") for name in names)


def subtitle(contents: Contents) -> str:
    """Return one line that says what ran, from what is known."""
    provenance = contents.provenance
    explained = len(verdicts.explanations(contents))
    controls = len(verdicts.methods(contents)) - explained
    parts = [count(explained, "method"), count(controls, "control"), count(len(verdicts.metrics(contents)), "measure")]
    line = f"{parts[0]} and {parts[1]}, scored by {parts[2]}"
    if len(contents.scores):
        line += f" on {count(contents.scores['sample'].nunique(), 'image')}"
    if name := (provenance.get("data") or {}).get("name"):
        line += f" of {without_folders(name)}"
    if architecture := (provenance.get("model") or {}).get("architecture"):
        line += f", explaining {architecture}"
    return line + "."
