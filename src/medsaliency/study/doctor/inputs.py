"""Whether images reach the module as those did that it learned from: their scale, and black and white."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from medsaliency.study.doctor.finding import Finding, Severity
from medsaliency.study.doctor.subject import Subject

MISFIT = 0.1
"""Nats by which channels differ from a batch normalization's statistics, from which on another scale is looked for.

Trained networks have about 0.01 on their own data.
"""
FAR = 1.0
"""Nats from which on images are scaled wrongly; below, and if accuracy is no less, they may be of another scanner."""
BETTER = 4
"""By how much another preprocessing must fit better before it is believed."""
STEPS = 50
"""Steps of training after which the running statistics of a batch normalization are believed."""
PIXELS = 2**18
"""Pixels by which a layer's mean and variance are measured: 5 images of 224 x 224; 4 images at least, 16 at most."""
LAYERS = 3
"""Batch normalizations looked at: those nearest to the image."""
SOME = 12
"""Images by which it is decided whether a way of preprocessing is tried on all."""
CHANCE = 0.01
"""Chance, over all that is tried, of believing another preprocessing by its accuracy where none is better."""

Scale = Callable[[Tensor], Tensor]
SCALES: dict[str, Scale] = {
    "[0, 1] (mean=0, std=1)": lambda x: x,
    "[-1, 1] (mean=0.5, std=0.5)": lambda x: 2 * x - 1,
    "[0, 255] (mean=0, std=0.00392157)": lambda x: 255 * x,
    "[-1024, 1024] (mean=0.5, std=0.000488281), as torchxrayvision's": lambda x: 2048 * x - 1024,
    "ImageNet's mean and deviation (gray: mean=0.449, std=0.226)": lambda x: _imagenet(x),
    "mean 0 and deviation 1 over the images": lambda x: (x - x.mean()) / x.std().clamp(min=1e-6),
}
"""Usual ways to scale a display range of [0, 1], and what to give a classifier for each."""


@dataclass(frozen=True)
class _Trial:
    """How a way of preprocessing suits the module.

    Args:
        name: Of the way.
        misfit: Mean over batch normalizations of the median channel's divergence in nats; NaN where there are none.
        some: Gives (n,) bool of the first images, whether their labels are predicted; None where labels do not say.
        right: Gives (N,) bool of all.
    """

    name: str
    misfit: float
    some: Callable[[], Tensor | None]
    right: Callable[[], Tensor | None]


class _EnoughError(Exception):
    """Ends a pass whose last layers nobody asks for."""


def scaling(subject: Subject) -> list[Finding]:
    """Mean and deviation, or the range, are another convention's than the one the model was trained with."""
    trials = _of(subject)
    best = trials.better
    if best is None or best in trials.inverted:
        return []
    advice = "set the mean and std with which the model was trained (in the checkpoint's model.json, or of Classifier)"
    got = f"mean={_numbers(subject.classifier.mean)}, std={_numbers(subject.classifier.std)}: {_words(trials.given)}"
    expected = f"images scaled to {best.name}: {_words(best)}"
    return [Finding(_severity(trials.given, best), "input scaling", expected, got, advice)]


def photometry(subject: Subject) -> list[Finding]:
    """The model was trained on images with black and white the other way round."""
    trials = _of(subject)
    best = trials.better
    if best is None or best not in trials.inverted:
        return []
    advice = "see whether air is white in these images (MONOCHROME1) or was in training's, and invert the one or other"
    expected = f"black and white exchanged, and {best.name}: {_words(best)}"
    got = f"images as they are read: {_words(trials.given)}"
    return [Finding(_severity(trials.given, best), "photometry", expected, got, advice)]


@dataclass(frozen=True)
class _Trials:
    """How images suit the module as they are prepared, with other scales, and inverted."""

    given: _Trial
    plain: list[_Trial]
    inverted: list[_Trial]

    @property
    def better(self) -> _Trial | None:
        """What suits the module much better than what is given, by statistics or, without any, by accuracy."""
        if math.isnan(self.given.misfit):
            return self._more_often_right()
        plain, inverted = _least(self.plain), _least(self.inverted)
        # The inverted images can be scaled as well as the others, by chance: exchanged is what is far better so.
        best = inverted if inverted.misfit < min(plain.misfit, self.given.misfit) / BETTER else plain
        believed = self.given.misfit > MISFIT and best.misfit < self.given.misfit / BETTER
        return best if believed and not _surpasses(self.given, best, 0.05) else None

    def _more_often_right(self) -> _Trial | None:
        own = self.given.right()
        if own is None:
            return None
        others = [*self.plain, *self.inverted]
        promising = [t for t in others if (some := t.some()) is not None and some.sum() > own[: len(some)].sum()]
        counts = [int(right.sum()) for trial in promising if (right := trial.right()) is not None]
        if not counts:
            return None
        best = promising[counts.index(max(counts))]
        return best if _surpasses(best, self.given, CHANCE / len(others)) else None


def _of(subject: Subject) -> _Trials:
    return subject.once("trials", lambda: _trials(subject))


def _trials(subject: Subject) -> _Trials:
    prepare = subject.classifier.prepare
    own = "the checkpoint's mean and std"
    given = _trial(subject, own, prepare, outputs=lambda count: subject.outputs[:count])
    inverted = [_trial(subject, own, prepare, invert=True)]
    plain = [_trial(subject, name, scale) for name, scale in SCALES.items()]
    if not math.isnan(given.misfit):  # by accuracy alone each costs a whole pass
        inverted += [_trial(subject, name, scale, invert=True) for name, scale in SCALES.items()]
        for trials, invert in ((plain, False), (inverted, True)):
            factor, offset = _fitted(subject, _shown(subject, invert)[: _count(subject)])
            name = f"mean={-offset / factor:.3g}, std={1 / factor:.3g}, by the first batch normalization"
            trials.append(_trial(subject, name, partial(_linear, factor, offset), invert=invert))
    return _Trials(given, plain, inverted)


def _shown(subject: Subject, invert: bool) -> Tensor:
    """The images on the module's device, black and white exchanged if ``invert``."""
    images = subject.images.to(subject.classifier.device)
    return 1 - images if invert else images


def _linear(factor: float, offset: float, images: Tensor) -> Tensor:
    return factor * images + offset


def _fitted(subject: Subject, few: Tensor) -> tuple[float, float]:
    """Factor and offset of images by which what the first batch normalization is given has its statistics.

    Right where that is given a linear function of the image, as behind a first convolution.
    """
    means, deviation, layer = [], torch.ones(1), None
    for shown in (torch.zeros_like(few), torch.ones_like(few), few):  # the images last: their deviation is kept
        ((layer, given),) = _given(subject, shown, 1)
        flat = given.transpose(0, 1).flatten(1)
        means.append(flat.mean(dim=1))
        deviation = flat.std(dim=1)
    assert isinstance(layer, nn.Module)  # noqa: S101 - three images were shown
    expected, spread = _statistics(layer)
    factor = float((spread.sqrt() / deviation.clamp(min=1e-9)).median())
    slope, weight = means[1] - means[0], 1 / spread
    missing = expected - means[0] - factor * (means[2] - means[0])
    norm = float((weight * slope**2).sum())
    return factor, float((weight * slope * missing).sum()) / norm if norm > 0 else 0.0


def _given(subject: Subject, prepared: Tensor, count: int) -> list[tuple[nn.Module, Tensor]]:
    """The first batch normalizations to run whose statistics say something, and what each is given first."""
    found: dict[nn.Module, Tensor] = {}

    def run(part: Tensor) -> dict[nn.Module, Tensor]:
        found.clear()  # a pass that ran out of memory is begun again
        with suppress(_EnoughError):
            subject.run_once(part)
        return dict(found)

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.setdefault(layer, inputs[0].float())
        if len(found) == count:
            raise _EnoughError

    layers = [part for part in subject.module.modules() if _is_informative(part)]
    handles = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        parts = subject.in_parts(prepared[: _count(subject)], run) if layers else []
    finally:
        for handle in handles:
            handle.remove()
    return [(layer, torch.cat([part[layer] for part in parts])) for layer in (parts[0] if parts else {})]


def _count(subject: Subject) -> int:
    return max(4, min(16, PIXELS // math.prod(subject.images.shape[2:])))


def _trial(
    subject: Subject,
    name: str,
    scale: Scale,
    *,
    invert: bool = False,
    outputs: Callable[[int], Tensor] | None = None,
) -> _Trial:
    """How a way of preprocessing suits the module.

    Args:
        subject: Its images are prepared whenever they are needed: a copy for each of many trials fills the memory.
        name: Of the way.
        scale: From images in display range to what the module is given.
        invert: Whether black and white are exchanged before.
        outputs: Gives those of the first images where they are known.
    """

    def right(count: int) -> Tensor | None:
        if subject.answers is None:
            return None
        if outputs is not None:
            return subject.right(outputs(count))
        return subject.right(subject.run(scale(_shown(subject, invert))[:count]))

    first = scale(_shown(subject, invert))[: _count(subject)].clone()  # without the others
    misfits = [_divergence(layer, given) for layer, given in _given(subject, first, LAYERS)]
    misfit = sum(misfits) / len(misfits) if misfits else math.nan
    some, whole = cache(partial(right, SOME)), cache(partial(right, len(subject.images)))
    # Pixels a thousand times too large can end in infinity minus infinity.
    return _Trial(name, math.inf if misfits and math.isnan(misfit) else misfit, some, whole)


def _is_informative(layer: nn.Module) -> bool:
    """Whether it is a batch normalization whose statistics are those of what it was trained with."""
    if not isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
        return False
    if layer.running_mean is None or layer.running_var is None:
        return False
    fresh = not bool(layer.running_mean.any()) and bool((layer.running_var == 1).all())
    steps = 0 if layer.num_batches_tracked is None else int(layer.num_batches_tracked)
    return not (fresh or 0 < steps < STEPS)


def _divergence(layer: nn.Module, given: Tensor) -> float:
    """Kullback-Leibler divergence, in nats, of a layer's input from its running statistics, as normal distributions.

    The median over channels, which a few that are dead do not move.
    """
    mean, expected = _statistics(layer)
    flat = given.transpose(0, 1).flatten(1)
    var, distance = flat.var(dim=1) + 1e-5, (flat.mean(dim=1) - mean) ** 2
    return float((torch.log(expected / var) + (var + distance) / expected - 1).median() / 2)


def _statistics(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Running mean and variance (K,) of an informative layer."""
    mean, var = layer.running_mean, layer.running_var
    assert isinstance(mean, Tensor)  # noqa: S101 - informative
    assert isinstance(var, Tensor)  # noqa: S101
    return mean.float(), var.float() + 1e-5


def _least(trials: list[_Trial]) -> _Trial:
    """The trial of least misfit; a named convention wins over a fit that is hardly better."""
    best = min(trials, key=lambda trial: trial.misfit)
    named = min(trials[:-1], key=lambda trial: trial.misfit)
    return named if named.misfit < 2 * best.misfit + 0.01 else best


def _severity(given: _Trial, best: _Trial) -> Severity:
    """A problem where statistics are far off, or accuracy says so too; else images may only be of another scanner."""
    return "problem" if math.isnan(given.misfit) or given.misfit > FAR or _surpasses(best, given, 0.05) else "note"


def _surpasses(one: _Trial, other: _Trial, chance: float) -> bool:
    """Whether one is right more often than the other, by an exact sign test of the images on which they differ."""
    first, second = one.right(), other.right()
    if first is None or second is None:
        return False
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    differ = gained + lost
    tail = sum(math.comb(differ, k) for k in range(gained, differ + 1))
    return bool(tail < chance * 2**differ)


def _words(trial: _Trial) -> str:
    parts = []
    if not math.isnan(trial.misfit):
        parts.append(f"{trial.misfit:.2g} nats off the batch normalizations' statistics")
    right = trial.right()
    if right is not None:
        parts.append(f"{int(right.sum())} of {len(right)} images right")
    return ", ".join(parts)


def _numbers(values: Tensor) -> str:
    return ", ".join(f"{value:.6g}" for value in values.flatten().tolist())


def _imagenet(images: Tensor) -> Tensor:
    color = images.shape[1] == 3
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if color else ((0.449,), (0.226,))
    shape = (1, -1, *(1 for _ in images.shape[2:]))
    return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)
