"""A classifier with its preprocessing: scores, input gradients, and a layer's activations with their gradients.

Everything that runs the module asks it, and it leaves the module as it found it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace as changed
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from medsaliency.model import folding
from medsaliency.model.checks import check_axes, check_images, check_logits, check_size, per_channel
from medsaliency.model.execution import NUMBERS, Execution, Tail, over_micro_batches, serving
from medsaliency.model.grids import pixels
from medsaliency.model.hooks import capture, layer_of, replace
from medsaliency.model.layers import Layer, describe_layers, find_target_layer
from medsaliency.model.passes import Choose, Features, Pass
from medsaliency.model.scorer import Scorer, to_be_hooked
from medsaliency.model.targets import Target, Targets, as_targets, score
from medsaliency.types import MedsaliencyError, nearest

Output = Literal["softmax", "sigmoid", "single_logit"]
Size = int | tuple[int, int, int]
"""Of the images that a module was trained for: a side in pixels, or (D, H, W) of a volume."""
T = TypeVar("T")


class Classifier:
    """An ``nn.Module`` put into service: its classes, its preprocessing, its device and how much it takes at once.

    Images are given in display range, (N, C, H, W) float32, usually [0, 1]; the module sees ``(image - mean) / std``.
    The module runs in eval mode, in micro-batches and a memory format that ``execution`` says (its weights are moved
    to that format and to the device, their values untouched); its training mode and hooks are restored after every
    call.

    Args:
        module: Takes (N, C, H, W) and returns logits (N, K), or (N, 1) for ``output="single_logit"``.
        classes: Name of each class. A single logit has two: the one below the threshold, then the one above.
        mean: Subtracted from the image, one value or one a channel.
        std: Divides it then, one value or one a channel, above zero.
        channels: C of the module's input.
        size: H and W the module was trained for, or (D, H, W) of volumes; None where any will do.
        output: "softmax" for exclusive classes, "sigmoid" for independent ones, "single_logit" for a yes or no.
        target_layer: Dotted name of the layer whose feature maps CAM methods read; None finds it by tracing the
            first batch (see :func:`medsaliency.model.layers.find_target_layer`).
        batch_size: Most images in one pass of the module; fewer where they are large.
        device: Where it runs; None leaves the module where it is.
        name: Of the architecture, for reports.

    Raises:
        MedsaliencyError: If ``output``, ``std``, ``size``, ``batch_size`` or the number of classes cannot be right, or
            if ``target_layer`` is not a layer of the module (the nearest names are shown).

    Example:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> model = Classifier(module, classes=["normal", "tumor"], mean=0.5, std=0.25)
        >>> model.probabilities(torch.rand(3, 1, 4, 4)).shape
        torch.Size([3, 2])
    """

    differentiable = True
    """Whether it gives gradients and layers, or scores only."""

    def __init__(
        self,
        module: nn.Module,
        classes: Sequence[str],
        *,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        channels: int = 1,
        size: Size | None = None,
        output: Output = "softmax",
        target_layer: str | None = None,
        batch_size: int = 32,
        device: torch.device | str | None = None,
        name: str | None = None,
    ) -> None:
        if output not in get_args(Output):
            raise MedsaliencyError(
                f"classifier: expected output softmax, sigmoid or single_logit, got {output!r}"
                f"{nearest(output, get_args(Output))}"
            )
        if output == "single_logit" and len(classes) != 2:
            raise MedsaliencyError(f"classifier: a single logit has 2 classes (below, above), got {len(classes)}")
        check_size(size)
        # Which format is faster for volumes depends on the network: the plain one, until tuning measures both.
        volumes = any(values.ndim == 5 for values in module.parameters())
        execution = Execution(batch_size, "contiguous" if volumes else "channels_last")
        if target_layer is not None:
            layer_of(module, target_layer)
        first = next(module.parameters(), None)
        self.device = torch.device(device or (first.device if first is not None else "cpu"))
        self.module = module.to(device=self.device)
        self.execution = execution
        self.name = name or type(module).__name__
        self.classes = tuple(classes)
        self.channels = channels
        self.size = size
        self.output: Output = output
        self.mean = per_channel(mean, channels, self.device, "mean")
        self.std = per_channel(std, channels, self.device, "std")
        if not (self.std > 0).all():
            raise MedsaliencyError(f"classifier: expected std above 0 in every channel, got {std}")
        self._target_layer = target_layer
        self._plan: folding.Plan | None = None
        self._unfolded: Classifier | None = None

    def target_layer(self, images: Tensor) -> str:
        """Name of the layer that CAM methods read, found once by tracing one image of ``images`` (N, C, H, W)."""
        if self._target_layer is None:
            self.logits(images[:1])
            with serving(self.module), torch.no_grad():
                self._target_layer = find_target_layer(self.module, self.prepare(images[:1]))
        return self._target_layer

    def describe_layers(self, images: Tensor) -> list[Layer]:
        """Layers that CAM methods could read, which of them tracing one of ``images`` (N, C, H, W) chooses, and why."""
        self.logits(images[:1])
        with serving(self.module), torch.no_grad():
            return describe_layers(self.module, self.prepare(images[:1]))

    def use_layer(self, name: str) -> None:
        """Set the layer that CAM methods read.

        Raises:
            MedsaliencyError: If the module has no such layer; the nearest names are shown.
        """
        layer_of(self.module, name)
        self._target_layer = name

    def with_layer(self, name: str) -> Classifier:
        """The same classifier, module included, with another layer for CAM methods to read.

        Raises:
            MedsaliencyError: If the module has no such layer; the nearest names are shown.
        """
        other = copy(self)
        other.use_layer(name)
        return other

    def folded(self, images: Tensor, *, low: bool | None = None) -> Classifier:
        """The same classifier on a copy of its module that does the same with less work.

        For the many passes of a method. The copy has the weights of now and does not follow when they change. What can
        be folded is found once, by tracing one image of ``images`` (N, C, H, W); where nothing can be, or the module
        cannot be copied, both share it.

        Args:
            images: (N, C, H, W) in display range.
            low: Whether passes in bfloat16 are to come, for which the last layer is kept in float32; None asks the
                execution.
        """
        if self._plan is None and not folding.possible(self.module):
            self._plan = folding.NOTHING
        if self._plan is None:
            self.logits(images[:1])
            with serving(self.module):
                self._plan = folding.plan(self.module, self.prepare(images[:1]))
        other = copy(self)
        other._unfolded = self
        if low is None:
            low = "bfloat16" in (self.execution.precision, self.execution.gradient_precision)
        if self._plan.folds or (self._plan.head and low):
            with suppress(RuntimeError):  # a module that holds tensors of a pass cannot be copied
                other.module = folding.apply(self.module, self._plan)
                self.execution.arrange(other.module)
        return other

    @property
    def known_target_layer(self) -> str | None:
        """Name of the layer that CAM methods read, or None where none was given and none was looked for yet."""
        return self._target_layer

    @property
    def execution(self) -> Execution:
        """How passes are run: micro-batch, memory format, precision."""
        return self._execution

    @execution.setter
    def execution(self, execution: Execution) -> None:
        self._execution = execution
        execution.arrange(self.module)

    @property
    def batch_size(self) -> int:
        """Most images in one pass of the module."""
        return self.execution.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self._execution = changed(self._execution, batch_size=batch_size)
        if self._unfolded is not None:  # where memory ran out is worth knowing for later passes too
            self._unfolded.batch_size = batch_size

    def logits(self, images: Tensor, *, precise: bool = True) -> Tensor:
        """(N, K) float32 logits of (N, C, H, W) images. A single logit z becomes (-z, z).

        Args:
            images: In display range.
            precise: In float32; if not, in the precision of scores that the execution says.

        Raises:
            MedsaliencyError: If the images do not fit the module, or an image or a logit is not finite.
        """
        check_images(images, self.channels)
        low = self.execution.precision == "bfloat16" and not precise
        with serving(self.module), torch.no_grad():
            return torch.cat(self._each(images, lambda part: self._forward(images[part], low=low)))

    def probabilities(self, images: Tensor) -> Tensor:
        """(N, K) float32 probabilities of (N, C, H, W) images: softmax, or sigmoid for the other outputs."""
        return self.to_probabilities(self.logits(images))

    def to_probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities (N, K) of logits (N, K) under this classifier's kind of output."""
        return logits.softmax(dim=1) if self.output == "softmax" else logits.sigmoid()

    def as_targets(self, targets: Targets, count: int) -> tuple[Target, ...]:
        """One target object for each of ``count`` images; see :func:`medsaliency.model.targets.as_targets`."""
        return as_targets(targets, count, len(self.classes))

    def score(self, targets: Sequence[Target], logits: Tensor) -> Tensor:
        """Score (N,) of each target at its row of logits (N, K)."""
        return score(targets, logits, self.to_probabilities(logits))

    def scores(self, images: Tensor, targets: Targets, *, precise: bool = False) -> Tensor:
        """(N,) float32 score of each image's target: a forward pass, in float32 if ``precise``."""
        check_images(images, self.channels)
        wanted = self.as_targets(targets, len(images))
        low = self.execution.precision == "bfloat16" and not precise
        with serving(self.module), torch.no_grad():
            parts = self._each(images, lambda part: self.score(wanted[part], self._forward(images[part], low=low)))
        return torch.cat(parts)

    @contextmanager
    def scorers(self, targets: Sequence[Target]) -> Iterator[list[nn.Module]]:
        """For each target a module from images (n, C, H, W) in display range to its score (n,), within the block.

        For libraries that hook layers and run the module themselves. All of them run one copy of this classifier's
        module (see :func:`~medsaliency.model.scorer.to_be_hooked`); whatever is done to it, the module stays as it is.
        """
        own = copy(self)
        own.module = to_be_hooked(self.module)

        def score_of(target: Target) -> Callable[[Tensor], Tensor]:
            return lambda images: own.score([target] * len(images), own._forward(images))

        with serving(own.module):
            yield [Scorer(own.module, score_of(target)) for target in targets]

    def scores_from_layer(self, image: Tensor, activations: Tensor, target: Target | int) -> Tensor:
        """(P,) float32 score of one image if the target layer had put out each of P others.

        What comes before the layer runs once a micro-batch and not once an activation, where the module allows it: a
        first comparison of both ways on this image decides. Always in float32, since scores may differ by little.

        Args:
            image: (1, C, H, W) in display range.
            activations: (P, K, h, w).
            target: The one explained.
        """
        check_images(image, self.channels)
        layer = self.target_layer(image)
        (wanted,) = self.as_targets([target], 1)

        def run(part: Tensor, copies: int) -> Tensor:
            with replace(self.module, layer, part):
                given = image.expand(copies, *image.shape[1:])
                return self.score([wanted] * len(part), self._forward(given, rows=len(part)))

        with serving(self.module), torch.no_grad():
            whole = run(activations[:2], len(activations[:2]))
            try:
                alone = bool(torch.allclose(run(activations[:2], 1), whole, rtol=1e-3, atol=1e-4))
            except (RuntimeError, MedsaliencyError):  # a module that mixes the layer's output with what came before
                alone = False
            if alone:
                tail = Tail(max(1, NUMBERS // activations[0].numel()), self.device)
                parts = over_micro_batches(tail, len(activations), 1, lambda part: run(activations[part], 1))
            else:
                parts = self._each(activations, lambda part: run(activations[part], len(activations[part])), image)
        return torch.cat(parts)

    def input_gradients(self, images: Tensor, targets: Targets) -> Tensor:
        """Gradient of each image's target with respect to the image in display range, (N, C, H, W) float32."""
        gradients = self.backward(images, targets).input_gradients
        assert gradients is not None  # noqa: S101 - asked for
        return gradients

    def scores_and_gradients(self, images: Tensor, targets: Targets, *, precise: bool = False) -> tuple[Tensor, Tensor]:
        """Score (N,) and input gradients (N, C, H, W) of each image's target, in float32 if ``precise``."""
        low = self.execution.gradient_precision == "bfloat16" and not precise
        found = self.backward(images, targets, low=low)
        assert found.input_gradients is not None  # noqa: S101 - asked for
        return self.score(found.targets, found.logits), found.input_gradients

    def features(self, images: Tensor, targets: Targets) -> Features:
        """Activations of the target layer and the target's gradient there; nothing before the layer is derived."""
        features = self.backward(images, targets, to_input=False, to_layer=True).features
        assert features is not None  # noqa: S101 - asked for
        return features

    def backward(
        self,
        images: Tensor,
        targets: Targets | Choose,
        *,
        to_input: bool = True,
        to_layer: bool = False,
        low: bool = False,
    ) -> Pass:
        """One forward and backward pass.

        Args:
            images: (N, C, H, W) in display range.
            targets: One an image, or a function from logits (N, K) to them.
            to_input: Whether input gradients are wanted.
            to_layer: Whether the target layer's activations and gradients are.
            low: Whether in bfloat16.

        Raises:
            MedsaliencyError: If images or targets do not fit, something is not finite, or the target layer did not run
                exactly once.
        """
        check_images(images, self.channels)
        layer = self.target_layer(images) if to_layer else None
        wanted = None if callable(targets) else self.as_targets(targets, len(images))

        def run(part: slice) -> Pass:
            own = targets if wanted is None else wanted[part]
            return self._backward_once(images[part], own, layer, to_input, low)

        with serving(self.module):
            return Pass.joined(self._each(images, run))

    def _backward_once(
        self, images: Tensor, targets: Targets | Choose, layer: str | None, to_input: bool, low: bool
    ) -> Pass:
        """One micro-batch."""
        inputs = images.detach().to(self.device, torch.float32).requires_grad_(to_input)
        with torch.set_grad_enabled(to_input), capture(self.module, layer, leaf=not to_input) as kept:
            logits = self._forward(inputs, kept=kept, low=low)
            if layer is not None and len(kept) != 1:
                raise MedsaliencyError(
                    f"layer {layer!r}: expected to run once in a forward pass, ran {len(kept)} times; "
                    "choose another target_layer"
                )
            wanted = self.as_targets(targets(logits.detach()) if callable(targets) else targets, len(images))
            total = self.score(wanted, logits).sum()
        sources = ([inputs] if to_input else []) + kept
        found = torch.autograd.grad(total, sources, allow_unused=True)
        gradients = [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]
        return Pass(
            logits.detach(),
            wanted,
            gradients[0].float() if to_input else None,
            Features(kept[0].detach().float(), gradients[-1].float()) if layer is not None else None,
        )

    def _each(self, items: Tensor, run: Callable[[slice], T], images: Tensor | None = None) -> list[T]:
        """What ``run`` gives for each micro-batch of ``items``, which are images, or stand for some of that size."""
        return over_micro_batches(self, len(items), pixels(items if images is None else images), run)

    def prepare(self, images: Tensor) -> Tensor:
        """What the module is given for (N, C, H, W) images in display range: normalized, on its device."""
        images = images.to(self.device, torch.float32)
        mean, std = (values.reshape(-1, *(1,) * (images.ndim - 2)) for values in (self.mean, self.std))
        return ((images - mean) / std).contiguous(memory_format=self.execution.format(images.ndim))

    def _run(self, prepared: Tensor, kept: list[Tensor], low: bool) -> object:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            try:
                return self.module(prepared)
            except (RuntimeError, ValueError) as error:
                check_axes(self.module, prepared)
                if self.execution.memory_format == "contiguous" or "view size is not compatible" not in str(error):
                    raise
            # The module flattens feature maps with `view`, which only the plain memory format allows: stay with that.
            self.execution = changed(self.execution, memory_format="contiguous")
            kept.clear()
            return self.module(prepared.contiguous())

    def _forward(
        self, images: Tensor, *, kept: list[Tensor] | None = None, rows: int | None = None, low: bool = False
    ) -> Tensor:
        """Logits (n, K) of images in display range; ``rows`` is n where a replaced layer makes it another number."""
        logits = self._run(self.prepare(images), [] if kept is None else kept, low)
        width = 1 if self.output == "single_logit" else len(self.classes)
        found = check_logits(logits, len(images) if rows is None else rows, width, self.classes, self.output)
        return torch.cat([-found, found], dim=1) if self.output == "single_logit" else found
