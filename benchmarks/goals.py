"""What is to be reached, and what a measurement falls short of."""

from __future__ import annotations

from typing import Any

Result = dict[str, Any]
PANEL_GOAL, METHOD_GOAL, OVERHEAD_GOAL, SHARED_GOAL = 10.0, 2.0, 0.15, 1.3
HIGHER_GOALS = {"xrai": 8.0, "smooth_integrated_gradients": 8.0}
"""Times as fast as the peer, for methods that leave more to be saved than others."""
ERROR_GOAL = 1.1
"""Most error, relative to the peer's, that counts as no more: the references are not exact."""
ROUNDING = 1e-4
"""Errors below it are rounding, of which either side may have more."""


def missed(name: str, row: Result) -> list[str]:
    """What a method falls short of, in words."""
    found = []
    goal = HIGHER_GOALS.get(name, METHOD_GOAL)
    if row["ratio"] is not None and row["ratio"] < goal:
        found.append(f"{row['ratio']:.3g} times as fast as the peer, goal {goal:g}")
    if less_exact(row):
        found.append(error_text(row))
    if row["overhead"] is not None and row["overhead"] > OVERHEAD_GOAL:
        found.append(f"overhead {100 * row['overhead']:.3g}%, goal {OVERHEAD_GOAL:.0%}")
    return found


def less_exact(row: Result) -> bool:
    """Whether our maps are further from the reference than the peer's, or it cannot be told.

    Judged by deviations, which are errors but for what they are relative to, and are known where errors are not.
    """
    if row["peer"] is None:
        return False
    mine, other = row["deviation"], row["peer_deviation"]
    if mine is None or other is None:
        return True
    return mine > ERROR_GOAL * other and max(mine, other) >= ROUNDING


def error_text(row: Result) -> str:
    """Errors of both sides, or what stands for them."""
    for key in ("error", "deviation"):
        if row[key] is not None and row[f"peer_{key}"] is not None:
            return f"{key} {row[key]:.3g}, the peer's {row[f'peer_{key}']:.3g}"
    return "error undefined"


def missed_by_model(found: Result) -> list[str]:
    """What a model's methods fall short of together, in words."""
    lines = []
    if found["panel_ratio"] is not None:
        panel = found["panel"]
        if found["panel_ratio"] < PANEL_GOAL:
            lines.append(f"panel: {found['panel_ratio']:.3g} times as fast as the peers, goal {PANEL_GOAL:g}")
        if panel["missing"]:
            lines.append(f"panel: {len(panel['missing'])} of its methods not measured against a peer")
        if panel["less_exact"]:
            names = ", ".join(f"`{name}`" for name in panel["less_exact"])
            lines.append(f"panel: more error than the peer in {names}")
    if found["shared_pass_ratio"] is not None and found["shared_pass_ratio"] > SHARED_GOAL:
        lines.append(f"shared pass: {found['shared_pass_ratio']:.3g} times the bare pass, goal {SHARED_GOAL:g}")
    return lines
