"""A classifier with its preprocessing: scores, input gradients, and a layer's activations with their gradients.

The only owner of hooks. Everything else asks it, and it leaves the module as it found it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medsaliency.model.layers import find_target_layer
from medsaliency.types import MedsaliencyError, nearest

Output = Literal["softmax", "sigmoid", "single_logit"]


@dataclass(frozen=True)
class Features:
    """A layer's feature maps and what the target's logit says of them, both (N, K, h, w) float32."""

    activations: Tensor
    gradients: Tensor


class Classifier:
    """An ``nn.Module`` put into service: its classes, its preprocessing, its device and how much it takes at once.

    Images are given in display range, (N, C, H, W) float32, usually [0, 1]; the module sees ``(image - mean) / std``.
    The module runs in eval mode in the channels-last memory format, or in the plain one where it calls ``view`` on
    feature maps (its weights are moved to that format and to the device, their values untouched); its training mode
    and hooks are restored after every call.

    Args:
        module: Takes (N, C, H, W) and returns logits (N, K), or (N, 1) for ``output="single_logit"``.
        classes: Name of each class. A single logit has two: the one below the threshold, then the one above.
        mean: Subtracted from the image, one value or one a channel.
        std: Divides it then, one value or one a channel, above zero.
        channels: C of the module's input.
        size: H and W the module was trained for; None where any will do.
        output: "softmax" for exclusive classes, "sigmoid" for independent ones, "single_logit" for a yes or no.
        target_layer: Dotted name of the layer whose feature maps CAM methods read; None finds it by tracing the
            first batch (see :func:`medsaliency.model.layers.find_target_layer`).
        batch_size: Most images in one pass of the module.
        device: Where it runs; None leaves the module where it is.
        name: Of the architecture, for reports.

    Raises:
        MedsaliencyError: If ``output``, ``std``, ``batch_size`` or the number of classes cannot be right, or if
            ``target_layer`` is not a layer of the module (the nearest names are shown).

    Example:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> model = Classifier(module, classes=["normal", "tumor"], mean=0.5, std=0.25)
        >>> model.probabilities(torch.rand(3, 1, 4, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        module: nn.Module,
        classes: Sequence[str],
        *,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        channels: int = 1,
        size: int | None = None,
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
        if batch_size < 1:
            raise MedsaliencyError(f"classifier: expected a batch_size of at least 1, got {batch_size}")
        if target_layer is not None:
            _layer(module, target_layer)
        first = next(module.parameters(), None)
        self.device = torch.device(device) if device is not None else first.device if first is not None else _CPU
        self.module = module.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._memory_format = torch.channels_last
        self.name = name or type(module).__name__
        self.classes = tuple(classes)
        self.channels = channels
        self.size = size
        self.output: Output = output
        self.batch_size = batch_size
        self.mean = _per_channel(mean, channels, self.device, "mean")
        self.std = _per_channel(std, channels, self.device, "std")
        if not (self.std > 0).all():
            raise MedsaliencyError(f"classifier: expected std above 0 in every channel, got {std}")
        self._target_layer = target_layer

    def target_layer(self, images: Tensor) -> str:
        """Name of the layer that CAM methods read, found once by tracing one image of ``images`` (N, C, H, W)."""
        if self._target_layer is None:
            self.logits(images[:1])
            with self._serving(), torch.no_grad():
                self._target_layer = find_target_layer(self.module, self.prepare(images[:1]))
        return self._target_layer

    def use_layer(self, name: str) -> None:
        """Set the layer that CAM methods read.

        Raises:
            MedsaliencyError: If the module has no such layer; the nearest names are shown.
        """
        _layer(self.module, name)
        self._target_layer = name

    def with_layer(self, name: str) -> Classifier:
        """The same classifier, module included, with another layer for CAM methods to read.

        Raises:
            MedsaliencyError: If the module has no such layer; the nearest names are shown.
        """
        other = copy(self)
        other.use_layer(name)
        return other

    @property
    def known_target_layer(self) -> str | None:
        """Name of the layer that CAM methods read, or None where none was given and none was looked for yet."""
        return self._target_layer

    def logits(self, images: Tensor) -> Tensor:
        """(N, K) float32 logits of (N, C, H, W) images. A single logit z becomes (-z, z).

        Raises:
            MedsaliencyError: If the images do not fit the module, or an image or a logit is not finite.
        """
        self._check(images)
        with self._serving(), torch.no_grad():
            return torch.cat([self._forward(self.prepare(part)) for part in images.split(self.batch_size)])

    def probabilities(self, images: Tensor) -> Tensor:
        """(N, K) float32 probabilities of (N, C, H, W) images: softmax, or sigmoid for the other outputs."""
        return self.to_probabilities(self.logits(images))

    def to_probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities (N, K) of logits (N, K) under this classifier's kind of output."""
        return logits.softmax(dim=1) if self.output == "softmax" else logits.sigmoid()

    def input_gradients(self, images: Tensor, targets: Tensor) -> Tensor:
        """Gradient of each image's target logit with respect to the image in display range, (N, C, H, W) float32."""
        return self._backward(images, targets, None)[0]

    def features(self, images: Tensor, targets: Tensor) -> Features:
        """Activations of the target layer and the target logit's gradient there."""
        features = self._backward(images, targets, self.target_layer(images), to_input=False)[1]
        assert features is not None  # noqa: S101 - a layer was given
        return features

    def input_gradients_and_features(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Features]:
        """Both, from one forward and backward pass."""
        gradients, features = self._backward(images, targets, self.target_layer(images))
        assert features is not None  # noqa: S101 - a layer was given
        return gradients, features

    def _backward(
        self, images: Tensor, targets: Tensor, layer: str | None, *, to_input: bool = True
    ) -> tuple[Tensor, Features | None]:
        self._check(images)
        if targets.shape != (len(images),):
            raise MedsaliencyError(
                f"expected one target an image, shape ({len(images)},), got {tuple(targets.shape)}; give each its class"
            )
        if len(targets) and not (int(targets.min()) >= 0 and int(targets.max()) < len(self.classes)):
            raise MedsaliencyError(
                f"expected targets from 0 to {len(self.classes) - 1} for {len(self.classes)} classes, "
                f"got {int(targets.min())} to {int(targets.max())}"
            )
        parts: list[list[Tensor]] = []
        with self._serving():
            for part, target in zip(images.split(self.batch_size), targets.split(self.batch_size), strict=True):
                parts.append(self._backward_once(part, target, layer, to_input))
        joined = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
        gradients = joined[0] if to_input else images.new_empty(0)
        return gradients, Features(joined[-2], joined[-1]) if layer is not None else None

    def _backward_once(self, images: Tensor, targets: Tensor, layer: str | None, to_input: bool) -> list[Tensor]:
        """One micro-batch: [input gradients] if asked for, [activations, their gradients] if a layer is given."""
        with torch.enable_grad():
            inputs = images.detach().to(self.device, torch.float32).requires_grad_()
            with _capture(self.module, layer) as kept:
                logits = self._forward(self.prepare(inputs), kept)
            if layer is not None and len(kept) != 1:
                raise MedsaliencyError(
                    f"layer {layer!r}: expected to run once in a forward pass, ran {len(kept)} times; "
                    "choose another target_layer"
                )
            score = logits.gather(1, targets.to(self.device)[:, None]).sum()
            sources = ([inputs] if to_input else []) + kept
            found = torch.autograd.grad(score, sources, allow_unused=True)
        gradients = [torch.zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]
        result = [gradients[0].float()] if to_input else []
        if layer is not None:
            result += [kept[0].detach().float(), gradients[-1].float()]
        return result

    def prepare(self, images: Tensor) -> Tensor:
        """What the module is given for (N, C, H, W) images in display range: normalized, on its device."""
        images = images.to(self.device, torch.float32)
        return ((images - self.mean) / self.std).contiguous(memory_format=self._memory_format)

    def _run(self, prepared: Tensor, kept: list[Tensor]) -> object:
        try:
            return self.module(prepared)
        except RuntimeError as error:
            if self._memory_format == torch.contiguous_format or "view size is not compatible" not in str(error):
                raise
        # The module flattens feature maps with `view`, which only the plain memory format allows: stay with that.
        self._memory_format = torch.contiguous_format
        self.module.to(memory_format=self._memory_format)
        kept.clear()
        return self.module(prepared.contiguous())

    def _forward(self, prepared: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        logits = self._run(prepared, [] if kept is None else kept)
        width = 1 if self.output == "single_logit" else len(self.classes)
        if not isinstance(logits, Tensor) or logits.shape != (len(prepared), width):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise MedsaliencyError(
                f"classifier: expected logits of shape ({len(prepared)}, {width}) for classes {list(self.classes)} and "
                f"output {self.output!r}, got {got}; name as many classes as the model has outputs"
            )
        bad = (~torch.isfinite(logits)).any(dim=1).nonzero()
        if len(bad):
            raise MedsaliencyError(
                f"classifier: expected finite logits, got NaN or infinity for image {int(bad[0])} of the batch; "
                "check the weights and that images are in the range the model was trained on"
            )
        logits = logits.float()
        return torch.cat([-logits, logits], dim=1) if self.output == "single_logit" else logits

    def _check(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != self.channels or len(images) == 0:
            raise MedsaliencyError(
                f"classifier: expected images of shape (N, {self.channels}, H, W) with N at least 1, "
                f"got {tuple(images.shape)}; a model of {self.channels} channel(s) takes images of as many"
            )
        bad = (~torch.isfinite(images)).flatten(1).any(dim=1).nonzero()
        if len(bad):
            raise MedsaliencyError(
                f"classifier: expected finite pixels, got NaN or infinity in image {int(bad[0])} of the batch; mend it"
            )

    @contextmanager
    def _serving(self) -> Iterator[None]:
        """Eval mode for the whole module, and every submodule's own mode back afterwards."""
        training = [module for module in self.module.modules() if module.training]
        self.module.eval()
        try:
            # On CUDA a convolution would otherwise be rounded to TF32, and its algorithm chosen by a stopwatch.
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                yield
        finally:
            for module in training:
                module.training = True


_CPU = torch.device("cpu")


def _per_channel(value: float | Sequence[float], channels: int, device: torch.device, name: str) -> Tensor:
    values = torch.as_tensor(value, dtype=torch.float32, device=device).flatten()
    if len(values) not in (1, channels):
        raise MedsaliencyError(f"classifier: expected {name} with 1 or {channels} values, got {len(values)}")
    return values.expand(channels)[:, None, None].clone()


def _layer(module: nn.Module, name: str) -> nn.Module:
    layers: dict[str, nn.Module] = dict(module.named_modules())
    if name not in layers or not name:
        raise MedsaliencyError(f"unknown layer {name!r}{nearest(name, [n for n in layers if n])}")
    return layers[name]


@contextmanager
def _capture(module: nn.Module, layer: str | None) -> Iterator[list[Tensor]]:
    """Keep what ``layer`` puts out, one tensor a call of it; nothing where ``layer`` is None."""
    kept: list[Tensor] = []
    if layer is None:
        yield kept
        return

    def keep(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise MedsaliencyError(f"layer {layer!r}: expected feature maps (N, K, h, w), got {got}; choose another")
        kept.append(output)
        # The next module may write into what it is given (an in-place ReLU does): it gets a copy.
        return output.clone()

    handle = _layer(module, layer).register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
