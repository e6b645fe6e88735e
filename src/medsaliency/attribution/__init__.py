"""Attribution methods, one a file. To add one, write its file and a line in ``METHODS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medsaliency.attribution.edge import Edge
from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.attribution.method import Method
from medsaliency.attribution.random_map import RandomMap
from medsaliency.attribution.score_cam import ScoreCAM
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.types import make

METHODS: dict[str, Callable[..., Method]] = {
    "gradient": Gradient,
    "smoothgrad": SmoothGrad,
    "integrated_gradients": IntegratedGradients,
    "grad_cam": GradCAM,
    "grad_cam_plus_plus": GradCAMPlusPlus,
    "score_cam": ScoreCAM,
    "random": RandomMap,
    "edge": Edge,
}

CONTROLS = frozenset({"random", "edge"})
"""Maps that explain nothing, against which the others are measured."""


def make_method(name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """Build a method by name with its hyper-parameters.

    Raises:
        MedsaliencyError: If the name or a parameter is unknown; the nearest known one is named.
    """
    return make("method", METHODS, name, parameters)
