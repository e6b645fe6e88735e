"""MONAI's classification networks by name: ``monai:DenseNet121`` for images, ``monai-3d:DenseNet121`` for volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from medsaliency.model.optional import optional
from medsaliency.types import MedsaliencyError, nearest

DIMENSIONS = {"monai:": 2, "monai-3d:": 3}
"""Spatial dimensions by the prefix of a name."""
PATCH = 16
"""Pixels a side of a vision transformer's patches."""


def networks() -> dict[str, Callable[..., nn.Module]]:
    """What builds each network from keyword arguments ``spatial_dims``, ``channels``, ``classes`` and ``size``."""
    nets = {f"DenseNet{depth}": _dense(f"DenseNet{depth}") for depth in (121, 169, 201, 264)}
    nets |= {f"ResNet{depth}": _resnet(depth) for depth in (10, 18, 34, 50, 101, 152)}
    nets |= {f"EfficientNet-B{scale}": _efficient(f"efficientnet-b{scale}") for scale in range(8)}
    squeezing = ("SENet154", "SEResNet50", "SEResNet101", "SEResNet152", "SEResNext50", "SEResNext101")
    nets |= {name: _squeezing(name) for name in squeezing}
    return nets | {"ViT": _vision_transformer}


def names() -> list[str]:
    """Every name that :func:`build` takes."""
    return [prefix + name for prefix in DIMENSIONS for name in networks()]


def takes(architecture: str) -> bool:
    """Whether a name is one of MONAI's, known or not."""
    return architecture.startswith(tuple(DIMENSIONS))


def require(architecture: str) -> None:
    """Raise MedsaliencyError, naming the nearest, if there is no such network."""
    if architecture not in names():
        raise MedsaliencyError(f"unknown architecture {architecture!r}{nearest(architecture, names())}")


def build(architecture: str, *, classes: int, channels: int, size: int | tuple[int, ...] | None) -> nn.Module:
    """An untrained network that puts out logits, its weights drawn from torch's global generator.

    Args:
        architecture: One of :func:`names`.
        classes: K, logits put out.
        channels: C of the input.
        size: Sides of the input, which a vision transformer needs; one number for all of them.

    Raises:
        MedsaliencyError: If MONAI is not installed, the name is unknown, or the network refuses the arguments.
    """
    require(architecture)
    prefix, name = (architecture[: architecture.index(":") + 1], architecture[architecture.index(":") + 1 :])
    dimensions = DIMENSIONS[prefix]
    if isinstance(size, tuple) and len(size) != dimensions:
        raise MedsaliencyError(
            f"architecture {architecture!r} takes {'images' if dimensions == 2 else 'volumes'}, which have "
            f"{dimensions} sides, got size {size}; monai: is for images, monai-3d: for volumes"
        )
    optional("monai.networks.nets", "monai", f"Architecture {architecture!r}")
    try:
        return networks()[name](spatial_dims=dimensions, channels=channels, classes=classes, size=size)
    except ImportError as error:  # MONAI imports what some networks need when they are built
        said = " ".join(str(error).split())[:100]
        raise MedsaliencyError(
            f"architecture {architecture!r} needs a library that is missing ({said}): pip install 'medsaliency[monai]'"
        ) from error
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise MedsaliencyError(
            f"architecture {architecture!r} cannot be built with {classes} classes, {channels} channel(s) and size "
            f"{size}: {' '.join(str(error).split())}"
        ) from error


class FirstOutput(nn.Module):
    """A network that puts out several things, of which the first is the logits.

    Args:
        network: MONAI's vision transformer, which also puts out its hidden states.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, ...) to logits (N, K)."""
        logits: Tensor = self.network(images)[0]
        return logits


def _nets() -> Any:
    return optional("monai.networks.nets", "monai", "A network of MONAI")


def _dense(name: str) -> Callable[..., nn.Module]:
    def build(*, spatial_dims: int, channels: int, classes: int, size: object) -> nn.Module:  # noqa: ARG001
        network: nn.Module = getattr(_nets(), name)(spatial_dims, channels, classes)
        return network

    return build


def _resnet(depth: int) -> Callable[..., nn.Module]:
    def build(*, spatial_dims: int, channels: int, classes: int, size: object) -> nn.Module:  # noqa: ARG001
        given: Mapping[str, Any] = {
            "spatial_dims": spatial_dims,
            "n_input_channels": channels,
            "num_classes": classes,
            "conv1_t_stride": 2,  # MONAI's own 1 keeps a grid that few memories hold
        }
        network: nn.Module = getattr(_nets(), f"resnet{depth}")(**given)
        return network

    return build


def _efficient(name: str) -> Callable[..., nn.Module]:
    def build(*, spatial_dims: int, channels: int, classes: int, size: object) -> nn.Module:  # noqa: ARG001
        network: nn.Module = _nets().EfficientNetBN(
            name, pretrained=False, spatial_dims=spatial_dims, in_channels=channels, num_classes=classes
        )
        return network

    return build


def _squeezing(name: str) -> Callable[..., nn.Module]:
    def build(*, spatial_dims: int, channels: int, classes: int, size: object) -> nn.Module:  # noqa: ARG001
        network: nn.Module = getattr(_nets(), name)(
            spatial_dims=spatial_dims, in_channels=channels, num_classes=classes
        )
        return network

    return build


def _vision_transformer(
    *, spatial_dims: int, channels: int, classes: int, size: int | tuple[int, ...] | None
) -> nn.Module:
    if size is None:
        raise ValueError("a vision transformer needs a size")
    sides = (size,) * spatial_dims if isinstance(size, int) else size
    if any(side % PATCH for side in sides):
        raise ValueError(f"a vision transformer needs sides that are multiples of {PATCH}")
    network = _nets().ViT(
        channels,
        sides,
        (PATCH,) * spatial_dims,
        spatial_dims=spatial_dims,
        classification=True,
        num_classes=classes,
        post_activation=None,  # a Tanh would bound the logits
    )
    return FirstOutput(network)
