"""The report as Markdown, for readers of text and for repositories: the same words and numbers, without pictures."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote

from medsaliency.report import checklists, verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.findings import findings
from medsaliency.report.performance import performance
from medsaliency.report.record import record
from medsaliency.report.tables import exclusion_rows, omitted
from medsaliency.report.trust_card import SIGNS, criterion_label
from medsaliency.report.wording import (
    UNDEFINED,
    count,
    interval,
    method_label,
    metric_label,
    number,
    percent,
    signed,
    without_folders,
)

HEADLINE = 6
"""Measures of the table of scores; all of them are in the HTML report and in ``tables/``."""
JUDGED = 2
"""Of these, the measures whose comparison with every control is written out."""
_SPECIAL = re.compile(r"([\\`*_\[<>|~&$@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
"""Signs that can begin a tag, a link, an entity, a cell or emphasis."""
_BLOCK = re.compile(r"^(\d+(?=[.)](?: |$))|(?=[#+=-]))")
"""Where a heading, a rule or an item of a list would begin, at the start of a line."""


def render_markdown(contents: Contents, figures: Mapping[str, str]) -> str:
    """Return the report as Markdown, with tables as GitHub writes them.

    Text from outside is escaped: it can make no heading, link, tag, cell or entity. Folders of absolute paths and
    patients' identifiers do not appear.

    Args:
        contents: All that the report shows; what has no rows says so.
        figures: Name of a figure to its file, relative to the report's folder; linked where given.

    Returns:
        The text; the caller writes it.
    """
    parts = (
        [f"# {escape(contents.title)}", "**For research use only. Not for diagnosis.**"],
        _findings(contents),
        _trust(contents),
        _model(contents),
        _scores(contents),
        _controls(contents),
        _pairs(contents),
        _exclusions(contents),
        _figures(figures),
        _record(contents),
        _checklists(contents),
    )
    return "\n\n".join(block for part in parts for block in part) + "\n"


def escape(text: object) -> str:
    """Return text from outside as one line of Markdown that means nothing but itself."""
    return _BLOCK.sub(r"\1\\", _SPECIAL.sub(r"\\\1", " ".join(without_folders(text).split())))


def code(text: object) -> str:
    """Return text as a span of code, in backticks longer than any in it; it stays whole within a table's cell."""
    line = " ".join(without_folders(text).split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {line} {ticks}" if line.startswith("`") or line.endswith("`") else f"{ticks}{line}{ticks}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Return a table of finished cells; the last ``numbers`` columns stand to the right."""
    rule = ["---"] * (len(heads) - numbers) + ["--:"] * numbers
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows))


def _findings(contents: Contents) -> list[str]:
    blocks = ["## Findings"]
    for group, found in groupby(findings(contents), key=lambda finding: finding.group):
        if group:
            blocks.append(f"### {escape(group)}")
        blocks.append("\n".join(f"- **{escape(item.topic)}.** {escape(item.text)}" for item in found))
    return blocks


def _trust(contents: Contents) -> list[str]:
    card = verdicts.criteria(contents)
    if not card:
        return ["## Trust card", "No method was judged."]
    criteria = list(dict.fromkeys(name for own in card.values() for name in own))
    rows = [
        [escape(method_label(method)), *(_verdict(own.get(name, "not shown")) for name in criteria)]
        for method, own in card.items()
    ]
    return [
        "## Trust card",
        "Pass: the whole interval lies on the good side of the threshold, for every measure of the criterion. Fail: on "
        "the bad side for one of them. Not shown: neither, or not run. There is no total.",
        table(["Method", *(escape(criterion_label(name)) for name in criteria)], rows),
    ]


def _verdict(word: str) -> str:
    return f"{SIGNS.get(word, '')} {escape(word)}".strip()


def _model(contents: Contents) -> list[str]:
    known = performance(contents)
    covered = escape(verdicts.coverage(contents))
    rows = [[escape(item.name), item.value, item.interval] for item in known.tiles]
    rows += [[f"AUROC, {escape(item.name)}", item.value, item.interval] for item in known.auroc]
    blocks = [
        "## Model performance",
        f"{known.images} images of {known.patients} patients.",
        table(
            ["Measure", "Value", f"{covered} interval"],
            [[name, value, ends or "–"] for name, value, ends in rows],
            numbers=2,
        ),
    ]
    if known.confusion:
        heads = ["True ╲ predicted", *(escape(name) for name in contents.classes), "Images"]
        cells = [[escape(row.label), *(f"{n:,}" for n, _ in row.cells), f"{row.total:,}"] for row in known.confusion]
        blocks.append(table(heads, cells, numbers=len(heads) - 1))
    return blocks


def headline(contents: Contents) -> list[str]:
    """Return the measures of the table of scores: the study's own of the trust card first."""
    first = [verdicts.primary(contents), verdicts.localization(contents)]
    defined = [name for name in verdicts.metrics(contents) if verdicts.has_values(contents, name)]
    return sorted(defined, key=lambda name: name not in first)[:HEADLINE]


def _scores(contents: Contents) -> list[str]:
    shown = headline(contents)
    if not shown:
        return ["## Scores", "No measure has a value."]
    arrows = {True: "↑", False: "↓"}
    heads = [f"{escape(metric_label(m))} {arrows[verdicts.higher_is_better(contents, m)]}" for m in shown]
    rows = [
        [_method(contents, method), *(_score(contents, method, metric) for metric in shown)]
        for method in verdicts.methods(contents)
    ]
    every = len(verdicts.metrics(contents))
    more = f" {len(shown)} of {every} measures; the others are in the HTML report." if every > len(shown) else ""
    blocks = [
        "## Scores",
        f"Means with {escape(verdicts.coverage(contents))} intervals, on the images on which all methods have a value. "
        f"↑ higher is better, ↓ lower is better.{more}",
        table(["Method", *heads], rows, numbers=len(heads)),
    ]
    if lost := omitted(contents):
        blocks.append("\n".join(f"- {escape(line)}" for line in lost))
    return blocks


def _method(contents: Contents, name: str) -> str:
    return escape(method_label(name)) + (" (control)" if name in contents.controls else "")


def _score(contents: Contents, method: str, metric: str) -> str:
    found = verdicts.row(contents.summary, method, metric)
    if found is None:
        return "not run"
    mean = number(found["mean"])
    return mean if mean == UNDEFINED else f"{mean} {interval(found['low'], found['high'])}"


def _difference(row: Mapping[Hashable, Any]) -> str:
    written = signed(row["difference"])
    return written if written == UNDEFINED else f"{written} {interval(row['low'], row['high'])}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else number(p)


def _controls(contents: Contents) -> list[str]:
    rows = [
        [
            escape(metric_label(metric)),
            escape(method_label(row["control"])),
            escape(method_label(row["method"])),
            _difference(row),
            _p(row["p_corrected"]),
            number(row["detectable"]),
            escape(row["verdict"]),
        ]
        for metric in headline(contents)[:JUDGED]
        for control in verdicts.controls_against(contents, metric)
        for row in contents.inference.against_controls.to_dict("records")
        if (row["metric"], row["control"]) == (metric, control)
    ]
    if not rows:
        return ["## Each method against the controls", "No control was compared."]
    return [
        "## Each method against the controls",
        "Method less control, on the same images. p is two-sided and corrected. Detectable: the smallest difference "
        "that this sample would have shown. What is not shown is not shown to be absent.",
        table(["Measure", "Control", "Method", "Difference", "p", "Detectable", "Method is"], rows),
    ]


def _pairs(contents: Contents) -> list[str]:
    shown = headline(contents)
    friedman, pairs = contents.inference.friedman, contents.inference.pairwise
    if pairs.empty:
        return ["## Methods against each other", "No methods were compared with each other."]
    blocks = ["## Methods against each other"]
    tests = [
        [
            escape(metric_label(row["metric"])),
            f"{row['patients']:,.0f}",
            _p(row["p_corrected"]) if not row["reason"] else f"undefined: {escape(row['reason'])}",
            number(row["kendall_w"]),
        ]
        for row in friedman.to_dict("records")
        if row["metric"] in shown
    ]
    if tests:
        blocks.append("Do the methods differ at all (Friedman, corrected over measures):")
        blocks.append(table(["Measure", "Patients", "p", "Kendall's W"], tests, numbers=3))
    first = next((name for name in shown if (pairs["metric"] == name).any()), None)
    if first is None:
        return blocks
    rows = [
        [
            _method(contents, row["method"]),
            _method(contents, row["other"]),
            _difference(row),
            _p(row["p_corrected"]),
            percent(row["superiority"]),
            escape(row["verdict"]),
        ]
        for row in pairs[pairs["metric"] == first].to_dict("records")
    ]
    blocks.append(
        f"By {escape(metric_label(first))}: first less second; Wilcoxon on patients' means, corrected over pairs. "
        "Superiority: the share of patients on whom the first is better."
    )
    blocks.append(table(["Method", "Other", "Difference", "p", "Superiority", "First is"], rows))
    return blocks


def _exclusions(contents: Contents) -> list[str]:
    rows = [
        [escape(row.metrics), escape(row.label), escape(row.reason), f"{row.images:,} of {row.of:,}"]
        for row in exclusion_rows(contents)
    ]
    if not rows:
        return ["## Exclusions", "No image was left out."]
    return ["## Exclusions", table(["Measures", "Class", "Reason", "Images"], rows, numbers=1)]


def _figures(figures: Mapping[str, str]) -> list[str]:
    if not figures:
        return []
    links = [f"- [{escape(name.replace('_', ' '))}]({quote(path)})" for name, path in figures.items()]
    return ["## Figures", "\n".join(links)]


def _record(contents: Contents) -> list[str]:
    known = record(contents)
    blocks = ["## Record"]
    if known["command"]:
        blocks.append(f"Repeated by {code(known['command'])}, with the study.yaml of the run's folder.")
    heads = ["Split", *(escape(name) for name in known["classes"]), "Images", "Patients"]
    rows = [
        [escape(split), *(f"{n:,}" for n in images), f"{total:,}", "unknown" if patients is None else f"{patients:,}"]
        for split, images, total, patients in known["splits"]
    ]
    if rows:
        blocks += [f"Data: {escape(known['name'])}.", table(heads, rows, numbers=len(heads) - 1)]
    if known["rule"]:
        blocks.append(escape(known["rule"]))
    for title, name in (("Model", "model"), ("Training", "training"), ("Statistics", "statistics")):
        blocks += _pairs_of(title, known[name])
    blocks += _pairs_of("Thresholds of the trust card", known["trust"])
    blocks += _pairs_of("Versions", known["versions"])
    if known["hashes"]:
        blocks.append("### Hashes, SHA-256")
        blocks.append("\n".join(f"- {escape(label)}: {code(value)}" for label, value in known["hashes"]))
    ran = [
        (label, text)
        for label, text in (
            *((label, text) for label, _, text in known["methods"]),
            *((label, text) for kind in ("metrics", "checks") for _, label, text in known[kind]),
        )
    ]
    if ran:
        blocks.append("### Methods, measures and checks")
        blocks.append("\n".join(f"- {escape(label)}: {code(text)}" for label, text in ran))
    return blocks


def _pairs_of(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    return [f"### {title}", "\n".join(f"- {escape(key)}: {escape(value)}" for key, value in rows)]


def _checklists(contents: Contents) -> list[str]:
    blocks = [
        "## Checklists",
        "Filled with what this study knows of itself. A gap is for a human to close; so is what a partly filled item "
        "still asks.",
    ]
    for own in checklists.filled(contents).values():
        tally = ", ".join(f"{own.count(status)} {status}" for status in checklists.STATUSES)
        rows = [[item.number, item.topic, item.status, _said(item)] for item in own.items]
        blocks += [
            f"### {escape(own.title)}",
            f"{count(len(own.items), 'item')}: {tally}. {escape(own.source)}. {escape(own.note)}",
            table(["No.", "Item", "Status", "What the study knows, and what is to add"], rows),
        ]
    return blocks


def _said(item: checklists.Item) -> str:
    known = escape(item.known or item.unneeded)
    return " ".join(filter(None, (known, f"**To add:** {escape(item.missing)}" if item.missing else "")))
