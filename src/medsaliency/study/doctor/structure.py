"""What is in the module that breaks explanations: weights, modes, layers that work in place or run several times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medsaliency.model.execution import serving
from medsaliency.model.targets import Logit
from medsaliency.study.doctor.finding import Finding
from medsaliency.study.doctor.subject import Subject

RUNNING_STATISTICS = frozenset({"running_mean", "running_var"})
"""Names of the buffers that must be finite, as weights must."""


def weights(subject: Subject) -> list[Finding]:
    """Weights or running statistics are NaN or infinite."""
    # Other buffers may be infinite and right: masks of attention, thresholds that are not known.
    kept = [
        (name, value) for name, value in subject.module.named_buffers() if name.split(".")[-1] in RUNNING_STATISTICS
    ]
    values = [*subject.module.named_parameters(), *kept]
    bad = [name for name, value in values if not bool(torch.isfinite(value).all())]
    if not bad:
        return []
    advice = "load the weights again, or train from before they were lost (a lower learning rate, float32)"
    return [Finding("problem", "weights", "finite numbers", f"NaN or infinity in {_named(bad)}", advice)]


def modes(subject: Subject) -> list[Finding]:
    """Layers stay in training mode when the module is put into eval mode, or were given in another than the others."""
    given = [name for name, part in subject.module.named_modules() if part.training]
    with serving(subject.module):
        stuck = [name for name, part in subject.module.named_modules() if part.training]
    if stuck:
        advice = "let train() and eval() reach it; until then dropout and batch statistics change every map"
        return [Finding("problem", _named(stuck), "eval mode after eval()", "training mode", advice)]
    total = sum(1 for _ in subject.module.modules())
    if given and len(given) < total:
        got = f"{len(given)} of {total} modules in training mode ({_named(given)})"
        advice = "call eval() before you use the module yourself; medsaliency does for every pass, and puts modes back"
        return [Finding("note", "modes", "one mode throughout", got, advice)]
    return []


def repeatable(subject: Subject) -> list[Finding]:
    """The same image gets other outputs when it is run again, or in other company."""
    images = subject.classifier.prepare(subject.few)
    first, again = subject.run(images), subject.run(images)
    if not _close(again, first):
        got = f"logits that differ by {float((again - first).abs().max()):.2g}"
        advice = "look for functional dropout without training=self.training, or for noise; no map of it can be trusted"
        return [Finding("problem", f"repeated passes of {subject.name}", "the same logits", got, advice)]
    alone = torch.cat([subject.run(image[None]) for image in images])
    if _close(alone, first):
        return []
    without = [
        name
        for name, part in subject.module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None
    ]
    got = f"logits that differ by {float((alone - first).abs().max()):.2g}"
    if without:
        got += f"; no running statistics in {_named(without)}"
    advice = "use running statistics (track_running_stats=True): the company of an image must not change its map"
    return [Finding("problem", "an image alone and in a batch", "the same logits", got, advice)]


def in_place(subject: Subject) -> list[Finding]:
    """Layers write into what they are given. Explanations that hook layers, and other libraries, read what is left."""
    changed, count = subject.once("traced", lambda: _traced(subject))
    if not changed:
        return []
    image = subject.images[:1]
    with subject.classifier.scorers([Logit(0)]) as (own,), torch.no_grad():
        same = _close(own(image), subject.classifier.scores(image, [0], precise=True))
    again = [name for name in changed if count[name] > 1]
    got = f"{len(changed)} that work in place ({_named(changed)})"
    if again:
        got += f", of them {len(again)} that run several times ({_named(again)})"
    if same:
        advice = "nothing to do here, where layers are given copies; other libraries need inplace=False"
        return [Finding("note", "layers", "none that write into their input", got, advice)]
    got += ", one of which changes what is used a second time"
    advice = "set inplace=False there; until then deep_lift and guided_backprop refuse the model"
    return [Finding("problem", "layers", "the same score where they work on copies", got, advice)]


def runs_of_target_layer(subject: Subject) -> list[Finding]:
    """The layer that CAM methods are told to read runs several times in a pass, or not at all."""
    layer = subject.classifier.known_target_layer
    _, count = subject.once("traced", lambda: _traced(subject))
    if layer is None or count.get(layer) == 1:
        return []
    advice = "name another target_layer, or none: CAM methods refuse one whose feature maps are not one thing"
    return [Finding("problem", f"target layer {layer!r}", "one run in a pass", f"{count.get(layer, 0)}", advice)]


def reused(subject: Subject) -> list[Finding]:
    """Layers with weights run several times in a pass."""
    _, count = subject.once("traced", lambda: _traced(subject))
    several = [name for name, times in count.items() if times > 1]
    parts = dict(subject.module.named_modules())
    shared = [name for name in several if next(parts[name].parameters(recurse=False), None) is not None]
    if not shared:
        return []
    got = f"{len(shared)} that run several times ({_named(shared)})"
    advice = "CAM methods cannot read these and take another layer; for all other methods there is nothing to do"
    return [Finding("note", "layers with weights", "one run in a pass", got, advice)]


def _traced(subject: Subject) -> tuple[list[str], dict[str, int]]:
    """Innermost modules that changed their input, and how often each module ran, in one pass."""
    count: Counter[str] = Counter()
    changed: list[str] = []
    given: dict[str, list[tuple[Tensor, int]]] = {}
    handles = []
    for name, part in subject.module.named_modules():
        if not name:
            continue

        def before(_part: nn.Module, inputs: Sequence[object], name: str = name) -> None:
            given[name] = [(value, value._version) for value in inputs if isinstance(value, Tensor)]

        def after(_part: nn.Module, _inputs: object, _output: object, name: str = name) -> None:
            count[name] += 1
            if name not in changed and any(value._version != version for value, version in given.pop(name, [])):
                changed.append(name)

        handles += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        subject.run(subject.classifier.prepare(subject.images[:1]))
    finally:
        for handle in handles:
            handle.remove()
    inner = [name for name in changed if not any(other.startswith(f"{name}.") for other in changed)]
    return inner, dict(count)


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4 * max(1.0, float(other.abs().max())))


def _named(names: Sequence[str], most: int = 3) -> str:
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
