"""Several runs side by side, as one HTML file that needs no network."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from medsaliency.report.comparison import tables
from medsaliency.report.comparison.contents import ACCURACY, COLUMNS, Comparison, records
from medsaliency.report.comparison.findings import findings
from medsaliency.report.comparison.measures import WIDE, measure_tables, untested
from medsaliency.report.curves import COLORS
from medsaliency.report.html import PAGE
from medsaliency.report.wording import count, listing, metric_label

__all__ = ["ACCURACY", "COLUMNS", "Comparison", "overview", "records", "render"]

STYLES = ("base", "findings", "comparison", "responsive")
SCRIPT = "base"


def render(comparison: Comparison) -> str:
    """Return the comparison as one HTML page that loads nothing.

    Everything from outside is escaped. Folders and patients do not appear.

    Args:
        comparison: All that the page shows.

    Returns:
        The page; the caller writes it.
    """
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    runs = [
        {"letter": letter, "title": tables.title(comparison, letter), "color": COLORS[place % len(COLORS)]}
        for place, letter in enumerate(comparison.runs)
    ]
    measures = measure_tables(comparison)
    return environment.get_template("comparison.html.j2").render(
        title=listing(run["title"] for run in runs),
        subtitle=_subtitle(comparison),
        coverage=comparison.coverage,
        permutations=f"{comparison.statistics['permutations']:,.0f}",
        runs=runs,
        pairs=[tables.less(*pair) for pair in tables.pairs(comparison)],
        findings=findings(comparison),
        facts=tables.fact_rows(comparison),
        settings=tables.setting_rows(comparison),
        left_out=tables.left_out(comparison),
        performance=tables.performance_rows(comparison),
        accuracy=tables.accuracy_rows(comparison),
        untested=[f"{run} and {other}: {reason}." for (run, other), reason in untested(comparison).items() if reason],
        headlines=measures[: len(comparison.headlines)],
        others=measures[len(comparison.headlines) :],
        rankings=tables.ranking_rows(comparison),
        trust=tables.trust_matrix(comparison),
        wide=WIDE,
        # Markup marks what this package itself ships; nothing of a user's is ever wrapped in it.
        css=Markup("\n".join((PAGE / f"{name}.css").read_text(encoding="utf-8") for name in STYLES)),  # noqa: S704  # nosec B704
        js=Markup((PAGE / f"{SCRIPT}.js").read_text(encoding="utf-8")),  # noqa: S704  # nosec B704
    )


def overview(comparison: Comparison) -> tuple[str, list[str], list[list[str]]]:
    """Return a short table for the command line, of the measure read first.

    Returns:
        Title, heads and rows: methods, the mean of each run, and for every two runs what was shown.
    """
    name = next(iter(comparison.measures))
    shown = measure_tables(comparison)[0]
    between = [f"{other} to {run}" for run, other in tables.pairs(comparison)]
    rows = [
        [row["method"], *(cell["mean"] for cell in row["cells"]), *(gap["words"] for gap in row["differences"])]
        for row in shown["rows"]
    ]
    return f"{metric_label(name)}, {shown['direction']}", ["mean of", *comparison.runs, *between], rows


def _subtitle(comparison: Comparison) -> str:
    methods, controls = len(comparison.explanations), len(comparison.methods) - len(comparison.explanations)
    parts = [count(methods, "method"), count(controls, "control"), count(len(comparison.measures), "measure")]
    return f"{count(len(comparison.runs), 'run')} side by side: {listing(parts)} that all of them have."
