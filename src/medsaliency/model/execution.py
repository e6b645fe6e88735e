"""How passes of a module are run: micro-batch, memory format and precision, and what is done when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor, nn

from medsaliency.types import MedsaliencyError

T = TypeVar("T")
MemoryFormat = Literal["channels_last", "contiguous"]
Precision = Literal["float32", "bfloat16"]
PIXELS = {"cpu": 2**19, "cuda": 2**23}
"""Most pixels of a micro-batch by kind of device: what bounds the memory of a pass.

On a CPU 10 images of 224 x 224, beyond which feature maps leave its caches and each image takes longer, or 2 volumes of
64 x 64 x 64; on a GPU 167 such images, 8 of 1024 x 1024, or 32 such volumes.
"""


@dataclass(frozen=True)
class Execution:
    """How a classifier runs its module.

    Args:
        batch_size: Most images in a pass.
        memory_format: "channels_last", mostly faster for images and less often for volumes, or "contiguous".
        precision: Of the forward passes by which a method scores many variants of an image: "float32" or "bfloat16"
            (never of a prediction, a metric, or a method of a single pass).
        gradient_precision: Likewise of the forward and backward passes of which a method takes a mean. Gradients suffer
            more: a rounded activation can fall on the other side of a ReLU's zero.

    Raises:
        MedsaliencyError: If one of them cannot be.
    """

    batch_size: int = 32
    memory_format: MemoryFormat = "channels_last"
    precision: Precision = "float32"
    gradient_precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise MedsaliencyError(f"classifier: expected a batch_size of at least 1, got {self.batch_size}")
        precisions = {self.precision, self.gradient_precision}
        if self.memory_format not in get_args(MemoryFormat) or not precisions <= set(get_args(Precision)):
            raise MedsaliencyError(
                f"execution: expected a memory_format of {get_args(MemoryFormat)} and a precision of "
                f"{get_args(Precision)}, got {self}"
            )

    def format(self, axes: int) -> torch.memory_format:
        """The memory format as torch names it, of a tensor of 4 axes (images, and their layers' weights) or of 5."""
        if self.memory_format == "contiguous":
            return torch.contiguous_format
        return torch.channels_last_3d if axes == 5 else torch.channels_last

    def arrange(self, module: nn.Module) -> None:
        """Bring a module's weights into the memory format, their values untouched."""

        def arranged(values: Tensor) -> Tensor:
            return values.to(memory_format=self.format(values.ndim)) if values.ndim in (4, 5) else values

        module._apply(arranged)  # `module.to` knows one format, and refuses it for weights of another number of axes


NUMBERS = 2**22
"""Most numbers in the feature maps of a micro-batch that starts at a layer: 16 MiB of float32."""


@dataclass
class Tail:
    """What runs from a layer on, in micro-batches of its own."""

    batch_size: int
    device: torch.device


class _Adapts(Protocol):
    batch_size: int
    device: torch.device


def most_images(device: torch.device, pixels: int) -> int:
    """Images of ``pixels`` each (H times W, for volumes times D) that :data:`PIXELS` allows in a pass, at least one."""
    return max(1, PIXELS.get(device.type, PIXELS["cpu"]) // pixels)


def over_micro_batches(owner: _Adapts, count: int, pixels: int, run: Callable[[slice], T]) -> list[T]:
    """Run on slices of ``count`` images, as even as they can be, and on halves of them where memory runs out.

    Args:
        owner: Its ``batch_size`` bounds a slice, as :func:`most_images` does, and is lowered where memory runs out.
        count: Images in all.
        pixels: H times W of one; of a volume D times H times W.
        run: Called with each slice in turn.

    Returns:
        What each call returned.

    Raises:
        MedsaliencyError: If memory does not suffice for a single image.
    """
    found: list[T] = []
    start = 0
    while start < count:
        left = count - start
        most = min(owner.batch_size, most_images(owner.device, pixels))
        size = -(-left // -(-left // most))
        try:
            found.append(run(slice(start, start + size)))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise MedsaliencyError(
                    f"classifier: memory does not suffice for one image of {pixels:,} pixels; give smaller images"
                ) from error
            owner.batch_size = size // 2
            continue
        start += size
    return found


@contextmanager
def serving(module: nn.Module) -> Iterator[None]:
    """Eval mode for the whole module, and every submodule's own mode back afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        # On CUDA a convolution would otherwise be rounded to TF32, and its algorithm chosen by a stopwatch.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        for part in training:
            part.training = True


def out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says by this error that memory, of a GPU or the machine's own, did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively (AVX-512 BF16, AMX, or a CUDA device that supports it).

    Decided by what the hardware declares and not by a timing, so that two runs on one machine compute the same.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and _cpu_has_bfloat16()


def _cpu_has_bfloat16() -> bool:
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
