"""What scores depend on, by the mixed model: only what survives correction is said."""

from __future__ import annotations

from collections.abc import Sequence

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import Finding, known, p_value, verb
from medsaliency.report.verdicts import alpha
from medsaliency.report.wording import interval, listing, metric_label, signed

TERMS = {
    "method": "the method",
    "class": "the class",
    "method:class": "how methods fit classes",
    "confidence": "the model's confidence",
    "correct": "whether the prediction is right",
    "lesion_size": "the lesion's size",
    "lesion_place": "the lesion's distance from the middle",
}
STEP = {
    "confidence": "for one standard deviation more",
    "lesion_size": "for one standard deviation more",
    "lesion_place": "for one standard deviation more",
    "correct": "right less wrong",
}
"""What the coefficient of a term with a single one is a change for."""


def dependence(contents: Contents) -> list[Finding]:
    """State for the measures asked which terms they depend on, and which they are not shown to."""
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    table = contents.inference.mixed_terms
    for metric, rows in table.groupby("metric", sort=False):
        shown, open_, silent = [], [], []
        for _, row in rows.iterrows():
            word = TERMS.get(row["term"], str(row["term"]))
            if not known(row["p_corrected"]):
                silent.append(f"{word} ({row['reason'] or 'the reason is not known'})")
            elif row["p_corrected"] <= alpha(contents):
                effect = _coefficient(contents, str(metric), str(row["term"]))
                shown.append(f"{word} ({effect}corrected {p_value(row['p_corrected'])})")
            else:
                open_.append(word)
        alike.setdefault((tuple(shown), tuple(open_), tuple(silent)), []).append(metric_label(str(metric)))
    return [_told(labels, *said) for said, labels in alike.items()]


def _told(labels: list[str], shown: Sequence[str], open_: Sequence[str], silent: Sequence[str]) -> Finding:
    """One finding of all measures of which the same is said."""
    which, parts = listing(labels), []
    if shown:
        parts.append(f"{which} {verb(labels, 'depends', 'each depend')} on {listing(shown)}.")
    if open_:
        who = verb(labels, "It is", "They are") if shown else f"{which} {verb(labels, 'is', 'are')}"
        parts.append(f"{who} not shown to depend on {listing(open_, 'or')}.")
    if silent:
        parts.append(f"Not asked of {which}: {listing(silent)}.")
    return Finding(f"{which} by image" if len(labels) == 1 else "Scores by image", " ".join(parts))


def _coefficient(contents: Contents, metric: str, term: str) -> str:
    """The one coefficient of a term, "+0.020 [0.010, 0.030] for ..., "; empty for a term with several."""
    table = contents.inference.mixed_coefficients
    rows = table[(table["metric"] == metric) & (table["term"] == term)]
    if (
        term not in STEP
        or len(rows) != 1
        or not known(*(float(rows.iloc[0][key]) for key in ("estimate", "low", "high")))
    ):
        return ""
    row = rows.iloc[0]
    return f"{signed(float(row['estimate']))} {interval(float(row['low']), float(row['high']))} {STEP[term]}, "
