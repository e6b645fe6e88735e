"""Training a classifier from scratch on images held in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import bfloat16_pays
from medsaliency.types import MedsaliencyError, Track, silent, torch_seed


@dataclass(frozen=True)
class Training:
    """How to train.

    AdamW with a one-cycle learning rate; flips and a small affine change of every image; the weights of the epoch
    with the lowest validation loss are kept.

    Args:
        epochs: At most.
        batch_size: Images a step.
        learning_rate: Peak of the cycle.
        weight_decay: AdamW's, on weights of two or more dimensions.
        label_smoothing: Share of the label spread over all classes.
        flip: Mirror left to right (the last axis) with probability 0.5. Not for tasks where the side matters.
        rotation: Degrees, at most, either way.
        zoom: Relative, at most, either way.
        shift: Share of the image's side, at most, either way.
        class_weights: Weigh the loss by the inverse class frequency (its square root, so that a rare class does not
            dominate).
        patience: Epochs without a lower validation loss after which training stops; counted from the second half of
            ``epochs`` on, when the learning rate falls.
        seed: Of order, augmentation and dropout.

    Raises:
        MedsaliencyError: If a value is out of its range.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    flip: bool = True
    rotation: float = 10.0
    zoom: float = 0.1
    shift: float = 0.05
    class_weights: bool = True
    patience: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        at_least_one = min(self.epochs, self.batch_size, self.patience) >= 1
        not_negative = min(self.weight_decay, self.rotation, self.zoom, self.shift) >= 0 and self.zoom < 1
        if not (at_least_one and not_negative and self.learning_rate > 0 and 0 <= self.label_smoothing < 1):
            raise MedsaliencyError(
                "training: expected epochs, batch_size and patience >= 1, learning_rate > 0, label_smoothing in [0, 1) "
                f"and zoom below 1, no negative weight_decay, rotation, zoom or shift, got {self}"
            )


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean losses, and the share of validation images classified correctly."""

    training_loss: float
    validation_loss: float
    validation_accuracy: float


def train(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    validation_images: Tensor,
    validation_labels: Tensor,
    how: Training,
    track: Track = silent,
    name: str = "training",
) -> list[Epoch]:
    """Train ``classifier.module`` in place and return the history, one entry an epoch.

    Args:
        classifier: Its preprocessing is applied; softmax output.
        images: (N, C, H, W) float32 in display range.
        labels: (N,) int64.
        validation_images: As ``images``, for early stopping.
        validation_labels: As ``labels``.
        how: Hyper-parameters.
        track: Shows progress, one item a step.
        name: What the progress is of.

    Raises:
        MedsaliencyError: If there are fewer than two images, the classifier's output is not softmax, or the loss stops
            being a number.
    """
    if classifier.output != "softmax":
        raise MedsaliencyError(f"training: expected a classifier with softmax output, got {classifier.output!r}")
    if len(images) < 2 or len(validation_images) < 1:
        raise MedsaliencyError(
            f"training: expected at least 2 training and 1 validation images, got {len(images)} and "
            f"{len(validation_images)}"
        )
    module, device = classifier.module, classifier.device
    decay = [p for p in module.parameters() if p.ndim > 1]
    no_decay = [p for p in module.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": how.weight_decay}, {"params": no_decay, "weight_decay": 0.0}],
        lr=how.learning_rate,
    )
    steps = max(1, len(images) // how.batch_size)
    # Of four steps the first quarter has none between its ends, and torch divides by that.
    total_steps = max(5, how.epochs * steps + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, how.learning_rate, total_steps=total_steps, pct_start=0.25
    )
    weights = _class_weights(labels, len(classifier.classes)).to(device) if how.class_weights else None
    history: list[Epoch] = []
    best, best_loss, since = deepcopy(module.state_dict()), math.inf, 0
    total = 0.0
    # Dropout and stochastic depth draw from the global generator: it is seeded here and put back afterwards.
    classifier.logits(validation_images[:1])  # settles the memory format that the module can take
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(how.seed, "dropout"))
        batches = _batches(len(images), how, steps)
        for step, (index, draw) in enumerate(track(batches, name, how.epochs * steps), start=1):
            module.train()
            batch = augment(images[index].to(device), how, draw)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_pays(device)):
                logits = module(classifier.prepare(batch))
            loss = F.cross_entropy(
                logits.float(), labels[index].to(device), weights, label_smoothing=how.label_smoothing
            )
            if not torch.isfinite(loss):
                raise MedsaliencyError(
                    f"training: the loss became {float(loss.detach())} at step {step}; lower training.learning_rate "
                    f"(now {how.learning_rate})"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
            if step % steps:
                continue
            validation_loss, accuracy = _validate(classifier, validation_images, validation_labels)
            history.append(Epoch(total / steps, validation_loss, accuracy))
            total = 0.0
            # While the learning rate is high the loss is expected to jump; waiting begins in the second half.
            since = since + 1 if 2 * len(history) > how.epochs else 0
            if validation_loss < best_loss:
                best, best_loss, since = deepcopy(module.state_dict()), validation_loss, 0
            if since >= how.patience:
                break
    module.load_state_dict(best)
    module.eval()
    return history


def _batches(count: int, how: Training, steps: int) -> Iterator[tuple[Tensor, torch.Generator]]:
    """Every epoch's batches of indices in a new order, with the generator that draws the augmentation."""
    order = torch.Generator().manual_seed(torch_seed(how.seed, "order"))
    draw = torch.Generator().manual_seed(torch_seed(how.seed, "augmentation"))
    for _ in range(how.epochs):
        permutation = torch.randperm(count, generator=order)
        for step in range(steps):
            yield permutation[step * how.batch_size : (step + 1) * how.batch_size], draw


def augment(images: Tensor, how: Training, draw: torch.Generator) -> Tensor:
    """Mirror, rotate, zoom and shift each image by its own small amount, (N, C, H, W) to the same shape.

    A volume is rotated about its first axis. What comes in from outside is black.
    """
    count = len(images)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, generator=draw) * 2 - 1) * limit

    angle = torch.deg2rad(uniform(how.rotation))
    zoom = 1 + uniform(how.zoom)
    shift_x, shift_y = uniform(2 * how.shift), uniform(2 * how.shift)
    mirror = torch.where(torch.rand(count, generator=draw) < 0.5, -1.0, 1.0) if how.flip else torch.ones(count)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    if images.ndim == 5:
        zero = torch.zeros(count)
        rows = [
            [cos * mirror, -sin, zero, shift_x],
            [sin * mirror, cos, zero, shift_y],
            [zero, zero, 1 / zoom, uniform(2 * how.shift)],
        ]
    else:
        rows = [[cos * mirror, -sin, shift_x], [sin * mirror, cos, shift_y]]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1).to(images.device)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def _class_weights(labels: Tensor, classes: int) -> Tensor:
    counts = torch.bincount(labels, minlength=classes).float().clamp(min=1)
    weights = counts.rsqrt()
    return weights / weights[labels].mean()


def _validate(classifier: Classifier, images: Tensor, labels: Tensor) -> tuple[float, float]:
    logits = classifier.logits(images).cpu()
    return float(F.cross_entropy(logits, labels)), float((logits.argmax(dim=1) == labels).float().mean())
