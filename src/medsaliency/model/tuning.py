"""Finding out once how a model runs fastest on a device: micro-batch, memory format, and whether bfloat16 will do.

A short measurement on real images, cached by weights, device and size. Half precision is a candidate only where it is
faster, and is taken only where ranks are kept: for passes that score and for passes that differentiate, each by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from medsaliency.model.checkpoint import fingerprint
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution, MemoryFormat, bfloat16_pays, most_images
from medsaliency.model.grids import pixels, upsample
from medsaliency.types import generator

BATCH_SIZES = (4, 8, 16, 32)
FORMATS: tuple[MemoryFormat, ...] = ("channels_last", "contiguous")
WORTH = 0.9
"""A setting replaces the one before it only where it takes at most this share of its time: less is noise."""
SPEARMAN = 0.999
"""Least rank correlation of bfloat16 maps with float32 maps, of every image."""
SAMPLES = 8
"""Noisy copies in the maps that are compared, as few as any method takes a mean of."""
MASKS = 48
"""Soft random masks through which the scores that are compared see an image."""
CELLS = 7
"""Cells a side of a mask."""
VERSION = 3


@dataclass(frozen=True)
class Tuning:
    """What was measured, and what came of it.

    Args:
        execution: The fastest that may be used.
        seconds: An image's forward and backward pass under each setting that was tried, and its forward pass ("scores")
            under those that were tried for it.
        spearman: Lowest rank correlation of bfloat16 with float32, of mean gradients ("gradients") and of scores of
            masked images ("scores"); None where it was not tried.
        exact: Whether bfloat16 was ruled out by the caller.
    """

    execution: Execution
    seconds: dict[str, float]
    spearman: dict[str, float | None]
    exact: bool

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return asdict(self)


def tune(classifier: Classifier, images: Tensor, *, exact: bool = False, cache: Path | None = None) -> Tuning:
    """Measure, set the classifier's execution, and say what was found.

    The current setting is kept where no other is clearly faster. A classifier whose module needs the contiguous format
    keeps it.

    Args:
        classifier: Its ``execution`` is set.
        images: (N, C, H, W), real ones: half precision is judged on the first two.
        exact: Stay with float32.
        cache: Folder of results by weights, device and size; None measures anew. :func:`cache_folder` names the usual.

    Raises:
        MedsaliencyError: If the images do not fit the module.
    """
    if not classifier.differentiable:  # what is not torch's has no setting to choose
        return Tuning(classifier.execution, {}, dict.fromkeys(KINDS), exact)
    kept = None if cache is None else cache / f"{_key(classifier, images, exact)}.json"
    found = None if kept is None else _read(kept)
    if found is None:
        found = _measure(classifier, images, exact)
        if kept is not None:
            with suppress(OSError):  # a folder that cannot be written costs the next run a measurement, no more
                _write(kept, found)
    classifier.execution = found.execution
    return found


def cache_folder() -> Path:
    """Where tunings are kept: ``MEDSALIENCY_CACHE``, else ``medsaliency`` in the user's cache folder."""
    own = os.environ.get("MEDSALIENCY_CACHE")
    if own:
        return Path(own) / "tuning"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medsaliency" / "tuning"


def _measure(classifier: Classifier, images: Tensor, exact: bool) -> Tuning:
    start = classifier.execution
    largest = most_images(classifier.device, pixels(images))
    sizes = list(dict.fromkeys(min(size, largest) for size in (start.batch_size, *BATCH_SIZES[::-1])))
    middle = sizes[len(sizes) // 2]
    seconds: dict[str, float] = {}
    spearman: dict[str, float | None] = dict.fromkeys(KINDS)

    def fastest(kind: Kind, tried: list[Execution]) -> Execution:
        """The first, or one that is clearly faster."""
        new = [execution for execution in tried if kind.label(execution) not in seconds]
        seconds.update(_seconds(fast, images, new, kind))
        best = tried[0]
        for execution in tried[1:]:
            if seconds[kind.label(execution)] < WORTH * seconds[kind.label(best)]:
                best = execution
        return best

    try:
        formats = _formats(classifier, images)
        fast = classifier.folded(images, low=True)
        form = fastest(GRADIENTS, [Execution(middle, form) for form in formats]).memory_format
        best = fastest(GRADIENTS, [Execution(size, form) for size in sizes])
        for name, kind in KINDS.items() if not exact and bfloat16_pays(classifier.device) else ():
            low = kind.lowered(best)
            if fastest(kind, [best, low]) is low:
                spearman[name] = correlation = _correlation(fast, images[:2], best, low, kind)
                best = low if correlation >= SPEARMAN else best
    finally:
        classifier.execution = start
    return Tuning(best, seconds, spearman, exact)


def _formats(classifier: Classifier, images: Tensor) -> tuple[MemoryFormat, ...]:
    """Those to be tried, the one that stays where none is clearly faster first; the classifier's own may change."""
    volumes = images.ndim == 5
    if volumes:
        classifier.execution = replace(classifier.execution, memory_format="channels_last")
    classifier.logits(images[:1])  # a module that needs the contiguous format says so here
    if classifier.execution.memory_format == "contiguous":
        return ("contiguous",)
    return FORMATS[::-1] if volumes else FORMATS


@dataclass(frozen=True)
class Kind:
    """One of the two kinds of passes that methods run many of.

    Args:
        name: For labels of settings; empty for the kind by which everything else is tuned.
        precision: Field of an execution that says its precision.
        run: From a classifier, images and classes to one value or map an image.
        compared: From a classifier, an image (C, H, W) on the CPU, a class and a generator to what must keep its ranks.
    """

    name: str
    precision: str
    run: Callable[[Classifier, Tensor, list[int]], Tensor]
    compared: Callable[[Classifier, Tensor, int, np.random.Generator], Tensor]

    def label(self, execution: Execution) -> str:
        """A setting, by what matters for these passes."""
        precision = getattr(execution, self.precision)
        return f"{self.name}{execution.memory_format}, {precision}, {execution.batch_size} images"

    def lowered(self, execution: Execution) -> Execution:
        """The same setting with these passes in bfloat16."""
        changed: dict[str, Any] = {self.precision: "bfloat16"}
        return replace(execution, **changed)


def _gradients(classifier: Classifier, images: Tensor, targets: list[int]) -> Tensor:
    return classifier.scores_and_gradients(images, targets)[1]


def _mean_gradient(classifier: Classifier, image: Tensor, target: int, draw: np.random.Generator) -> Tensor:
    """Over noisy copies, channels summed."""
    noise = torch.from_numpy(draw.standard_normal((SAMPLES, *image.shape), dtype=np.float32))
    copies = image + 0.15 * float(image.max() - image.min()) * noise
    return _gradients(classifier, copies, [target] * SAMPLES).mean(dim=0).sum(dim=0)


def _masked_scores(classifier: Classifier, image: Tensor, target: int, draw: np.random.Generator) -> Tensor:
    """Of the image seen through soft masks."""
    cells = torch.from_numpy(draw.random((MASKS, 1, *(CELLS,) * (image.ndim - 1)), dtype=np.float32))
    masks = upsample(cells, image.shape[1:])
    return classifier.scores(masks * image, [target] * MASKS)


GRADIENTS = Kind("", "gradient_precision", _gradients, _mean_gradient)
KINDS = {"gradients": GRADIENTS, "scores": Kind("scores, ", "precision", Classifier.scores, _masked_scores)}


def _seconds(
    classifier: Classifier, images: Tensor, tried: list[Execution], kind: Kind, repeats: int = 2
) -> dict[str, float]:
    """Median seconds of an image's pass under each setting, the settings taking turns."""
    times: dict[str, list[float]] = {kind.label(execution): [] for execution in tried}
    for repeat in range(repeats + 1):  # the first warms up
        for execution in tried:
            classifier.execution = execution
            batch = images[torch.arange(execution.batch_size) % len(images)].to(classifier.device)
            _wait(classifier.device)
            begin = time.perf_counter()
            kind.run(classifier, batch, [0] * len(batch))
            _wait(classifier.device)
            if repeat:
                times[kind.label(execution)].append((time.perf_counter() - begin) / len(batch))
    return {label: statistics.median(found) for label, found in times.items()}


def _correlation(classifier: Classifier, images: Tensor, full: Execution, low: Execution, kind: Kind) -> float:
    """Lowest rank correlation, over images, of what a kind of passes gives in bfloat16 and in float32."""
    targets = classifier.logits(images).argmax(dim=1).tolist()
    found = []
    for execution in (full, low):
        classifier.execution = execution
        each = zip(images.cpu(), targets, strict=True)
        draws = (generator(0, "tuning", str(i)) for i in count())
        found.append([kind.compared(classifier, *of, next(draws)).flatten().cpu().numpy() for of in each])
    # What is constant has no ranks: the minimum is NaN then, which is not enough.
    return float(np.min([spearmanr(a, b).statistic for a, b in zip(*found, strict=True)]))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _key(classifier: Classifier, images: Tensor, exact: bool) -> str:
    """SHA-256 over everything that decides speed, rounding, and which setting is kept where none is clearly faster."""
    digest = hashlib.sha256()
    on_cuda = classifier.device.type == "cuda"
    device = torch.cuda.get_device_name(classifier.device) if on_cuda else torch.backends.cpu.get_cpu_capability()
    machine = (torch.__version__, device, os.cpu_count(), torch.get_num_threads())
    asked = (tuple(images.shape[1:]), exact, classifier.name, classifier.execution)
    digest.update(repr((VERSION, machine, *asked)).encode())
    digest.update(fingerprint(classifier.module).encode())
    return digest.hexdigest()[:32]


def _read(path: Path) -> Tuning | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or not whole
        return None
    return Tuning(**{**found, "execution": Execution(**found["execution"])})


def _write(path: Path, found: Tuning) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    beside.replace(path)
