"""What is measured on: real images, and a network that has learnt a little from others of the same kind.

No weights are downloaded. A network of random weights has gradients and feature maps unlike those of a trained one, so
each is trained for a few steps on the training images, and kept in a cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medsaliency.data import open_source
from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset
from medsaliency.data.splits import split
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.hooks import layer_of
from medsaliency.model.training import Training, train
from medsaliency.model.tuning import Tuning, tune
from medsaliency.model.zoo import build
from medsaliency.study.explaining import select

BATCH = 16
"""Images of a training step."""


def _option(default: Any, text: str, choices: Sequence[str] | None = None) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """All that the numbers depend on besides the machine, the networks and the images; each is an option."""

    size: int = _option(224, "pixels a side")
    channels: int = _option(3, "of the input; gray is repeated")
    images: int = _option(2, "images that ours explains in one batch, and a peer as it is used")
    repeats: int = _option(3, "times of each, of which the median counts")
    peer_images: int = _option(1, "images for a peer that is slow (above 10 s an image)")
    slow_repeats: int = _option(1, "times of a slow peer, and of ours where it is slow itself")
    device: str = _option("cpu", "where it runs", ("cpu", "cuda"))
    batch_size: int = _option(16, "images in a pass of the peers' Score-CAM, Ablation-CAM and occlusion")
    pair_batch_size: int = _option(20, "of PAIR's path methods, which take 1 by default and 20 in their examples")
    exact: bool = _option(False, "keep our passes in float32 where bfloat16 would be tuned to")
    train_steps: int = _option(60, f"steps of training, {BATCH} images each")
    train_size: int = _option(112, "pixels a side in training")
    reference_samples: int = _option(200, "noisy copies of an image behind a reference of the smoothed methods")
    reference_steps: int = _option(300, "points of a path behind a reference of the path methods")
    seed: int = _option(0, "of training, the choice of images and all noise")
    without_smooth_blur: bool = _option(False, "leave out smoothed Blur IG, which takes a peer 2500 passes an image")


class Preprocessed(nn.Module):
    """The function that our classifier explains as a plain module, for peers: normalization, then the network."""

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W) in display range."""
        return self.net((images - self.mean) / self.std)


@dataclass(frozen=True)
class Case:
    """A network, as ours and the peers see it, and the images and classes that it is asked about.

    Args:
        name: Of the architecture.
        classifier: Ours.
        plain: The same weights in the plain memory format, for peers and references.
        layer: Target layer, by its name in the classifier's module.
        images: (N, C, H, W) in display range, on the device.
        ids: Of the images.
        targets: The class predicted of each, which everyone explains.
        tuned: How ours runs it, and what was measured to find out.
    """

    name: str
    classifier: Classifier
    plain: Preprocessed
    layer: str
    images: Tensor
    ids: tuple[str, ...]
    targets: list[int]
    tuned: Tuning

    @property
    def plain_layer(self) -> nn.Module:
        """The target layer in ``plain``."""
        return layer_of(self.plain.net, self.layer)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.classifier.device

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights and the preprocessing."""
        digest = hashlib.sha256()
        for name, values in self.plain.state_dict().items():
            digest.update(name.encode() + values.cpu().numpy().tobytes())
        return digest.hexdigest()


def default_folders() -> list[Path]:
    """The folders of real images beside the repository, those that exist."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    return [folder for folder in (shared / "brain-mri", shared / "chest-xray") if folder.is_dir()]


def open_data(folders: Sequence[Path], settings: Settings) -> list[Dataset]:
    """The data sets with all splits, or the sandbox where no folder is given."""
    sources = [open_source(folder) for folder in folders] or [open_source(kind="sandbox", size=settings.size)]
    return [split(source, seed=settings.seed) for source in sources]


def make_case(
    name: str, data: Sequence[Dataset], settings: Settings, cache: Path, checkpoints: Sequence[Path] = ()
) -> Case:
    """The network of that name, from the first checkpoint of it, from the cache or trained now, and images for it."""
    given = [c for c in (checkpoint.load(folder, device=settings.device) for folder in checkpoints) if c.name == name]
    classifier = given[0] if given else _trained(name, data, settings, cache)
    images, _, ids = _read(data, EVALUATION, settings.images, settings.size, classifier.channels, settings.seed)
    images = images.to(classifier.device)
    tuned = tune(classifier, images, exact=settings.exact, cache=cache / "tuning")
    plain = Preprocessed(deepcopy(classifier.module), classifier.mean, classifier.std)
    plain = plain.eval().to(memory_format=torch.contiguous_format)
    targets = classifier.logits(images).argmax(dim=1).tolist()
    return Case(name, classifier, plain, classifier.target_layer(images), images, ids, targets, tuned)


def _trained(name: str, data: Sequence[Dataset], settings: Settings, cache: Path) -> Classifier:
    """A network that tells all classes of all data sets apart, as far as a few steps teach it."""
    size, channels, steps = settings.train_size, settings.channels, settings.train_steps
    source = "+".join(dataset.name for dataset in data)
    folder = cache / "models" / f"{name}-{channels}ch-{source}-{size}px-{steps}x{BATCH}-seed{settings.seed}"
    if folder.is_dir():
        return checkpoint.load(folder, device=settings.device)
    images, labels, _ = _read(data, TRAINING, max(2, steps) * BATCH, size, channels, settings.seed)
    classes = [f"{dataset.name} {title}" for dataset in data for title in dataset.classes]
    classifier = Classifier(
        build(name, classes=len(classes), channels=channels, seed=settings.seed),
        classes,
        mean=float(images.mean()),
        std=float(images.std()),
        channels=channels,
        device=settings.device,
        name=name,
    )
    if steps:
        epochs = -(-steps * BATCH // len(images))
        validation, truth, _ = _read(data, VALIDATION, 2 * BATCH, size, channels, settings.seed)
        how = Training(epochs=epochs, batch_size=BATCH, learning_rate=1e-3, seed=settings.seed)
        train(classifier, images, labels, validation, truth, how)
    checkpoint.save(classifier, folder, architecture=name, trained_on={"data": source, "steps": steps, "size": size})
    return classifier


def _read(
    data: Sequence[Dataset], which: str, count: int, size: int, channels: int, seed: int
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """At most ``count`` images, labels over all data sets and ids: as many of each set, and of each of its classes."""
    images, labels, ids = [], [], []
    offset = 0
    for number, dataset in enumerate(data):
        share = count // len(data) + (number < count % len(data))
        for sample in dataset.samples(select(dataset.of(which), share, seed), size, channels):
            images.append(sample.image)
            labels.append(offset + sample.label)
            ids.append(f"{dataset.name}/{sample.id}")
        offset += len(dataset.classes)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels), tuple(ids)
