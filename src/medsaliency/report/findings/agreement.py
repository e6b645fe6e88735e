"""Whether measures agree on methods, methods on maps, and scores with themselves."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import Finding, Tone, known, p_value
from medsaliency.report.verdicts import alpha
from medsaliency.report.wording import estimate, listing, method_label, metric_label, number
from medsaliency.statistics.trust import PARTS

FAMILIES = {
    "faithfulness": "measures of faithfulness",
    "information": "information curves",
    "localization": "measures of localization",
    "complexity": "measures of concentration",
    "other": "other measures",
    "all": "measures together",
}
SOURCES = {
    "seed": "Scored again with other random choices",
    "retrained": "Scored again on networks trained anew",
}


def measure_agreement(contents: Contents) -> list[Finding]:
    """State whether the measures of a family, and all of them, rank the methods alike more than by chance."""
    shown, open_, silent = [], [], []
    for _, row in contents.inference.concordance.iterrows():
        many = f"the {row['metrics']:.0f} {FAMILIES.get(row['family'], str(row['family']))}"
        numbers = f"Kendall's W {number(float(row['kendall_w']), 2)}"
        if not known(row["kendall_w"], row["p"]):
            silent.append(f"{many} ({row['reason'] or 'the reason is not known'})")
        elif row["p"] <= alpha(contents):
            shown.append(f"{many} ({numbers}, {p_value(row['p'])})")
        else:
            open_.append(f"{many} ({numbers}, {p_value(row['p'])})")
    text = (
        f"These rank the methods alike, more than by chance: {listing(shown)}; a W of 1 is the same order."
        if shown
        else ""
    )
    if open_:
        text += f" Not shown to rank the methods alike: {listing(open_)}."
    if silent:
        text += f" Not tested: {listing(silent)}."
    if shown and PARTS.intersection(contents.measures):
        text += " Measures that share a computation agree the more for it."
    tone: Tone = "caution" if open_ else "plain"
    return [Finding("Agreement of measures", text.strip(), tone)] if text else []


def map_agreement(contents: Contents) -> list[Finding]:
    """Name the two methods with the most and with the least alike maps."""
    table = contents.inference.method_agreement
    controls = contents.controls
    rows = table[~table["method"].isin(controls) & ~table["other"].isin(controls) & table["correlation"].notna()]
    if rows.empty:
        return []
    ordered = rows.sort_values("correlation", kind="stable")
    most, least = (
        f"{method_label(str(row['method']))} and {method_label(str(row['other']))} "
        f"({estimate(float(row['correlation']), float(row['low']), float(row['high']), 2)})"
        for row in (ordered.iloc[-1], ordered.iloc[0])
    )
    if len(rows) == 1:
        text = f"The rank correlation of the maps of {most} is the only one."
    else:
        text = f"By rank correlation the maps of {most} are most alike, those of {least} least."
    return [Finding("Agreement of maps", text)]


def repeated_scores(contents: Contents) -> list[Finding]:
    """State how far scores repeat themselves: the least and the most reliable measure."""
    result = []
    for source, rows in contents.inference.reliability.groupby("source", sort=False):
        known_rows = rows[rows["icc"].notna()].sort_values("icc", kind="stable")
        start = SOURCES.get(str(source), f"Repeated ({source})")
        if known_rows.empty:
            why = "; ".join(dict.fromkeys(str(reason) for reason in rows["reason"] if reason))
            text = f"{start}, scores have no intraclass correlation{f' ({why})' if why else ''}."
            result.append(Finding("Reliability", text, "caution"))
            continue
        ends = [
            f"{estimate(float(row['icc']), float(row['low']), float(row['high']), 2)} for {metric_label(row['metric'])}"
            for row in (known_rows.iloc[0], known_rows.iloc[-1])
        ]
        between = f"from {ends[0]} to {ends[1]}" if len(known_rows) > 1 else f"of {ends[0]}"
        text = f"{start}, scores have an intraclass correlation {between}; 1 is perfect."
        if missing := [metric_label(str(name)) for name in rows.loc[rows["icc"].isna(), "metric"]]:
            text += f" It is undefined for {listing(missing)}."
        result.append(Finding("Reliability", text))
    return result
