"""What the section Evidence shows: each part's figure or table, its data to take away, and its method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style
from medsaliency.report.exports import csv_text, data_address, table
from medsaliency.report.figures import FIGURES, information_curves, sanity
from medsaliency.report.figures.about import ABOUT, About
from medsaliency.report.figures.canvas import headlines
from medsaliency.report.figures.inline import inline
from medsaliency.report.inference_tables import (
    PAIR_HEADS,
    concordance_lines,
    controls_of,
    friedman_lines,
    pair_tables,
    repeat_rows,
    shown_measures,
    term_rows,
)
from medsaliency.report.performance import calibration, performance
from medsaliency.report.tables import areas, exclusion_rows, forests, image_range, score_table
from medsaliency.report.wording import listing, method_label, metric_label

LARGEST = 1_000_000
"""Bytes of CSV that a page carries of one table; of a longer one it carries the headline measures."""

PARTS: dict[str, tuple[str, ...]] = {
    "model": ("performance",),
    "distributions": ("distributions",),
    "scores": ("summary",),
    "critical_difference": ("ranks", "friedman"),
    "pairwise": ("pairwise",),
    "controls": ("against_controls",),
    "steps": ("steps",),
    "information_curves": ("information_curves",),
    "sanity": ("stages", "sanity"),
    "metric_agreement": ("metric_agreement", "concordance"),
    "method_agreement": ("method_agreement",),
    "networks": ("networks",),
    "reliability": ("reliability",),
    "mixed_model": ("mixed_terms", "mixed_coefficients"),
    "cost": ("cost", "seconds"),
    "exclusions": ("exclusions",),
}
"""The parts of the section in reading order, and the tables that can be taken away from each."""
DRAWN = (
    "distributions", "critical_difference", "steps", "sanity", "metric_agreement", "method_agreement", "networks",
    "mixed_model", "cost",
)  # fmt: skip
"""The figures that the page shows. It has the rest as tables (controls) or with switches (information curves)."""


EMPTY = {
    "distributions": "No measure has a value on an image for every method, so there is nothing to compare.",
    "critical_difference": "No measure ranks two methods or more, so there is no diagram.",
    "pairwise": "No pair of methods could be compared.",
    "controls": "The study has no control, or no measure could be compared with one.",
    "steps": "No measure that shows or takes pixels has a curve.",
    "information_curves": "No information curve was computed.",
    "sanity": "No randomization check was made, or none has a value.",
    "metric_agreement": "Fewer than two measures have values, so there is no agreement to show.",
    "method_agreement": "Fewer than two methods have maps to compare.",
    "networks": "No run with a network trained anew was given.",
    "reliability": "No score was repeated with another seed or network.",
    "mixed_model": "No mixed model was asked for, or its measure has no value.",
    "cost": "No method has both a time and a mean, so there is nothing to draw.",
}
"""What is said where a part has nothing to show."""


@dataclass(frozen=True)
class Download:
    """A table to take away: what its link says, the file's name, and the address that holds it."""

    label: str
    file: str
    address: str


@dataclass(frozen=True)
class Part:
    """One part of the section: ``figures`` is empty where the page has a table instead, or nothing to draw."""

    name: str
    about: About
    figures: tuple[Markup, ...]
    downloads: tuple[Download, ...]


def evidence(contents: Contents, drawn: Mapping[str, Style]) -> dict[str, Any]:
    """Return what ``page/evidence.html.j2`` lays out."""
    compared = contents.inference.against_controls
    measures = shown_measures(contents, compared)
    pairs = pair_tables(contents)
    return {
        "parts": {name: part(name, contents) for name in PARTS},
        "empty": EMPTY,
        "performance": performance(contents),
        "calibration": calibration(contents),
        "scores": score_table(contents, drawn),
        "friedman": friedman_lines(contents),
        "pair_heads": PAIR_HEADS,
        "pairs": pairs,
        "some_pairs": len(pairs) < contents.inference.pairwise["metric"].nunique(),
        "controls": [
            (name, method_label(name), forests(contents, drawn, name, measures)) for name in controls_of(compared)
        ],
        "some_measures": len(measures) < compared["metric"].nunique(),
        "panels": curve_panels(contents, drawn),
        "staged": len(contents.inference.stages) > 0,
        "concordance": concordance_lines(contents),
        "repeats": repeat_rows(contents),
        "terms": term_rows(contents),
        "exclusions": exclusion_rows(contents),
    }


def part(name: str, contents: Contents) -> Part:
    """Return one of :data:`PARTS` with its figure's sheets, in the page's ink, and its tables."""
    figures = FIGURES[name](contents) if name in DRAWN else []
    label = figure_label(name, contents)
    shown = tuple(
        inline(figure, f"{name}-{number}", label if len(figures) == 1 else f"{label} Sheet {number} of {len(figures)}.")
        for number, figure in enumerate(figures, 1)
    )
    downloads = [download(item, data(item, contents), contents) for item in PARTS[name]]
    return Part(name, ABOUT[name], shown, tuple(found for found in downloads if found is not None))


def figure_label(name: str, contents: Contents) -> str:
    """Return what a figure shows, for those who cannot see it: its subject, and where its numbers are in words."""
    title = ABOUT[name].title
    if name in ("distributions", "critical_difference"):
        title += f" on {listing(metric_label(metric) for metric in headlines(contents))}"
    return f"{title}. The numbers are in the data below the figure."


def data(name: str, contents: Contents) -> pd.DataFrame:
    """Return the table of a download."""
    if name != "sanity":
        return table(name, contents)
    summary = contents.summary
    return summary[summary["metric"].isin(sanity.margins(contents))] if len(summary) else summary


def download(name: str, rows: pd.DataFrame, contents: Contents) -> Download | None:
    """Return a table as a link that holds it; None for one without rows.

    A table of more than :data:`LARGEST` bytes is cut to the headline measures, and the link says so. One that has no
    measures, or is too long even then, is left to the files beside the report.
    """
    label = f"{name.replace('_', ' ').capitalize()} (CSV)"
    if rows.empty:
        return None
    text = csv_text(rows)
    if len(text) > LARGEST and "metric" in rows:
        label = label.replace("CSV", "CSV, first measures")
        text = csv_text(rows[rows["metric"].isin(headlines(contents))])
    return Download(label, f"{name}.csv", data_address(text)) if len(text) <= LARGEST else None


def curve_panels(contents: Contents, drawn: Mapping[str, Style]) -> list[dict[str, Any]]:
    """Return one panel an information measure: its name, its charts, and the areas under its curves."""
    present = information_curves.drawable(contents)
    panels = []
    for kind in dict.fromkeys(name.partition("_")[2] for name in present):
        names = [name for name in present if name.partition("_")[2] == kind]
        panels.append(
            {
                "name": _sentence(information_curves.INFORMATION.get(kind, kind)),
                "charts": [_chart(contents, name) for name in names],
                "areas": areas(contents, names, drawn),
            }
        )
    return panels


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _chart(contents: Contents, metric: str) -> tuple[str, str, Markup]:
    label = metric_label(metric)
    images = image_range(contents.curves.loc[contents.curves["metric"] == metric, "images"])
    said = f"{label}: mean curve of each method with its band. The areas are in the table below."
    return label, images, inline(information_curves.overlay(contents, metric), f"curve-{metric}", said)
