"""A batch of images put in front of one classifier, with what several methods need computed lazily and once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from medsaliency.model.classifier import Classifier, Features
from medsaliency.types import MedsaliencyError


class Probe:
    """Images, one target each, and one classifier.

    Args:
        classifier: Explains itself.
        images: (N, C, H, W) float32 in display range.
        targets: (N,) int64, the class explained in each image; None explains the predicted one.
        lesions: One (H, W) bool tensor or None an image, for metrics that compare with the truth; None for no masks.

    Raises:
        MedsaliencyError: If the numbers or shapes of images, targets and lesions differ.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor | Sequence[int] | None = None,
        lesions: Sequence[Tensor | None] | None = None,
    ) -> None:
        self.classifier = classifier
        self.images = images.to(classifier.device, torch.float32)
        if targets is None:
            targets = self.logits.argmax(dim=1)
        targets = torch.as_tensor(targets, device=classifier.device)
        if targets.is_floating_point():
            raise MedsaliencyError(f"expected whole numbers as targets (class indices), got {targets.dtype}")
        self.targets = targets.to(torch.int64)
        if self.targets.shape != (len(images),):
            raise MedsaliencyError(
                f"expected one target an image, {len(images)} in all, got shape {tuple(self.targets.shape)}"
            )
        wrong = ((self.targets < 0) | (self.targets >= len(classifier.classes))).nonzero().flatten().tolist()
        if wrong:
            raise MedsaliencyError(
                f"target of image {wrong[0]}: expected 0 to {len(classifier.classes) - 1}, a class of the model, got "
                f"{int(self.targets[wrong[0]])}"
            )
        self.lesions: tuple[Tensor | None, ...] = (None,) * len(images) if lesions is None else tuple(lesions)
        if len(self.lesions) != len(images):
            raise MedsaliencyError(f"expected a lesion mask or None an image, {len(images)}, got {len(self.lesions)}")
        for i, lesion in enumerate(self.lesions):
            if lesion is not None and lesion.shape != images.shape[2:]:
                raise MedsaliencyError(
                    f"lesion mask {i}: expected the image's size {tuple(images.shape[2:])}, got {tuple(lesion.shape)}"
                )
        self._input_gradients: Tensor | None = None
        self._features: Features | None = None

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def logits(self) -> Tensor:
        """(N, K) float32."""
        return self.classifier.logits(self.images)

    @property
    def probabilities(self) -> Tensor:
        """(N, K) float32."""
        return self.classifier.to_probabilities(self.logits)

    @property
    def input_gradients(self) -> Tensor:
        """Gradient of each target logit with respect to its image, (N, C, H, W) float32.

        Where the classifier knows its target layer, the features come from the same pass.
        """
        if self._input_gradients is None and self.classifier.known_target_layer is not None:
            both = self.classifier.input_gradients_and_features(self.images, self.targets)
            self._input_gradients, self._features = both
        elif self._input_gradients is None:
            self._input_gradients = self.classifier.input_gradients(self.images, self.targets)
        return self._input_gradients

    @property
    def features(self) -> Features:
        """The target layer's activations and gradients; the same pass gives the input gradients."""
        if self._features is None:
            if self._input_gradients is None:
                both = self.classifier.input_gradients_and_features(self.images, self.targets)
                self._input_gradients, self._features = both
            else:
                self._features = self.classifier.features(self.images, self.targets)
        return self._features
