"""Metrics, one a file. To add one, write its file and a line in ``METRICS``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from medsaliency.evaluation.effective_fraction import EffectiveFraction
from medsaliency.evaluation.energy_in_lesion import EnergyInLesion
from medsaliency.evaluation.entropy import Entropy
from medsaliency.evaluation.evidence_curves import EvidenceCurves
from medsaliency.evaluation.gini import Gini
from medsaliency.evaluation.infidelity import Infidelity
from medsaliency.evaluation.information_curves import InformationCurves
from medsaliency.evaluation.insertion_deletion import InsertionDeletion
from medsaliency.evaluation.lesion_auprc import LesionAUPRC
from medsaliency.evaluation.lesion_overlap import LesionOverlap
from medsaliency.evaluation.metric import Metric
from medsaliency.evaluation.pointing_game import PointingGame
from medsaliency.evaluation.published_curves import PublishedCurves
from medsaliency.evaluation.relevance_mass import RelevanceMass
from medsaliency.evaluation.relevance_rank import RelevanceRank
from medsaliency.evaluation.road import ROAD
from medsaliency.types import MedsaliencyError, make

METRICS: dict[str, Callable[..., Metric]] = {
    "evidence_curves": EvidenceCurves,
    "information_curves": InformationCurves,
    "published_curves": PublishedCurves,
    "insertion_deletion": InsertionDeletion,
    "road": ROAD,
    "infidelity": Infidelity,
    "pointing_game": PointingGame,
    "lesion_auprc": LesionAUPRC,
    "relevance_mass": RelevanceMass,
    "relevance_rank": RelevanceRank,
    "energy_in_lesion": EnergyInLesion,
    "lesion_overlap": LesionOverlap,
    "gini": Gini,
    "entropy": Entropy,
    "effective_fraction": EffectiveFraction,
}
PLANAR = frozenset({"published_curves"})
"""Metrics that are defined in the plane only and refuse volumes."""


def make_metric(name: str, parameters: Mapping[str, Any] | None = None) -> Metric:
    """Build a metric by name with its parameters.

    Raises:
        MedsaliencyError: If the name or a parameter is unknown; the nearest known one is named.
    """
    return make("metric", METRICS, name, parameters)


def check_dimensions(metrics: Iterable[str], dimensions: int) -> None:
    """Make sure, before anything is computed, that metrics can score images of so many dimensions.

    Args:
        metrics: Names.
        dimensions: 2 for images, 3 for volumes.

    Raises:
        MedsaliencyError: If one is defined in the plane only and the images are volumes.
    """
    refused = sorted(PLANAR.intersection(metrics)) if dimensions == 3 else []
    if refused:
        raise MedsaliencyError(
            f"expected metrics that can score volumes, got {', '.join(refused)}, defined in the plane only; leave out"
        )
