"""What one pass of a model costs, as peers run it and as ours does: the floor under every method's seconds."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from cases import Case
from timing import folded, timed

Result = dict[str, Any]
REPEATS = 3
PEERS_BATCH = 16


def measure_passes(case: Case) -> Result:
    """Seconds an image of forward passes, and of forward and backward passes, by setting; the settings take turns."""
    execution = case.classifier.execution
    own = execution.batch_size
    settings: dict[str, tuple[nn.Module, int, torch.memory_format, bool, bool]] = {
        "plain, 1 image": (case.plain.net, 1, torch.contiguous_format, False, False),
        f"plain, {PEERS_BATCH} images": (case.plain.net, PEERS_BATCH, torch.contiguous_format, False, False),
        f"ours, single passes, {own} images": (case.classifier.module, own, execution.format(4), False, False),
        f"ours, bulk passes, {own} images": (
            folded(case).module,
            own,
            execution.format(4),
            execution.precision == "bfloat16",
            execution.gradient_precision == "bfloat16",
        ),
    }
    players = {}
    for label, (module, rows, layout, low, low_gradient) in settings.items():
        inputs = case.classifier.prepare(case.images)[torch.arange(rows) % len(case.images)]
        inputs = inputs.contiguous(memory_format=layout)
        players[label, "forward"] = rows, _forward(module.eval(), inputs, low)
        players[label, "forward_backward"] = rows, _backward(module.eval(), inputs, low_gradient)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in players}
    for repeat in range(REPEATS + 1):  # the first warms up
        for key, (rows, play) in players.items():
            taken, _ = timed(play, case.device)
            if repeat:
                seconds[key].append(taken / rows)
    return {
        label: {kind: median(seconds[label, kind]) for kind in ("forward", "forward_backward")} for label in settings
    }


def _forward(module: nn.Module, inputs: Tensor, low: bool) -> Callable[[], object]:
    def play() -> object:
        with torch.no_grad(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=low):
            return module(inputs)

    return play


def _backward(module: nn.Module, inputs: Tensor, low: bool) -> Callable[[], object]:
    def play() -> object:
        given = inputs.detach().requires_grad_()
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=low):
            return torch.autograd.grad(module(given)[:, 0].sum(), given)

    return play


def pass_table(found: Result) -> str:
    """The page's table, a line a setting."""
    rows = [
        f"| {label} | {1000 * taken['forward']:.3g} | {1000 * taken['forward_backward']:.3g} |"
        for label, taken in found.items()
    ]
    head = ["| a pass | forward, ms/image | forward and backward, ms/image |", "|---|---:|---:|"]
    return "\n".join([*head, *rows]) + "\n"
