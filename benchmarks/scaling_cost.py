"""What one image of a study costs: passes of the model, their floating-point operations, and the processor's own work.

Passes are counted in a run of the very methods and metrics, at a small size: their number does not depend on it.
Operations of a pass are counted at the full size. What is not the model's is measured with a network that costs next to
nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from medsaliency.data import open_source
from medsaliency.data.dataset import EVALUATION, Dataset
from medsaliency.evaluation import METRICS
from medsaliency.model.classifier import Classifier
from medsaliency.model.hooks import capture
from medsaliency.model.targets import Logit
from medsaliency.model.zoo import build
from medsaliency.study.cells import Cell
from medsaliency.study.config import PANEL, Study, load_study
from medsaliency.study.maps import Maps
from medsaliency.study.shard import Shard
from timing import Kind, passes, recorded

Result = dict[str, Any]
FREE = ("input_x_gradient", "smoothgrad_squared", "layer_cam", "x_grad_cam", "hires_cam")
"""Left out of the panel, so that twenty methods remain: they share all their passes with others."""
METHODS = tuple(name for name in PANEL if name not in FREE)
SCORED = "gradient"
"""The method whose maps are scored: a metric's passes are the same for all."""
ARCHITECTURES = ("densenet121", "resnet50")
FULL, FEW, CHANNELS = 224, 32, 3
CLASSES = ("healthy", "lesion")
SHARD = 16
XRAY = (3056, 2544)
"""Pixels of a chest radiograph as it is stored: rows and columns that are usual for MIMIC-CXR."""
READS = 5


@dataclass(frozen=True)
class Asked:
    """How the image is asked about.

    Args:
        size: Pixels a side.
        methods: That explain it.
        metrics: That score one map.
    """

    size: int = FULL
    methods: tuple[str, ...] = METHODS
    metrics: tuple[str, ...] = tuple(METRICS)


class Nothing(nn.Module):
    """A network that costs next to nothing."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(CHANNELS, 4, 32, 32), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.ReLU())
        self.head = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, C, H, W)."""
        return self.head(self.features(images).mean(dim=(2, 3)))


def measure(asked: Asked = Asked(), counted_at: int = FEW) -> Result:
    """All that the estimate rests on.

    Args:
        asked: The methods and metrics, and the size in use.
        counted_at: Pixels a side at which passes are counted.
    """
    small = Asked(counted_at, asked.methods, asked.metrics)
    return {
        "methods": len(asked.methods),
        "metrics": len(asked.metrics),
        "size": asked.size,
        "models": {name: _model(name, small, asked.size) for name in ARCHITECTURES},
        "processor": _processor(asked),
        "reading": reading(XRAY, asked.size),
    }


def _study(asked: Asked) -> Study:
    return load_study(
        None,
        **{
            "data.size": asked.size,
            "data.channels": CHANNELS,
            "explain.maps": "float16",
            "explain.methods": {name: given for name, given in PANEL_OF_A_STUDY.items() if name in asked.methods},
            "evaluate.metrics": list(asked.metrics or METRICS),
        },
    )


PANEL_OF_A_STUDY = Study().explain.methods
"""Each method as a study runs it unless told otherwise."""


def _shard(asked: Asked, classifier: Classifier, images: int) -> Shard:
    """A shard of sandbox images that have a lesion, so that every metric has something to do."""
    data = open_source(kind="sandbox", size=asked.size)
    records = [record for record in data.of(EVALUATION) if record.label][:images]
    samples = [data.sample(record, asked.size, CHANNELS) for record in records]
    assert all(sample.lesion is not None for sample in samples), "a metric of lesions would have nothing to do"
    return Shard(_study(asked), classifier, records, samples, [Logit(1)] * images, {}, strict=True)


def _cells(asked: Asked) -> list[Cell]:
    made = [Cell("method", name, name) for name in asked.methods]
    return [*made, *(Cell("metric", name, SCORED) for name in asked.metrics)]


def _model(name: str, asked: Asked, size: int) -> Result:
    """Passes an image of every method and metric, and the operations of one pass of each kind."""
    module = build(name, classes=len(CLASSES), channels=CHANNELS, seed=0)
    classifier = Classifier(module, CLASSES, mean=0.5, std=0.25, channels=CHANNELS, device="cpu")
    of_metrics = replace(asked, methods=(SCORED,))  # the same for every network
    scored = _passes(_nothing(), of_metrics)
    return {
        "passes": {
            "method": _passes(classifier, replace(asked, metrics=())),
            "metric": {metric: scored[metric] for metric in asked.metrics},
        },
        "flops": _flops(classifier, size),
    }


def _passes(classifier: Classifier, asked: Asked) -> dict[str, dict[Kind, float]]:
    """Passes of each step for one image, by kind."""
    shard = _shard(asked, classifier, 1)
    found = {}
    with recorded(classifier.module) as calls:
        for step in shard.work(_cells(asked)):
            found[step.name] = passes(calls, 1)[1]
            calls.clear()
    return found


def _nothing() -> Classifier:
    module = Nothing(len(CLASSES)).requires_grad_(False)
    return Classifier(module, CLASSES, channels=CHANNELS, target_layer="features", device="cpu")


def _flops(classifier: Classifier, size: int) -> dict[Kind, int]:
    """Floating-point operations of one image's pass, by kind."""
    images = torch.zeros(1, CHANNELS, size, size)
    module, layer = classifier.module.eval().requires_grad_(False), classifier.target_layer(images)
    with torch.no_grad(), FlopCounterMode(display=False) as forward:
        module(images)
    with FlopCounterMode(display=False) as both:
        module(images.clone().requires_grad_()).sum().backward()  # the counter cannot follow torch.autograd.grad
    with torch.no_grad(), capture(module, layer, leaf=True), FlopCounterMode(display=False) as to_layer:
        module(images).sum().backward()
    head = 2 * sum(own.weight.numel() for own in module.modules() if isinstance(own, nn.Linear))
    return {
        "forward": forward.get_total_flops(),
        "forward_backward": both.get_total_flops(),
        "to_layer": to_layer.get_total_flops(),
        "from_layer": head,
    }


def _processor(asked: Asked) -> Result:
    """Seconds of one core an image for what is not the model's: of each method, of each metric of one map, of keeping.

    All of it runs on the processor here; on a GPU what is done with tensors, noise and blurring say, runs there.
    """
    classifier = _nothing()
    list(_shard(asked, classifier, 1).work(_cells(asked)))  # what is compiled or loaded once is not an image's
    shard = _shard(asked, classifier, 1)
    found: dict[str, dict[str, float]] = {"method": {}, "metric": {}}
    for name, seconds in _seconds_of_steps(shard, asked):
        found["method" if name in asked.methods else "metric"][name] = seconds
    keeping, stored, raw = _keep(shard)
    return {**found, "keeping": keeping, "map_bytes": stored, "raw_map_bytes": raw}


def _seconds_of_steps(shard: Shard, asked: Asked) -> Iterator[tuple[str, float]]:
    begin = time.process_time()
    for step in shard.work(_cells(asked)):
        yield step.name, time.process_time() - begin
        begin = time.process_time()


def _keep(shard: Shard) -> tuple[float, float, int]:
    """Seconds that a map takes to be written, its bytes as kept (compressed), and as the worker hands it over."""
    maps = {name: np.repeat(own, SHARD, axis=0) for name, own in shard.maps.items()}
    with tempfile.TemporaryDirectory() as folder:
        kept = Maps(Path(folder), "a")
        kept.arrange([str(number) for number in range(SHARD)], SHARD)
        begin = time.process_time()
        files = [file for name, own in maps.items() for file in kept.keep_map(name, 0, own, "float16")]
        seconds = time.process_time() - begin
        stored = sum((Path(folder) / file).stat().st_size for file in files)
    count = SHARD * len(maps)
    return seconds / count, stored / count, next(iter(maps.values()))[0].nbytes


def reading(shape: tuple[int, int], size: int) -> dict[str, float]:
    """Seconds of one core to read a radiograph of ``shape`` pixels and bring it to the model's grid, by format."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    values = 128 + 90 * np.sin(rows / 300) * np.cos(columns / 250)
    values = (values + np.random.default_rng(0).normal(0, 6, shape)).clip(0, 255).astype(np.uint8)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("jpg", "png"):
            root = Path(folder) / suffix
            for name in ("one", "other"):
                (root / name).mkdir(parents=True)
                for number in range(2):
                    Image.fromarray(values).save(root / name / f"{number}.{suffix}")
            found[suffix] = _seconds_to_read(open_source(root, "folder"), size)
    return found


def _seconds_to_read(data: Dataset, size: int) -> float:
    data.sample(data.records[0], size, CHANNELS)
    begin = time.process_time()
    for _ in range(READS):
        data.sample(data.records[0], size, CHANNELS)
    return (time.process_time() - begin) / READS


def flops_of(model: Result, methods: int) -> dict[str, float]:
    """Floating-point operations an image: of all methods, and of all metrics on the maps of that many methods."""

    def total(counts: Result) -> float:
        return sum(rows * model["flops"][kind] for own in counts.values() for kind, rows in own.items())

    return {"methods": total(model["passes"]["method"]), "metrics": methods * total(model["passes"]["metric"])}


def forward_passes(counts: Result) -> float:
    """Images sent through the model for one that is explained, those from the layer on left out."""
    return sum(rows for kind, rows in counts.items() if kind != "from_layer")
