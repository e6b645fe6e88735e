"""How methods compare with each other and with controls, by corrected tests alone."""

from __future__ import annotations

from collections.abc import Sequence

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import (
    Finding,
    detectable,
    grouped,
    known,
    names,
    p_value,
    scored,
    verb,
    would_have_shown,
)
from medsaliency.report.verdicts import (
    RANDOM,
    against_verdicts,
    all_compared,
    alpha,
    controls_against,
    explanations,
    has_values,
    localization,
    of_family,
    primary,
)
from medsaliency.report.wording import count, listing, method_label, metric_label, number
from medsaliency.types import Family

FAMILIES: dict[Family, str] = {
    "faithfulness": "Faithfulness",
    "information": "Information curves",
    "localization": "Localization",
}
"""Families in which a better score than random speaks for a map; concentration by itself does not."""


def headlines(contents: Contents) -> list[str]:
    """Return the measures that are told in full: the primary one and the one of lesions, as far as they have values."""
    return [name for name in dict.fromkeys((primary(contents), localization(contents))) if has_values(contents, name)]


def differences(contents: Contents) -> list[Finding]:
    """State for the main measures whether methods differ at all, and who is not shown to differ from the best."""
    result = []
    for metric in headlines(contents):
        table = contents.inference.friedman
        found = table[table["metric"] == metric]
        if found.empty:
            continue
        row = dict(found.iloc[0])
        topic, label = f"Methods on {metric_label(metric)}", metric_label(metric)
        if not known(row["p_corrected"]):
            text = f"Whether methods differ on {label} was not tested: {row['reason'] or 'the reason is not known'}."
            result.append(Finding(topic, text, "caution"))
            continue
        test = f"Friedman's test over {count(row['patients'], 'patient')}, corrected {p_value(row['p_corrected'])}"
        many = f"{row['methods']:.0f} methods{' and controls' if contents.controls else ''}"
        if row["p_corrected"] > alpha(contents):
            text = f"That the {many} differ on {label} is not shown ({test})."
            result.append(Finding(topic, text, "caution"))
            continue
        agree = (
            f"; patients rank them with a Kendall's W of {number(row['kendall_w'], 2)}"
            if known(row["kendall_w"])
            else ""
        )
        text = f"The {many} differ on {label} ({test}{agree})."
        result.append(Finding(topic, text + _leading(contents, metric)))
    return result


def leader(contents: Contents, metric: str) -> str | None:
    """Return the explanation with the best mean rank on ``metric``; None where there are no ranks."""
    table = contents.inference.ranks
    own = table[(table["metric"] == metric) & ~table["method"].isin(contents.controls) & table["rank"].notna()]
    return None if own.empty else str(own.sort_values("rank", kind="stable")["method"].iloc[0])


def against_leader(contents: Contents, metric: str) -> dict[str, tuple[str, float]]:
    """Return for each method compared with the leader the leader's verdict, and the detectable difference."""
    first, table = leader(contents, metric), contents.inference.pairwise
    turned = {"better": "worse", "worse": "better"}
    result: dict[str, tuple[str, float]] = {}
    for _, row in table[table["metric"] == metric].iterrows():
        if row["method"] == first:
            result[str(row["other"])] = (str(row["verdict"]), float(row["detectable"]))
        elif row["other"] == first:
            result[str(row["method"])] = (turned.get(row["verdict"], "not shown"), float(row["detectable"]))
    return result


def _leading(contents: Contents, metric: str) -> str:
    first, judged = leader(contents, metric), against_leader(contents, metric)
    if first is None or not judged:
        return ""
    peers = [name for name, (verdict, _) in judged.items() if verdict not in ("better", "worse")]
    own = [name for name in peers if name not in contents.controls]
    controls = [name for name in peers if name in contents.controls]
    above = [name for name, (verdict, _) in judged.items() if verdict == "worse"]
    text = f" {method_label(first)} has the best mean rank of the methods."
    if own:
        text += f" Not shown to differ from it: {names(own)}."
    if controls:
        text += (
            f" The {verb(controls, 'control', 'controls')} {names(controls)} {verb(controls, 'is', 'are')} not shown"
        )
        text += " to differ from it either."
    if peers:
        text += f" Between them {would_have_shown([judged[name][1] for name in peers])}."
    if above:
        text += f" Pair by pair {names(above)} {verb(above, 'is', 'are')} shown to be better."
    beaten = len(judged) - len(peers) - len(above)
    return text + (f" It is shown to be better than the other {beaten}." if beaten and (peers or above) else
                   " It is shown to be better than all others." if beaten else "")  # fmt: skip


def other_differences(contents: Contents) -> list[Finding]:
    """Name the other measures on which methods are shown to differ, and those on which they are not."""
    table = contents.inference.friedman
    rest = table[~table["metric"].isin(headlines(contents))]
    shown = [metric_label(str(m)) for m in rest.loc[rest["p_corrected"] <= alpha(contents), "metric"]]
    open_ = [metric_label(str(m)) for m in rest.loc[rest["p_corrected"] > alpha(contents), "metric"]]
    undefined = [metric_label(str(m)) for m in rest.loc[rest["p_corrected"].isna(), "metric"]]
    parts = [f"Methods differ on {listing(shown)}."] if shown else []
    parts += [f"No difference is shown on {listing(open_)}."] if open_ else []
    parts += [f"Not tested: {listing(undefined)}."] if undefined else []
    return [Finding("Other measures", " ".join(parts), "caution" if open_ or undefined else "plain")] if parts else []


def against_controls(contents: Contents) -> list[Finding]:
    """State who is better than each control on the primary measure."""
    metric = primary(contents)
    controls = controls_against(contents, metric)
    return [finding for control in controls for finding in against(contents, metric, control, metric_label(metric))]


def against(contents: Contents, metric: str, control: str, topic: str) -> list[Finding]:
    """State who is better than ``control`` on ``metric``, of whom it is not shown, and who is worse."""
    judged = grouped(against_verdicts(contents, metric, control))
    better, rest, worse, undefined = (judged[name] for name in ("better", "open", "worse", "undefined"))
    whom, label, result = _maps_of(control), metric_label(metric), []
    if better:
        text = f"Better than {whom} on {label}: {scored(contents, better, metric)}."
        result.append(Finding(topic, text + _most(contents, better, metric, control), "support"))
    if rest:
        text = f"Not shown to be better than {whom} on {label}: {scored(contents, rest, metric)}"
        result.append(Finding(topic, f"{text}; {detectable(contents, rest, metric, control)}.", "caution"))
    if worse:
        result.append(Finding(topic, f"Worse than {whom} on {label}: {scored(contents, worse, metric)}.", "caution"))
    if undefined:
        text = f"Cannot be compared with {whom} on {label}: {names(undefined)}."
        result.append(Finding(topic, text, "caution"))
    return result


def _most(contents: Contents, better: Sequence[str], metric: str, control: str) -> str:
    """The largest corrected p of the methods named: all of them are at or below it."""
    rows = all_compared(contents, metric, control)
    ps = [float(rows[name]["p_corrected"]) for name in better if known(rows[name]["p_corrected"])]
    return f" Corrected {p_value(max(ps))}{' at most' if len(ps) > 1 and max(ps) >= 0.001 else ''}." if ps else ""


def _maps_of(control: str) -> str:
    words = {RANDOM: "random maps", "edge": "the edge map", "center_gaussian": "the center map"}
    return words.get(control, f"the control {method_label(control)}")


def other_measures(contents: Contents) -> list[Finding]:
    """State family by family who is better than random on all, some or none of the other measures, and who is worse."""
    result = []
    for family, topic in FAMILIES.items():
        asked = [name for name in of_family(contents, family) if name not in headlines(contents)]
        asked = [name for name in asked if RANDOM in controls_against(contents, name) and has_values(contents, name)]
        if asked and explanations(contents):
            result += _family(contents, asked, topic)
    return result


def _family(contents: Contents, asked: Sequence[str], topic: str) -> list[Finding]:
    wins: dict[tuple[str, ...], list[str]] = {}
    losses: dict[tuple[str, ...], list[str]] = {}
    verdicts = {name: against_verdicts(contents, name) for name in asked}
    for method in explanations(contents):
        wins.setdefault(tuple(name for name in asked if verdicts[name][method] == "better"), []).append(method)
        losses.setdefault(tuple(name for name in asked if verdicts[name][method] == "worse"), []).append(method)
    which = f"all {len(asked)} measures" if len(asked) > 1 else metric_label(asked[0])
    result = []
    if everywhere := wins.pop(tuple(asked), []):
        result.append(Finding(topic, f"Better than random maps on {which}: {names(everywhere)}.", "support"))
    nowhere = wins.pop((), [])
    for won, methods in wins.items():
        on = listing(map(metric_label, won))
        lost = listing(metric_label(name) for name in asked if name not in won)
        text = f"{names(methods)} {verb(methods, 'is', 'are')} better than random maps on {on}"
        result.append(Finding(topic, f"{text}, and not shown to be on {lost}.", "caution"))
    if nowhere:
        on = metric_label(asked[0]) if len(asked) == 1 else f"any of {len(asked)} measures"
        result.append(Finding(topic, f"Not shown to be better than random maps on {on}: {names(nowhere)}.", "caution"))
    losses.pop((), None)
    worse = [f"{names(methods)} (on {listing(map(metric_label, on))})" for on, methods in losses.items()]
    if worse:
        result.append(Finding(topic, f"Worse than random maps: {listing(worse)}.", "caution"))
    return result


def undecided(contents: Contents, metric: str) -> tuple[int, list[float]]:
    """Return how many pairs of explanations were tested on ``metric``, and what is detectable in those left open."""
    table = contents.inference.pairwise
    controls = contents.controls
    rows = table[(table["metric"] == metric) & ~table["method"].isin(controls) & ~table["other"].isin(controls)]
    return len(rows), rows.loc[~rows["verdict"].isin(["better", "worse"]), "detectable"].astype(float).tolist()
