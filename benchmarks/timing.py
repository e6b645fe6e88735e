"""Seconds, passes of a model, and what those passes cost by themselves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from cases import Case
from medsaliency.model.classifier import Classifier
from medsaliency.model.hooks import capture, replace

T = TypeVar("T")
Kind = Literal["forward", "forward_backward", "to_layer", "from_layer"]
REPLAYS = 8
"""Most times that one kind of call is played again; alike calls beyond are taken to cost as much."""


def timed(run: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Seconds of ``run`` and what it gave."""
    _settle(device)
    begin = time.perf_counter()
    found = run()
    _settle(device)
    return time.perf_counter() - begin, found


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Call:
    """One call of a model.

    Args:
        kind: "forward" alone; "forward_backward" down to the input; "to_layer", a forward pass whose gradients go no
            further down than the target layer; "from_layer", whose target layer puts out what it is told.
        rows: Images given.
        out: Rows of logits.
        low: Whether in bfloat16.
        folded: Whether a copy of the model ran, with less work in it.
    """

    kind: Kind
    rows: int
    out: int
    low: bool
    folded: bool = False


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Call]]:
    """Keep every call of ``model``, and of copies that are made of it within the block: hooks are copied along."""
    calls: list[Call] = []

    def keep(ran: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        given = inputs[0]
        kind: Kind = "forward"
        if len(output) != len(given):
            kind = "from_layer"
        elif given.requires_grad:
            kind = "forward_backward"
        elif output.requires_grad:
            kind = "to_layer"
        low = torch.is_autocast_enabled(given.device.type)
        calls.append(Call(kind, len(given), len(output), low, ran is not model))

    handle = model.register_forward_hook(keep)
    try:
        yield calls
    finally:
        handle.remove()


def passes(calls: Sequence[Call], images: int) -> tuple[float, dict[Kind, float]]:
    """Passes an image, all and by kind; those from the layer on, which are only a head's, are not in the first."""
    rows: dict[Kind, float] = {"forward": 0, "forward_backward": 0, "to_layer": 0, "from_layer": 0}
    for call in calls:
        # What comes before the layer runs for the images given, what comes after it for the rows put out.
        rows["forward" if call.kind == "from_layer" else call.kind] += call.rows / images
        rows["from_layer"] += call.out / images if call.kind == "from_layer" else 0
    return sum(rows.values()) - rows["from_layer"], rows


def pure_seconds(case: Case, calls: Sequence[Call]) -> float:
    """What the calls cost with nothing around them, at the same micro-batch and memory format."""
    total = 0.0
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for call, count in Counter(calls).items():
            play = _player(case, call)
            times = min(count, REPLAYS)
            seconds, _ = timed(lambda play=play, times=times: [play() for _ in range(times)], case.device)
            total += seconds / times * count
    return total


def folded(case: Case) -> Classifier:
    """What runs the bulk of a method's passes; found once, which is then no longer part of what is timed."""
    make = getattr(case.classifier, "folded", None)
    return make(case.images[:1]) if make else case.classifier


def _player(case: Case, call: Call) -> Callable[[], object]:
    """A function that makes the same call again; its input is ready before."""
    classifier = folded(case) if call.folded else case.classifier
    module, execution = classifier.module.eval(), classifier.execution
    which = torch.arange(call.rows) % len(case.images)
    inputs = case.classifier.prepare(case.images)[which].contiguous(memory_format=execution.format(4))
    targets = torch.tensor(case.targets, device=case.device)[which, None]
    if call.kind == "from_layer":
        with torch.no_grad(), capture(module, case.layer) as kept:
            module(inputs[:1])
        activations = kept[0].expand(call.out, -1, -1, -1)

    def play() -> object:
        with torch.autocast(case.device.type, torch.bfloat16, enabled=call.low):
            if call.kind == "forward_backward":
                given = inputs.detach().requires_grad_()
                return torch.autograd.grad(module(given).gather(1, targets).sum(), given)
            with torch.no_grad():
                if call.kind == "to_layer":
                    with capture(module, case.layer, leaf=True) as kept:
                        return torch.autograd.grad(module(inputs).gather(1, targets).sum(), kept)
                if call.kind == "from_layer":
                    with replace(module, case.layer, activations):
                        return module(inputs)
                return module(inputs)

    return play


def bare_pass_seconds(case: Case) -> float:
    """One forward and backward pass of all images, as the classifier would run it."""
    count, size = len(case.images), case.classifier.batch_size
    rows = [min(size, count - start) for start in range(0, count, size)]
    return pure_seconds(case, [Call("forward_backward", n, n, low=False) for n in rows])
