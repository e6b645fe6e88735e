"""What is exported of one image: its maps on native pixels, what the model said, and how well the maps scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from medsaliency.types import FloatArray, MedsaliencyError


@dataclass(frozen=True)
class Explanation:
    """One explained image, or volume, with its maps.

    Nothing here comes from the header of a file: no identifier of a patient passes through.

    Args:
        sample: What the image is called.
        number: Its place among the images explained with it, from 1.
        image: (C, H, W) or (C, D, H, W) float32 in [0, 1], on native pixels.
        maps: Of each method, (H, W) or (D, H, W) float32, on the same pixels.
        methods: The ``repr`` of each method, which holds its parameters.
        classes: Names of the model's outputs.
        probabilities: Of each class.
        target: Index of the explained class.
        explains: What is explained of it, as the target object's ``repr``: ``Logit(index=1)``.
        architecture: Of the model.
        weights: SHA-256 of the model's weights.
        version: Of the software that made the maps.
        seed: Of the study.
        scores: Of each method, for each measure its value and, where that is NaN, the reason.
        spacing: Distance of pixel centers along each native axis, or None where unknown.
        digests: SHA-256 of each of the original's files, which tells it from others of the same identifiers.

    Raises:
        MedsaliencyError: If a map is not finite, or has another size than the image.
    """

    sample: str
    number: int
    image: FloatArray
    maps: Mapping[str, FloatArray]
    methods: Mapping[str, str]
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    target: int
    explains: str
    architecture: str
    weights: str
    version: str
    seed: int = 0
    scores: Mapping[str, Mapping[str, tuple[float, str]]] = field(default_factory=dict)
    spacing: tuple[float, ...] | None = None
    digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for method, saliency in self.maps.items():
            if saliency.shape != self.image.shape[1:]:
                raise MedsaliencyError(
                    f"{self.sample}: expected a map of {method} on the image's own pixels {self.image.shape[1:]}, got "
                    f"{saliency.shape}; explain the image again"
                )
            if not np.isfinite(saliency).all():
                raise MedsaliencyError(
                    f"{self.sample}: expected finite values in the map of {method}, got NaN or infinity; leave it out "
                    "with --methods"
                )

    @property
    def predicted(self) -> int:
        """Index of the most probable class."""
        return int(np.argmax(self.probabilities))

    def slices(self, method: str) -> FloatArray:
        """The map of a method as slices (D, H, W); an image has one."""
        saliency = self.maps[method]
        return saliency if saliency.ndim == 3 else saliency[None]

    def pictures(self) -> FloatArray:
        """The image as slices (C, D, H, W); an image has one."""
        return self.image if self.image.ndim == 4 else self.image[:, None]
