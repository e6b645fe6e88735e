"""Our side: the method behind each row of the table, and maps by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cases import Case
from medsaliency.attribution import METHODS, make_method, sharing
from medsaliency.attribution.method import Method
from medsaliency.model.probe import Probe
from medsaliency.types import generator

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "integrated_gradients": ("integrated_gradients", {"tolerance": None}),  # at the peer's error; the default adds up
    "integrated_gradients_complete": ("integrated_gradients", {}),
    "score_cam_exact": ("score_cam", {"tolerance": None}),
    "xrai_fast": ("xrai", {"fast": True}),
    "hires_cam": ("hires_cam", {"sign": "positive"}),  # as its peer has it
}
"""Rows that are not a method with its defaults: the method and its parameters."""
AGAIN = {"integrated_gradients_complete": "integrated_gradients", "score_cam_exact": "score_cam"}
"""Rows that set other parameters of ours against what an earlier row measured of the peers."""


def ours(name: str) -> Method:
    """Our method behind a row of the table."""
    return make_method(*VARIANTS.get(name, (name, None)))


def available(name: str) -> bool:
    """Whether we have the method."""
    return VARIANTS.get(name, (name, None))[0] in METHODS


def in_order(names: Sequence[str]) -> dict[str, Method]:
    """The methods behind some rows, in the order in which they share most."""
    return sharing({name: ours(name) for name in names})


def probe_of(case: Case, count: int | None = None) -> Probe:
    """A new probe of the first ``count`` images, or all."""
    return Probe(case.classifier, case.images[:count], case.targets[:count])


def explain(case: Case, names: Sequence[str], seed: int, count: int | None = None) -> dict[str, Tensor]:
    """Maps of the first ``count`` images, or all, by each method, sharing one probe."""
    probe = probe_of(case, count)
    ids = case.ids[:count]
    return {name: method(probe, [generator(seed, i, name) for i in ids]) for name, method in in_order(names).items()}
