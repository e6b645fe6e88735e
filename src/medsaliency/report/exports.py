"""Figures and tables as files for papers: SVG, PDF, CSV and LaTeX."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from medsaliency.report import spreadsheet, verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.figures import FIGURES, cost, distributions, information_curves
from medsaliency.report.figures.about import ABOUT
from medsaliency.report.figures.canvas import pdf, svg
from medsaliency.report.wording import class_name, method_label, metric_label, number, without_folders

Write = Callable[[Path, bytes], None]
Tabulate = Callable[[Contents], pd.DataFrame]

LONGEST = 60
"""Rows above which a table is data rather than something to print: it is written as CSV alone."""


def _inference(name: str, contents: Contents) -> pd.DataFrame:
    table: pd.DataFrame = getattr(contents.inference, name)
    return table


def summary(contents: Contents) -> pd.DataFrame:
    """Return method, metric, images, undefined, mean, low and high."""
    return contents.summary


def exclusions(contents: Contents) -> pd.DataFrame:
    """Return the exclusions with classes by name and reasons without folders."""
    table = contents.exclusions.copy()
    if table.empty:
        return table
    table["label"] = [class_name(label, contents.classes) for label in table["label"]]
    return table


def performance(contents: Contents) -> pd.DataFrame:
    """Return measure, class, value, low and high of the model's performance, before and after calibration."""
    known, rows = contents.performance, []
    for name in ("accuracy", "macro_f1", "expected_calibration_error"):
        rows.append((name, "", known.get(name) or {}))
    rows += [("auroc", str(label), score or {}) for label, score in (known.get("auroc") or {}).items()]
    fitted = contents.inference.calibration
    rows += [(f"calibration_{name}", "", fitted[name]) for name in ("error_before", "error_after") if fitted.get(name)]
    ends = ("value", "low", "high")
    found = [(name, label, *(score.get(end) for end in ends)) for name, label, score in rows if score]
    return pd.DataFrame(found, columns=["measure", "class", *ends])


def costs(contents: Contents) -> pd.DataFrame:
    """Return kind, name, images, seconds and peak_bytes of every method, metric and check."""
    return contents.seconds


TABLES: dict[str, Tabulate] = {
    "performance": performance,
    "summary": summary,
    "distributions": distributions.table,
    "information_curves": information_curves.table,
    "cost": cost.table,
    "seconds": costs,
    "exclusions": exclusions,
    **{
        name: partial(_inference, name)
        for name in (
            "friedman", "ranks", "pairwise", "against_controls", "mixed_terms", "mixed_coefficients",
            "metric_agreement", "concordance", "method_agreement", "reliability", "networks", "trust",
            "shortcut_shares", "stages", "steps",
        )
    },
}  # fmt: skip
"""Every table that a reader may take away: no patient, no sample's name."""


def table(name: str, contents: Contents) -> pd.DataFrame:
    """Return one of :data:`TABLES` without folders of a machine in its text."""
    found = TABLES[name](contents).copy()
    for column in found.columns:
        if column in ("reason", "source"):
            found[column] = [without_folders(text) if isinstance(text, str) else "" for text in found[column]]
    return found


def csv_text(rows: pd.DataFrame) -> str:
    """Return a table as CSV: six significant digits, what is undefined left empty, no cell a formula."""
    return spreadsheet.csv_text(rows, float_format="%.6g", lineterminator="\n")


def data_address(csv: str) -> str:
    """Return CSV as a ``data:`` address, to be saved from a page that loads nothing."""
    encoded = base64.b64encode(csv.encode("utf-8")).decode("ascii")
    return f"data:text/csv;charset=utf-8;base64,{encoded}"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": "$-$", "×": r"$\times$", "α": r"$\alpha$", "…": r"\ldots{}", "|": r"\textbar{}",
}  # fmt: skip
_LATEX_SIGNS = str.maketrans(_LATEX)


def latex(text: str) -> str:
    """Return ``text`` with every sign that means something to LaTeX written out; line ends become spaces."""
    return " ".join(text.split()).translate(_LATEX_SIGNS)


def tex_text(rows: pd.DataFrame, caption: str) -> str:
    """Return a table as a LaTeX ``table`` with the rules of the package booktabs, numbers aligned right."""
    numeric = [pd.api.types.is_numeric_dtype(rows[column]) for column in rows.columns]
    head = " & ".join(latex(str(column).replace("_", " ")) for column in rows.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(caption)}}}",
        rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric)}}}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
        *(
            " & ".join(_tex_cell(*cell) for cell in zip(rows.columns, row, strict=True)) + r" \\"
            for row in rows.itertuples(index=False)
        ),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tex_cell(column: str, value: Any) -> str:
    if isinstance(value, str):
        named = {"method": method_label, "other": _either_label, "control": method_label, "metric": metric_label}
        return latex(named.get(column, str)(value))
    if pd.isna(value):
        return "--"
    if isinstance(value, bool) or (math.isfinite(value) and float(value).is_integer()):
        return latex(number(float(value), 0))
    if column.startswith("p") and 0 < value < 0.001:
        return "$<$0.001"
    return latex(number(float(value)))


def _either_label(name: str) -> str:
    label = method_label(name)
    return metric_label(name) if label == name else label


def write_figures(contents: Contents, folder: Path, write: Write) -> list[Path]:
    """Write every figure and table that the study has numbers for.

    Args:
        contents: The study.
        folder: Takes ``figures/NAME.svg`` and ``figures/NAME.pdf``, then ``NAME_2`` and so on where a figure has more
            sheets; ``tables/NAME.csv`` and ``tables/NAME.tex``. Tables of more than :data:`LONGEST` rows are data and
            have no LaTeX.
        write: Writes one file's bytes, whole or not at all, and makes the folder it lies in.

    Returns:
        The files, in the order written. The same study gives the same bytes.
    """
    written: list[Path] = []

    def put(path: Path, content: bytes) -> None:
        write(path, content)
        written.append(path)

    for name, draw in FIGURES.items():
        for place, figure in enumerate(draw(contents), 1):
            sheet = name if place == 1 else f"{name}_{place}"
            put(folder / "figures" / f"{sheet}.svg", svg(figure).encode("utf-8"))
            put(folder / "figures" / f"{sheet}.pdf", pdf(figure))
    for name in TABLES:
        rows = table(name, contents)
        if len(rows):
            put(folder / "tables" / f"{name}.csv", csv_text(rows).encode("utf-8"))
            if len(rows) <= LONGEST:
                put(folder / "tables" / f"{name}.tex", tex_text(rows, caption(name, contents)).encode("utf-8"))
    return written


def caption(name: str, contents: Contents) -> str:
    """Return a table's caption: what it is, of which study, with the coverage of its intervals."""
    about = ABOUT.get(name)
    title = about.title if about else name.replace("_", " ").capitalize()
    return f"{title}, {without_folders(contents.title)}. Intervals: {verdicts.coverage(contents)}."
