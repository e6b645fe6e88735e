"""What a metric is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure, MedsaliencyError, Score

Scores = dict[str, list[Score]]
"""For each measure of a metric, one score an image of the batch."""


def check_maps(metric: str, probe: Probe, maps: Tensor) -> None:
    """Make sure that there is one map an image, on its pixels.

    Raises:
        MedsaliencyError: If the shape of ``maps`` is not (N, H, W), or (N, D, H, W), of the probe's images.
    """
    expected = (len(probe), *probe.images.shape[2:])
    if tuple(maps.shape) != expected:
        raise MedsaliencyError(
            f"{metric}: expected maps of shape {expected}, one an image and on its pixels, got {tuple(maps.shape)}"
        )


def check_rngs(metric: str, probe: Probe, rngs: Generators) -> None:
    """Make sure that there is one generator an image.

    Raises:
        MedsaliencyError: If there is not.
    """
    if len(rngs) != len(probe):
        raise MedsaliencyError(f"{metric}: expected one generator an image, {len(probe)}, got {len(rngs)}")


def check_display_range(metric: str, probe: Probe) -> None:
    """Make sure that images have an 8-bit form.

    Raises:
        MedsaliencyError: If a pixel lies outside [0, 1].
    """
    low, high = float(probe.images.min()), float(probe.images.max())
    if low < 0 or high > 1:
        raise MedsaliencyError(
            f"{metric}: expected images in display range [0, 1], got {low:.3g} to {high:.3g}; wrap the model in "
            "Classifier(..., mean=, std=) and give it images before normalization"
        )


def check_plane(metric: str, probe: Probe) -> None:
    """Make sure that images are no volumes.

    Raises:
        MedsaliencyError: If they are.
    """
    if probe.images.ndim != 4:
        raise MedsaliencyError(
            f"{metric}: expected images (N, C, H, W), got volumes of shape {tuple(probe.images.shape)}; it is defined "
            "in the plane only, leave it out"
        )


class Metric(Protocol):
    """Scores maps: a frozen dataclass whose fields are its parameters. One computation may give several measures."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures it gives, in order."""

    def __call__(self, probe: Probe, maps: Tensor, rngs: Generators) -> Scores:
        """Score (N, H, W) maps of the probe's N images, or (N, D, H, W) of volumes.

        Args:
            probe: The images, targets, lesions and the classifier.
            maps: One an image; a higher value means more important. Signed maps are ranked with their sign.
            rngs: One generator an image, the same for every method, so that all meet the same random choices.
        """
