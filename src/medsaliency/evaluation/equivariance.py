"""Equivariance: the map of a mirrored or shifted image, brought back, against the map of the image.

The question of Crabbé & van der Schaar 2023, arXiv:2304.06715, put to the symmetries that images nearly have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn import functional as F

from medsaliency.evaluation.check import Explain, compare, explain_again, mean_score
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.evaluation.similarity import Similarity, check_share, dice, spearman
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure, MedsaliencyError

Pair = tuple[Tensor, Tensor]
"""Maps (N, h, w) to be compared on the same places of the images."""


@dataclass(frozen=True)
class Equivariance:
    """Whether a map moves with the image: left and right mirrored, and shifted by a few pixels.

    Maps are compared with their sign, by rank correlation (consistency) and by the Dice coefficient of their highest
    pixels (overlap). Shifts go ``shift`` pixels down and right, and up and left, repeating the image's edge; a frame of
    ``shift`` pixels is left out on all sides and both shifts are averaged. Volumes are shifted along all three axes,
    those of one slice like images. Costs three explanations.

    Args:
        shift: Pixels of the model's grid, at least 1.
        share: Of the pixels, for the overlap, in (0, 1).

    Raises:
        MedsaliencyError: If a parameter is out of its range.
    """

    shift: int = 4
    share: float = 0.1

    def __post_init__(self) -> None:
        check_share("equivariance", self.share)
        if self.shift < 1:
            raise MedsaliencyError(f"equivariance: expected shift of 1 pixel or more, got {self.shift}")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``flip_consistency``, ``flip_overlap``, and likewise ``shift_``."""
        return tuple(
            Measure(
                f"{change}_{kind}",
                True,
                bounds,
                f"{what} of the map with that of the {image} image, brought back",
                "stability",
            )
            for change, image in (("flip", "mirrored"), ("shift", "shifted"))
            for kind, bounds, what in (
                ("consistency", (-1.0, 1.0), "Rank correlation"),
                ("overlap", (0.0, 1.0), "Dice of the highest pixels"),
            )
        )

    def __call__(self, probe: Probe, explain: Explain, maps: Tensor, rngs: Generators) -> Scores:
        """Four scores an image; nothing is drawn.

        Raises:
            MedsaliencyError: If nothing of an image is left inside the frame.
        """
        del rngs
        check_maps("equivariance", probe, maps)
        if 2 * self.shift >= min(maps.shape[-_shifted_axes(maps[0]) :]):
            size = " x ".join(map(str, maps.shape[1:]))
            raise MedsaliencyError(
                f"equivariance: expected a shift below half of the image's {size} pixels, got {self.shift}"
            )
        own = maps.detach().float().cpu()
        mirrored = explain_again("equivariance", explain, _moved(probe, probe.images.flip(-1)))
        changes = {"flip": [(own, mirrored.flip(-1))], "shift": list(self._shifted(probe, explain, own))}
        similarities: dict[str, Similarity] = {"consistency": spearman, "overlap": partial(dice, share=self.share)}
        return {
            f"{change}_{kind}": [
                mean_score(scores) for scores in zip(*(compare(similarity, *pair) for pair in pairs), strict=True)
            ]
            for change, pairs in changes.items()
            for kind, similarity in similarities.items()
        }

    def _shifted(self, probe: Probe, explain: Explain, own: Tensor) -> Iterator[Pair]:
        """For each shift the maps inside the frame, and the same places of the shifted images' maps."""
        frame, axes = self.shift, _shifted_axes(own[0])
        ends = (frame,) * (2 * axes) + (0,) * (2 * (own.ndim - 1 - axes))
        wide = F.pad(probe.images, ends, mode="replicate")
        for by in (frame, -frame):
            again = explain_again("equivariance", explain, _moved(probe, _window(wide, frame - by, frame, axes)))
            yield _window(own, frame, frame, axes), _window(again, frame + by, frame, axes)


def _shifted_axes(saliency: Tensor) -> int:
    """How many of the last axes of a map are shifted: all, but no slice out of a volume that has one."""
    return saliency.ndim - (saliency.ndim == 3 and len(saliency) == 1)


def _window(images: Tensor, start: int, frame: int, axes: int) -> Tensor:
    """What of (..., H, W) begins at ``start`` on each of the last axes and is two frames smaller."""
    for axis in range(-axes, 0):
        images = images.narrow(axis, start, images.shape[axis] - 2 * frame)
    return images


def _moved(probe: Probe, images: Tensor) -> Probe:
    return probe.others(images, range(len(probe)))
