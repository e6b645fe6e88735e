"""Several methods of ours at once, which share what they can."""

from __future__ import annotations

from statistics import median
from typing import Any

from cases import Case, Settings
from goals import less_exact
from medsaliency.types import generator
from ours import available, explain, in_order, probe_of
from rows import rounded
from timing import bare_pass_seconds, timed

Result = dict[str, Any]
SMOOTH_BLUR = "smooth_blur_integrated_gradients"
"""Nearly all of what the panel takes the peers: the ratio is given without it as well."""
PANEL = (
    "gradient",
    "smoothgrad",
    "integrated_gradients",
    "smooth_integrated_gradients",
    "guided_integrated_gradients",
    "blur_integrated_gradients",
    SMOOTH_BLUR,
    "xrai",
    "xrai_fast",
    "grad_cam",
    "grad_cam_plus_plus",
    "score_cam",
)
"""The methods of Brima & Atemkeng 2024."""
SHARED = ("gradient", "grad_cam", "grad_cam_plus_plus", "layer_cam", "x_grad_cam", "hires_cam", "eigen_cam")
"""Methods that one forward and backward pass serves together."""


def measure_panel(case: Case, rows: Result, settings: Settings) -> Result:
    """The paper's methods in one run against the sum of their peers, as far as both were measured."""
    names = [name for name in PANEL if rows.get(name, {}).get("peer")]
    runs = [run_panel(case, names, settings.seed) for _ in range(settings.slow_repeats)]
    mine = {name: median(run[name] for run in runs) for name in (*names, "together")}
    return rounded(panel_of(rows, names, mine))


def run_panel(case: Case, names: list[str], seed: int) -> dict[str, float]:
    """Seconds an image of each method in one run through one probe, and of all "together"."""
    seconds: dict[str, float] = {}

    def run() -> None:
        probe = probe_of(case)
        for name, method in in_order(names).items():
            rngs = [generator(seed, i, name) for i in case.ids]
            seconds[name], _ = timed(lambda method=method, rngs=rngs: method(probe, rngs), case.device)

    seconds["together"], _ = timed(run, case.device)
    return {name: value / len(case.images) for name, value in seconds.items()}


def panel_of(rows: Result, names: list[str], mine: dict[str, float]) -> Result:
    """Both ratios, of the seconds an image that ours took by name and together.

    Smoothed Blur IG shares nothing with the others but the classifier, so that without it the run takes what it took
    less the seconds of that method within it.
    """
    theirs = {name: rows[name]["peer_seconds"] for name in names}
    without = sum(theirs.values()) - theirs.get(SMOOTH_BLUR, 0.0)
    others = mine["together"] - mine.get(SMOOTH_BLUR, 0.0)
    return {
        "panel": {
            "methods": names,
            "missing": [name for name in PANEL if name not in names],
            "less_exact": [name for name in names if less_exact(rows[name])],
            "ours_seconds": mine["together"],
            "peer_seconds": sum(theirs.values()),
            "seconds": {name: mine[name] for name in names},
        },
        "panel_ratio": sum(theirs.values()) / mine["together"],
        "panel_ratio_without_smooth_blur": without / others if set(names) - {SMOOTH_BLUR} else None,
    }


def measure_shared(case: Case, settings: Settings) -> Result:
    """Methods that share one pass, together, over that pass alone."""
    names = [name for name in SHARED if available(name)]
    together, bare = [], []
    explain(case, names, settings.seed)
    for _ in range(max(5, settings.repeats)):
        together.append(timed(lambda: explain(case, names, settings.seed), case.device)[0])
        bare.append(bare_pass_seconds(case))
    return rounded({"shared": {"methods": names}, "shared_pass_ratio": median(together) / median(bare)})
