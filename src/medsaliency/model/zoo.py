"""Architectures by name: any of timm's, and the demo's small network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medsaliency.types import MedsaliencyError, nearest, torch_seed

PAPER = {
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet50": "resnet50",
    "xception": "legacy_xception",
    "resnetv2_50": "resnetv2_50",
    "inception_v3": "inception_v3",
    "densenet121": "densenet121",
    "efficientnet_b0": "efficientnet_b0",
    "inception_resnet_v2": "inception_resnet_v2",
}
"""The nine architectures of Brima & Atemkeng 2024, with timm's names for them."""


def architectures() -> list[str]:
    """Every name that :func:`build` takes, sorted."""
    import timm

    return sorted({"small_cnn", *PAPER, *timm.list_models()})


def require(architecture: str) -> None:
    """Raise MedsaliencyError, naming the nearest, if :func:`build` knows no such architecture."""
    if architecture == "small_cnn":
        return
    import timm

    if not timm.is_model(PAPER.get(architecture, architecture)):
        raise MedsaliencyError(f"unknown architecture {architecture!r}{nearest(architecture, architectures())}")


def build(
    architecture: str,
    *,
    classes: int,
    channels: int = 1,
    size: int | None = None,
    seed: int = 0,
    pretrained: bool = False,
) -> nn.Module:
    """Build an untrained (or pretrained) classification network.

    Args:
        architecture: ``small_cnn``, one of ``PAPER``, or any timm name.
        classes: K, logits put out.
        channels: C of the input; one is usual in radiology.
        size: H and W of the input, for architectures that fix it (vision transformers); None for their own default.
        seed: Of the initial weights. The global random state is left as it was.
        pretrained: Load timm's published weights from its hub (needs the network or a filled cache).

    Raises:
        MedsaliencyError: If the name is unknown (the nearest are named), or the architecture refuses the arguments.
    """
    from medsaliency.model.small_cnn import SmallCNN

    require(architecture)
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed, "weights"))
        if architecture == "small_cnn":
            return SmallCNN(classes, channels)
        import timm

        name = PAPER.get(architecture, architecture)
        fixed: dict[str, Any] = {"img_size": size} if size is not None and _takes_image_size(name) else {}
        try:
            module: nn.Module = timm.create_model(
                name, pretrained=pretrained, num_classes=classes, in_chans=channels, **fixed
            )
        except (AssertionError, RuntimeError, TypeError, ValueError, OSError) as error:
            raise MedsaliencyError(
                f"architecture {architecture!r} cannot be built with {classes} classes, {channels} channel(s) and size "
                f"{size}: {error}"
            ) from error
    return module


def _takes_image_size(name: str) -> bool:
    import inspect

    import timm

    configuration = timm.get_pretrained_cfg(name)
    fixed = bool(configuration is not None and configuration.fixed_input_size)
    return fixed or "img_size" in inspect.signature(timm.model_entrypoint(name)).parameters
