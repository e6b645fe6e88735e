"""The parts of which a shard's results are made, each with a key of what decides its numbers.

A part is what one method, or one metric or check of one method's maps, gives for the images of a shard. A part whose
key is still the same need not be computed again: that is how a study goes on, and how it takes a new method.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, NamedTuple

from medsaliency.attribution import make_method
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.checks import make_check
from medsaliency.evaluation.data_randomization import DataRandomization
from medsaliency.statistics.controls import RANDOM
from medsaliency.study.config import Study

Kind = Literal["method", "metric", "check", "repeat", "draw"]


class Cell(NamedTuple):
    """One part.

    Args:
        kind: "method" (its maps), "metric" or "check" (of a method's maps), "repeat" (a metric of the same maps with
            other random choices) or "draw" (a metric of another random map).
        name: Of the method, metric or check.
        method: Whose maps they are.
        time: Which repetition or draw, from 1; 0 for others.
    """

    kind: Kind
    name: str
    method: str
    time: int = 0

    @property
    def id(self) -> str:
        """As the ledger and the tables of shards name it."""
        return "/".join((self.kind, self.name, self.method, str(self.time)))

    @classmethod
    def of(cls, text: str) -> Cell:
        """The cell of an :attr:`id`."""
        kind, name, method, time = text.split("/")
        return cls(kind, name, method, int(time))  # type: ignore[arg-type]


def cells_of(study: Study) -> list[Cell]:
    """Every part of a study's shards, in the order of work."""
    methods, metrics = list(study.explain.methods), list(study.evaluate.metrics)
    return [
        *(Cell("method", name, name) for name in methods),
        *(Cell("metric", name, method) for name in metrics for method in methods),
        *(Cell("check", name, method) for name in study.evaluate.checks for method in methods),
        *(
            Cell("repeat", name, method, time)
            for name in metrics
            for time in range(1, study.evaluate.repeats)
            for method in methods
        ),
        *(Cell("draw", name, RANDOM, time) for time in range(1, 1 + further_draws(study)) for name in metrics),
    ]


def further_draws(study: Study) -> int:
    """How many random maps an image are scored beside the one that is kept: none without the control ``random``."""
    return study.evaluate.random_draws - 1 if RANDOM in study.explain.methods else 0


def recipes(study: Study, permuted: str | None = None) -> dict[Cell, str]:
    """A key of each part: SHA-256 of the parameters of the method, metric or check behind it.

    Args:
        study: Its configuration.
        permuted: Fingerprint of the weights of the network trained on permuted labels, where a check compares with it.
    """
    explain, evaluate = study.explain, study.evaluate
    methods = {name: repr(make_method(name, given)) for name, given in explain.methods.items()}
    metrics = {name: repr(make_metric(name, given)) for name, given in evaluate.metrics.items()}
    checks: dict[str, str] = {}
    for name, given in evaluate.checks.items():
        check = make_check(name, given)
        # Where the other network lies changes no number; which one it is does.
        checks[name] = f"{check!r} {permuted}" if isinstance(check, DataRandomization) else repr(check)
    scorers: dict[str, dict[str, str]] = {"metric": metrics, "repeat": metrics, "draw": metrics, "check": checks}
    return {
        cell: digest([methods[cell.method], scorers.get(cell.kind, {}).get(cell.name), cell.time])
        for cell in cells_of(study)
    }


def digest(content: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
