"""What the checks look at: a classifier, a few images of each class, and what its module makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from medsaliency.data.dataset import EVALUATION, Dataset, Record
from medsaliency.data.geometry import Fit, Size
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import out_of_memory, over_micro_batches, serving
from medsaliency.model.grids import pixels
from medsaliency.types import MedsaliencyError

T = TypeVar("T")
SIDE = 224
"""Pixels a side where neither the checkpoint nor the caller says."""


@dataclass(frozen=True)
class Subject:
    """A classifier and the images by which it is examined.

    Args:
        classifier: As opened.
        images: (N, C, H, W) float32 in display range, of all classes in turn.
        labels: (N,) int64, index into ``data_classes``.
        data_classes: Names of the data set's classes.
    """

    classifier: Classifier
    images: Tensor
    labels: Tensor
    data_classes: tuple[str, ...]
    _once: dict[str, Any] = field(default_factory=dict, repr=False)

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, computed once for all checks that ask for the same ``key``."""
        if key not in self._once:
            self._once[key] = compute()
        found: T = self._once[key]
        return found

    @property
    def module(self) -> nn.Module:
        """What is examined."""
        return self.classifier.module

    @property
    def name(self) -> str:
        """The model, in messages."""
        return self.classifier.name

    @cached_property
    def few(self) -> Tensor:
        """The first images, at most four: for what takes a backward pass."""
        return self.images[:4]

    @cached_property
    def outputs(self) -> Tensor:
        """What the module puts out, (N, ...), in eval mode; nothing is checked."""
        return self.run(self.classifier.prepare(self.images))

    def run(self, prepared: Tensor) -> Tensor:
        """What the module makes of preprocessed images, in eval mode, in micro-batches, without gradients.

        Raises:
            MedsaliencyError: If it raises, or puts out something else than a tensor, or memory does not suffice.
        """
        return torch.cat(self.in_parts(prepared, self.run_once))

    def in_parts(self, prepared: Tensor, run: Callable[[Tensor], T]) -> list[T]:
        """What ``run`` gives for each micro-batch of preprocessed images.

        Raises:
            MedsaliencyError: If memory does not suffice for a single image; see :func:`lacks_memory`.
        """
        return over_micro_batches(self.classifier, len(prepared), pixels(prepared), lambda part: run(prepared[part]))

    def run_once(self, prepared: Tensor) -> Tensor:
        """As :meth:`run`, all images in one pass.

        Raises:
            MedsaliencyError: If the module raises, or puts out something else than a tensor.
            RuntimeError: Torch's own, if memory does not suffice.
        """
        with serving(self.module), torch.no_grad():
            try:
                output = self.call(prepared)
            except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
                if lacks_memory(error):
                    raise
                raise MedsaliencyError(
                    f"an error for images {tuple(prepared.shape)}: {' '.join(str(error).split())[:200]}"
                ) from error
        if not isinstance(output, Tensor):
            raise MedsaliencyError(f"{type(output).__name__} for images {tuple(prepared.shape)}")
        return output.float()

    def call(self, prepared: Tensor) -> object:
        """What the module puts out for preprocessed images, in the memory format in which the classifier runs it."""
        arranged = prepared.contiguous(memory_format=self.classifier.execution.format(prepared.ndim))
        return self.classifier._run(arranged, [], low=False)

    @cached_property
    def answers(self) -> Tensor | None:
        """(N,) int64, the label of each image as index of the model's output; None where they do not correspond."""
        own = self.classifier.classes
        if self.classifier.output == "sigmoid":
            return None
        if set(own) == set(self.data_classes):
            return torch.tensor([own.index(self.data_classes[label]) for label in self.labels.tolist()])
        return self.labels if len(own) == len(self.data_classes) else None

    def right(self, outputs: Tensor) -> Tensor | None:
        """(n,) bool, whether outputs (n, K) of the first images name their labels; None where that cannot be told."""
        if self.answers is None:
            return None
        single = self.classifier.output == "single_logit"
        predicted = (outputs.flatten() > 0).long() if single else outputs.argmax(dim=1)
        return predicted.cpu() == self.answers[: len(outputs)]


def subject(classifier: Classifier, dataset: Dataset, *, images: int = 32, size: Size | None, fit: Fit) -> Subject:
    """Read a few images of each class, of the evaluation split where the data set names one that has enough.

    Args:
        classifier: Says channels and, where it knows it, the size.
        dataset: As opened.
        images: About how many in all; at least two of each class where there are two.
        size: Of the model's grid where the classifier does not know it; None for 224 pixels a side.
        fit: How images are brought to its proportions.

    Raises:
        MedsaliencyError: If there are no images, or one cannot be read.
    """
    each = max(2, -(-images // max(1, len(dataset.classes))))
    labels = sorted({record.label for record in dataset.records})
    evaluation = [[r for r in dataset.of(EVALUATION) if r.label == label] for label in labels]
    whole = [[r for r in dataset.records if r.label == label] for label in labels]
    source = evaluation if all(len(own) >= each for own in evaluation) else whole
    by_class = [_spread(own, each) for own in source]
    records = [own[i] for i in range(each) for own in by_class if i < len(own)]
    if not records:
        raise MedsaliencyError(f"{dataset.name}: expected images to examine a model with, got none; check the path")
    grid = classifier.size or size or SIDE
    samples = dataset.samples(records, grid, classifier.channels, fit=fit)
    return Subject(
        classifier,
        torch.stack([torch.from_numpy(sample.image) for sample in samples]),
        torch.tensor([record.label for record in records]),
        dataset.classes,
    )


@contextmanager
def borrowed(classifier: Classifier) -> Iterator[Classifier]:
    """The classifier to be examined in the place of another, of which nothing is changed after the block.

    What is found of a layer, a micro-batch or a memory format stays with it. They share the module, whose memory format
    and buffers are put back: batch normalizations that stay in training mode write into theirs.
    """
    own = copy(classifier)
    own._unfolded = None  # else told of a smaller micro-batch
    before = [(buffer, buffer.clone()) for buffer in classifier.module.buffers()]
    try:
        yield own
    finally:
        with torch.no_grad():
            for buffer, value in before:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
        if own.execution.memory_format != classifier.execution.memory_format:
            classifier.execution.arrange(classifier.module)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error, or the one that it was raised from, says that memory does not suffice, which is no finding."""
    return any(isinstance(each, RuntimeError) and out_of_memory(each) for each in (error, error.__cause__))


def _spread(records: Sequence[Record], count: int) -> list[Record]:
    """So many of the records, evenly over their ids, that is over patients and folders."""
    ordered = sorted(records, key=lambda record: record.id)
    if len(ordered) <= count:
        return ordered
    return [ordered[i * len(ordered) // count] for i in range(count)]
