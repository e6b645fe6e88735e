"""The three calls for notebooks and scripts: explain, show and evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsaliency.attribution import PANEL, make_method, sharing
from medsaliency.attribution.method import Method
from medsaliency.evaluation import METRICS, PLANAR, make_metric
from medsaliency.evaluation.metric import Metric
from medsaliency.model import tuning
from medsaliency.model.checks import check_axes
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Targets
from medsaliency.report.notebook import show
from medsaliency.types import MedsaliencyError, generator

Images = Tensor | NDArray[Any]

__all__ = ["as_classifier", "evaluate", "explain", "show"]


def explain(
    model: nn.Module | Classifier,
    images: Images,
    targets: Targets | None = None,
    methods: str | Sequence[str] | Mapping[str, Method] | None = None,
    *,
    target_layer: str | None = None,
    seed: int = 0,
    batch_size: int = 16,
    tune: bool = False,
    exact: bool = False,
) -> dict[str, Tensor]:
    """Explain what a model sees in images.

    Args:
        model: Any module from (N, C, H, W), or (N, C, D, H, W) for volumes, to logits (N, K), or a :class:`Classifier`
            with its own preprocessing.
        images: (N, C, H, W) or (N, C, D, H, W) as the model takes them, a tensor or an array.
        targets: What is explained of each image, (N,): class indices, or target objects
            (``medsaliency.model.targets``: Logit, Probability, Contrast); None explains the predicted class.
        methods: Names from ``medsaliency methods``, or names of your own with method objects; None for all that need
            no extra.
        target_layer: Layer that CAM methods read; None finds it.
        seed: Of methods that draw. An image's numbers depend on it and on the image's place in ``images`` only.
        batch_size: Images put before the methods at once.
        tune: Measure first how the model runs fastest here (:func:`medsaliency.model.tuning.tune`); the finding is
            kept in the user's cache.
        exact: Whether tuning must stay with float32.

    Returns:
        For each method its maps (N, H, W), of volumes (N, D, H, W), float32 on the CPU, signed where the method is,
        not normalized.

    Raises:
        MedsaliencyError: If a method is unknown, or images, targets and model do not fit.

    Example:
        >>> import torch
        >>> import medsaliency
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> maps = medsaliency.explain(model, torch.rand(2, 1, 8, 8), methods=["gradient", "random"])
        >>> {name: tuple(found.shape) for name, found in maps.items()}
        {'gradient': (2, 8, 8), 'random': (2, 8, 8)}
    """
    images = _images(images, batch_size)
    classifier = as_classifier(model, images)
    if target_layer is not None:
        classifier = classifier.with_layer(target_layer)
    chosen = _methods(methods)
    wanted = None if targets is None else classifier.as_targets(targets, len(images))
    if tune:
        tuning.tune(classifier, images[: max(tuning.BATCH_SIZES)], exact=exact, cache=tuning.cache_folder())
    parts: dict[str, list[Tensor]] = {name: [] for name in chosen}
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        probe = Probe(classifier, batch, None if wanted is None else wanted[start : start + batch_size])
        for name, method in sharing(chosen).items():
            rngs = [generator(seed, str(start + i), name) for i in range(len(batch))]
            parts[name].append(method(probe, rngs).float().cpu())
    return {name: torch.cat(found) for name, found in parts.items()}


def evaluate(
    model: nn.Module | Classifier,
    images: Images,
    targets: Targets | None,
    maps: Mapping[str, Images],
    *,
    lesions: Sequence[Images | None] | Images | None = None,
    metrics: str | Sequence[str] | Mapping[str, Metric] | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> pd.DataFrame:
    """Score maps.

    Args:
        model: As for :func:`explain`.
        images: (N, C, H, W) or (N, C, D, H, W), a tensor or an array; in [0, 1] for the information curves.
        targets: As for :func:`explain`; the class whose score the curves follow.
        maps: For each method (N, H, W) or (N, D, H, W), as :func:`explain` returns them.
        lesions: (H, W) or (D, H, W) bool or None an image, for metrics that compare with the truth.
        metrics: Names from ``medsaliency metrics``, or names of your own with metric objects; None for all
            (of volumes, for all that have a meaning there).
        seed: Of the random choices, which are the same for every method.
        batch_size: Images scored at once.

    Returns:
        One row an image, method and measure: sample (its index), target, method, metric, value (NaN where undefined),
        reason (why).

    Raises:
        MedsaliencyError: If a metric is unknown, or images, targets, maps, lesions and model do not fit.
    """
    images = _images(images, batch_size)
    classifier = as_classifier(model, images)
    wanted = None if targets is None else classifier.as_targets(targets, len(images))
    given_maps = {name: torch.as_tensor(found) for name, found in maps.items()}
    if not given_maps:
        raise MedsaliencyError("evaluate: expected maps of at least one method, got none")
    given = [None] * len(images) if lesions is None else list(lesions)
    masks = [None if mask is None else torch.as_tensor(mask) for mask in given]
    if len(masks) != len(images):
        raise MedsaliencyError(f"evaluate: expected a lesion mask or None an image, {len(images)}, got {len(masks)}")
    shape = (len(images), *images.shape[2:])
    for method, saliency in given_maps.items():
        if tuple(saliency.shape) != shape:
            raise MedsaliencyError(f"evaluate: expected maps {method!r} of shape {shape}, got {tuple(saliency.shape)}")
    rows: list[dict[str, Any]] = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        probe = Probe(classifier, images[part], None if wanted is None else wanted[part], masks[part])
        for name, metric in _metrics(metrics, images.ndim - 2).items():
            for method, saliency in given_maps.items():
                rngs = [generator(seed, str(start + i), name) for i in range(len(probe))]
                for measure, scores in metric(probe, saliency[part], rngs).items():
                    for i, score in enumerate(scores):
                        rows.append(
                            {
                                "sample": start + i,
                                "target": int(probe.targets[i]),
                                "method": method,
                                "metric": measure,
                                "value": score.value,
                                "reason": score.reason,
                            }
                        )
    return pd.DataFrame(rows)


def as_classifier(model: nn.Module | Classifier, images: Tensor) -> Classifier:
    """Wrap a plain module: as many classes as it has outputs, named by their index, and no preprocessing.

    Args:
        model: Returned as it is if it is a classifier.
        images: (N, C, H, W), of which one is shown to a module to count its outputs.

    Raises:
        MedsaliencyError: If the module does not return (N, K), or takes volumes and was given images, or the other way.
    """
    if isinstance(model, Classifier):
        return model
    training = {module: module.training for module in model.modules()}
    first = next(model.parameters(), None)
    try:
        with torch.no_grad():
            logits = model.eval()(images[:1].to(first.device if first is not None else images.device))
    except (RuntimeError, ValueError):
        check_axes(model, images)
        raise
    finally:
        for module, mode in training.items():
            module.training = mode
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise MedsaliencyError(f"expected a module that returns logits (N, K), got {got}; wrap it so that it does")
    outputs = logits.shape[1]
    classes = [str(k) for k in range(max(2, outputs))]
    return Classifier(model, classes, channels=images.shape[1], output="single_logit" if outputs == 1 else "softmax")


def _images(images: Images, batch_size: int) -> Tensor:
    """Images as a tensor, checked before anything is run on them."""
    found = torch.as_tensor(images)
    if not found.is_floating_point():
        raise MedsaliencyError(f"expected floating-point images as the model takes them, got {found.dtype}; scale them")
    found = found.float()
    if found.ndim not in (4, 5) or len(found) == 0:
        raise MedsaliencyError(
            f"expected images of shape (N, C, H, W) or volumes (N, C, D, H, W) with N at least 1, got "
            f"{tuple(found.shape)}"
        )
    if batch_size < 1:
        raise MedsaliencyError(f"expected a batch_size of at least 1, got {batch_size}")
    return found


def _methods(methods: str | Sequence[str] | Mapping[str, Method] | None) -> Mapping[str, Method]:
    if isinstance(methods, Mapping):
        return methods
    names = [methods] if isinstance(methods, str) else PANEL if methods is None else methods
    return {name: make_method(name) for name in names}


def _metrics(metrics: str | Sequence[str] | Mapping[str, Metric] | None, dimensions: int) -> Mapping[str, Metric]:
    if isinstance(metrics, Mapping):
        return metrics
    every = [name for name in METRICS if dimensions == 2 or name not in PLANAR]
    names = [metrics] if isinstance(metrics, str) else every if metrics is None else metrics
    return {name: make_metric(name) for name in names}
