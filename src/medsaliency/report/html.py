"""The report as one HTML file that needs no network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.curves import Style, curve_figure, figure_data, styles
from medsaliency.report.findings import findings
from medsaliency.report.gallery import case_views
from medsaliency.report.overlay import legend_gradient
from medsaliency.report.performance import performance
from medsaliency.report.tables import (
    Area,
    areas,
    count_rows,
    exclusion_rows,
    forests,
    image_range,
    score_table,
    timing_rows,
)
from medsaliency.report.wording import count, method_label, metric_label, number, without_folders

HERE = Path(__file__).parent
_INFORMATION = {"entropy": "Entropy", "webp": "WebP", "mean": "Mean"}


def render(contents: Contents) -> str:
    """Return the report of a study as one HTML page that loads nothing.

    Names of samples and classes are text from outside: everything is escaped, in the page and in its data. Folders
    of absolute paths and patients' identifiers do not appear.

    Args:
        contents: All that the report shows. Tables without rows leave their section with a line that says so.

    Returns:
        The page; the caller writes it.

    Raises:
        ValueError: If a map or an image of a case does not have the shape that ``Case`` declares.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = styles(verdicts.methods(contents), contents.controls)
    panels = curve_panels(contents, drawn)
    return environment.get_template("template.html.j2").render(
        title=without_folders(contents.title),
        subtitle=subtitle(contents),
        coverage=verdicts.coverage(contents),
        findings=findings(contents),
        performance=performance(contents),
        classes=contents.classes,
        cases=case_views(contents, drawn),
        scales={"sequential": legend_gradient(signed=False), "diverging": legend_gradient(signed=True)},
        panels=panels,
        figures=script_json({name: figure for panel in panels for name, figure in panel["figures"].items()}),
        scores=score_table(contents, drawn),
        forests=forests(contents, drawn),
        exclusions=exclusion_rows(contents),
        run=what_ran(contents),
        # Markup marks what this package itself ships; nothing of a user's is ever wrapped in it.
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        js=Markup((HERE / "report.js").read_text(encoding="utf-8")),  # noqa: S704
        plotly=Markup(get_plotlyjs()) if panels else "",  # noqa: S704
    )


def script_json(data: object) -> Markup:
    """Return ``data`` as JSON that cannot end or open a tag inside a script block."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704


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


def curve_panels(contents: Contents, drawn: dict[str, Style]) -> list[dict[str, Any]]:
    """Return one panel an information measure: its name, its figures by id, and the areas under its curves."""
    drawable = set(contents.curves["metric"]) if len(contents.curves) else set()
    present = [name for name in verdicts.metrics(contents) if name in drawable]
    panels = []
    for information in dict.fromkeys(name.partition("_")[2] for name in present if verdicts.is_curve(name)):
        names = [f"{prefix}{information}" for prefix in verdicts.CURVE_PREFIXES if f"{prefix}{information}" in present]
        table: list[Area] = areas(contents, names, drawn)
        panels.append(
            {
                "name": _INFORMATION.get(information, information),
                "charts": [
                    (
                        f"curve-{name}",
                        metric_label(name),
                        image_range(contents.curves.loc[contents.curves["metric"] == name, "images"]),
                    )
                    for name in names
                ],
                "figures": {f"curve-{name}": figure_data(curve_figure(contents.curves, name, drawn)) for name in names},
                "areas": table,
            }
        )
    return panels


def what_ran(contents: Contents) -> dict[str, Any]:
    """Return the last section: parameters, data, versions and time, free of folders."""
    provenance = contents.provenance
    names, splits = count_rows(provenance.get("data") or {})
    # Whatever stands at the top as a plain value is a version or the machine's kind; the rest has its own place.
    versions = [(key, value) for key, value in provenance.items() if key != "seed" and isinstance(value, (str, int))]
    model = [(str(key).replace("_", " "), plain(value)) for key, value in (provenance.get("model") or {}).items()]
    if permuted := provenance.get("permuted"):
        known = number(permuted.get("training_accuracy"))
        model.append(("accuracy on permuted labels, of the network that learned them", known))
    methods = _labeled(provenance.get("methods") or {}, method_label)
    metrics = _labeled(provenance.get("metrics") or {}, metric_label)
    return {
        "versions": [(str(key), plain(value)) for key, value in versions],
        "seed": plain(provenance.get("seed", "unknown")),
        "model": model,
        "methods": [(label, name in contents.controls, text) for name, label, text in methods],
        "metrics": metrics,
        "data": without_folders((provenance.get("data") or {}).get("name", "unknown")),
        "identity": [
            (str(key), plain(value))
            for key, value in (provenance.get("data") or {}).items()
            if key not in ("name", "classes", "counts")
        ],
        "classes": names,
        "splits": splits,
        "stages": [(str(k), number(float(v), 1)) for k, v in (provenance.get("seconds") or {}).items()],
        "timing": timing_rows(contents.seconds),
        "config": without_folders(json.dumps(_tame(contents.config), indent=2, ensure_ascii=False, default=str)),
    }


def plain(value: object) -> str:
    """Return a value of the provenance as text: numbers with separators, lists joined, folders left out."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return " × ".join(str(item) for item in value)
    return without_folders(value)


def _labeled(entries: Mapping[str, object], label: Any) -> list[tuple[str, str, str]]:
    return [(str(name), label(str(name)), without_folders(text)) for name, text in entries.items()]


def _tame(value: object) -> object:
    # Each text is cleaned before it is quoted: JSON doubles the backslashes by which Windows paths are known.
    if isinstance(value, Mapping):
        return {without_folders(key): _tame(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_tame(item) for item in value]
    if isinstance(value, (str, Path)):
        return without_folders(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
