"""What a comparison of runs is made of: tables, no model and no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from medsaliency.types import Measure

ACCURACY: Final = "accuracy"
"""The metric of the rows of ``differences`` that compare the models; its method is empty."""
COLUMNS = {
    "facts": "fact run value",
    "left_out": "kind name runs",
    "settings": "kind name setting run value",
    "pairs": "run other reason images patients other_class",
    "means": "run method metric images mean low high",
    "differences": "run other metric method paired patients images difference low high p p_corrected verdict "
    "detectable reason",
    "rankings": "run other metric methods tau low high reason",
    "trust": "run method criterion verdict",
}
"""The columns of each table of :class:`Comparison`."""


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, each by its columns' names."""
    return [{str(key): cell for key, cell in row.items()} for row in table.to_dict("records")]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two or more runs side by side. A run is named by its letter: A the first, B the second.

    Args:
        runs: The studies' names by their letters.
        facts: One row a fact x run, in order: data, model, seeds, sizes.
        left_out: What not every run has: kind ("method", "measure"), name, runs (the letters that have it).
        settings: One row a setting that differs x run: kind ("study", "method", "metric", "check"), name (of the
            method, ...; empty for the study), setting, value; only of the runs that have it.
        pairs: One row for every two runs: reason (why their images are not the same; empty where they are), images
            and patients explained in both, other_class (on how many of those another class was explained).
        performance: Of each run, ``statistics/performance.json``.
        means: One row a run x method x measure that all runs have: mean over the run's images, with its interval.
        differences: One row a pair x metric x method: ``difference`` is other less run, on the same images where
            ``paired``; ``verdict`` is "higher", "lower" or "not shown", of ``other``, and empty where no test was made,
            with a reason. ``p_corrected`` is over all rows.
        rankings: One row a pair x measure: Kendall's tau of the methods' means.
        trust: One row a run x method x criterion: "pass", "fail" or "not shown".
        measures: What the measures in common mean, those read first in front.
        headlines: Those of the measures that are read first, at least one.
        controls: Methods that explain nothing.
        primary: The measure that must beat controls for a method to be relied on, of each run.
        statistics: ``level``, ``alpha``, ``draws`` and ``permutations`` of this comparison.
    """

    runs: Mapping[str, str]
    facts: pd.DataFrame
    left_out: pd.DataFrame
    settings: pd.DataFrame
    pairs: pd.DataFrame
    performance: Mapping[str, Mapping[str, Any]]
    means: pd.DataFrame
    differences: pd.DataFrame
    rankings: pd.DataFrame
    trust: pd.DataFrame
    measures: Mapping[str, Measure]
    headlines: Sequence[str]
    controls: frozenset[str]
    primary: Mapping[str, str]
    statistics: Mapping[str, float]

    @property
    def coverage(self) -> str:
        """The coverage that intervals of differences aim at, "95%"."""
        return f"{100 * self.statistics['level']:.4g}%"

    @property
    def methods(self) -> list[str]:
        """Those that all runs have, explanations before controls."""
        names = list(dict.fromkeys(str(name) for name in self.means["method"]))
        return sorted(names, key=lambda name: name in self.controls)

    @property
    def explanations(self) -> list[str]:
        """The methods that are no controls."""
        return [name for name in self.methods if name not in self.controls]

    def card(self, run: str) -> dict[str, dict[str, str]]:
        """The trust card of one run: for each method its verdict by criterion."""
        found: dict[str, dict[str, str]] = {}
        rows = self.trust[self.trust["run"] == run]
        for method, criterion, verdict in zip(rows["method"], rows["criterion"], rows["verdict"], strict=True):
            found.setdefault(str(method), {})[str(criterion)] = str(verdict)
        return found
