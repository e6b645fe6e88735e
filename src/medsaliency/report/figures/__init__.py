"""Figures for papers and for the report, one a file; each is drawn from the study's tables.

A figure has as many sheets as it needs, none taller than a page; without numbers it has none.
"""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from medsaliency.report.contents import Contents
from medsaliency.report.figures import (
    controls,
    cost,
    critical_difference,
    distributions,
    information_curves,
    method_agreement,
    metric_agreement,
    mixed_model,
    networks,
    sanity,
    steps,
)

Draw = Callable[[Contents], list[Figure]]

FIGURES: dict[str, Draw] = {
    "distributions": distributions.draw,
    "critical_difference": critical_difference.draw,
    "controls": controls.draw,
    "steps": steps.draw,
    "information_curves": information_curves.draw,
    "sanity": sanity.draw,
    "metric_agreement": metric_agreement.draw,
    "method_agreement": method_agreement.draw,
    "networks": networks.draw,
    "mixed_model": mixed_model.draw,
    "cost": cost.draw,
}
