"""A batch of images put in front of one classifier, with what several methods need computed lazily and once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import most_images
from medsaliency.model.grids import pixels
from medsaliency.model.passes import Features, Pass
from medsaliency.model.targets import Logit, Target, Targets
from medsaliency.types import Geometry, MedsaliencyError

T = TypeVar("T")


class Probe:
    """Images, one target each, and one classifier.

    Gradients and features of the images themselves come from one shared pass. Methods that look at other images (noisy
    copies, points of a path, masked images) ask :meth:`scores` and :meth:`gradients`.

    Args:
        classifier: Explains itself.
        images: (N, C, H, W) float32 in display range.
        targets: What is explained of each image: class indices or target objects
            (:mod:`medsaliency.model.targets`); None explains the predicted class.
        lesions: One (H, W) bool tensor, of a volume (D, H, W), or None an image, for metrics that compare with the
            truth; None for no masks.
        geometries: The way back to each image's native pixels. Where given, lesions are on native pixels, each of its
            geometry's ``native_size``.

    Raises:
        MedsaliencyError: If the numbers or shapes of images, targets, lesions and geometries differ.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Targets | None = None,
        lesions: Sequence[Tensor | None] | None = None,
        *,
        geometries: Sequence[Geometry] | None = None,
    ) -> None:
        self.classifier = classifier
        self.images = images.to(classifier.device, torch.float32)
        self._objects = None if targets is None else classifier.as_targets(targets, len(images))
        self.lesions: tuple[Tensor | None, ...] = (None,) * len(images) if lesions is None else tuple(lesions)
        if len(self.lesions) != len(images):
            raise MedsaliencyError(f"expected a lesion mask or None an image, {len(images)}, got {len(self.lesions)}")
        self.geometries: tuple[Geometry | None, ...] = (
            (None,) * len(images) if geometries is None else tuple(geometries)
        )
        if len(self.geometries) != len(images):
            raise MedsaliencyError(f"expected a geometry an image, {len(images)}, got {len(self.geometries)}")
        for i, (lesion, geometry) in enumerate(zip(self.lesions, self.geometries, strict=True)):
            kind, size = ("image's", images.shape[2:]) if geometry is None else ("native", geometry.native_size)
            if lesion is not None and tuple(lesion.shape) != tuple(size):
                raise MedsaliencyError(
                    f"lesion mask {i}: expected the {kind} size {tuple(size)}, got {tuple(lesion.shape)}"
                )
        self._logits: Tensor | None = None
        self._input_gradients: Tensor | None = None
        self._features: Features | None = None
        self._once: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def logits(self) -> Tensor:
        """(N, K) float32."""
        if self._logits is None:
            self._logits = self.classifier.logits(self.images)
        return self._logits

    @property
    def probabilities(self) -> Tensor:
        """(N, K) float32."""
        return self.classifier.to_probabilities(self.logits)

    @property
    def objects(self) -> tuple[Target, ...]:
        """What is explained of each image, as target objects."""
        if self._objects is None:
            self._objects = _predicted(self.logits)
        return self._objects

    @cached_property
    def targets(self) -> Tensor:
        """(N,) int64, the class that each image's target speaks for."""
        return torch.tensor([target.index for target in self.objects], device=self.images.device)

    @property
    def input_gradients(self) -> Tensor:
        """Gradient of each target with respect to its image, (N, C, H, W) float32.

        Where the classifier knows its target layer, the features come from the same pass.
        """
        if self._input_gradients is None:
            self._keep(
                self.classifier.backward(
                    self.images,
                    self._objects or _predicted,
                    to_layer=self.classifier.known_target_layer is not None,
                )
            )
        assert self._input_gradients is not None  # noqa: S101 - just kept
        return self._input_gradients

    @property
    def features(self) -> Features:
        """The target layer's activations and gradients; asked for first, they cost a backward pass down to it only."""
        if self._features is None:
            self._keep(
                self.classifier.backward(self.images, self._objects or _predicted, to_input=False, to_layer=True)
            )
        assert self._features is not None  # noqa: S101 - just kept
        return self._features

    @property
    def together(self) -> int:
        """Images of this size that go into one pass: how many copies or masks a method makes at a time."""
        return min(self.classifier.batch_size, most_images(self.classifier.device, pixels(self.images)))

    @property
    def own_scores(self) -> Tensor:
        """Score (N,) float32 of each image by its own target."""
        return self.classifier.score(self.objects, self.logits)

    @cached_property
    def _fast(self) -> Classifier:
        """What runs the many passes: the classifier as it is when they begin."""
        return self.classifier.folded(self.images)

    def _running(self, precise: bool) -> Classifier:
        return self.classifier if precise else self._fast

    def scores(self, points: Tensor, owners: Sequence[int], *, precise: bool = False) -> Tensor:
        """Score (P,) float32 of P images (P, C, H, W), each by the target of the image that owns it.

        Args:
            points: Images in display range, on any device.
            owners: Index into this probe's images, one a point.
            precise: Run the module itself in float32: for scores that differ by little.
        """
        return self._running(precise).scores(points, [self.objects[i] for i in owners], precise=precise)

    def gradients(self, points: Tensor, owners: Sequence[int], *, precise: bool = False) -> tuple[Tensor, Tensor]:
        """Score (P,) and its gradient (P, C, H, W) by each of P images, float32, each by its owner's target.

        Args:
            points: (P, C, H, W) in display range, on any device.
            owners: Index into this probe's images, one a point.
            precise: Run the module itself in float32: for gradients that are not averaged.
        """
        classifier = self._running(precise)
        return classifier.scores_and_gradients(points, [self.objects[i] for i in owners], precise=precise)

    def logits_of(self, points: Tensor, *, precise: bool = False) -> Tensor:
        """Logits (P, K) float32 of P other images (P, C, H, W), from the copy that does it with less work.

        For metrics, which follow a class whatever was explained of it.

        Args:
            points: Images in display range, on any device.
            precise: In float32, whatever the execution says of scores.
        """
        return self._fast.logits(points, precise=precise)

    def probabilities_of(self, points: Tensor, *, precise: bool = False) -> Tensor:
        """Probabilities (P, K) of P other images (P, C, H, W), as :meth:`logits_of`."""
        return self.classifier.to_probabilities(self.logits_of(points, precise=precise))

    def scores_from_layer(self, activations: Tensor, owner: int) -> Tensor:
        """Score (P,) of one image, had its target layer put out each of ``activations`` (P, K, h, w)."""
        return self.classifier.scores_from_layer(self.images[owner : owner + 1], activations, self.objects[owner])

    def others(self, images: Tensor, owners: Sequence[int]) -> Probe:
        """A probe of other images (P, C, H, W), each with its owner's target, that shares what runs the many passes."""
        other = Probe(self.classifier, images, [self.objects[i] for i in owners])
        other.__dict__["_fast"] = self._fast
        return other

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, computed once for all methods that ask for the same ``key``."""
        if key not in self._once:
            self._once[key] = compute()
        found: T = self._once[key]
        return found

    def _keep(self, found: Pass) -> None:
        self._logits = found.logits
        self._objects = found.targets
        if found.input_gradients is not None:
            self._input_gradients = found.input_gradients
        if found.features is not None:
            self._features = found.features


def _predicted(logits: Tensor) -> tuple[Target, ...]:
    return tuple(Logit(index) for index in logits.argmax(dim=1).tolist())
