"""Architectures by name: any of timm's, MONAI's classification networks, and the demo's small network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medsaliency.model.adapters import monai_network
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


OWN = ("small_cnn", "small_cnn_3d")
"""The demo's network, and the same for volumes."""


def architectures() -> list[str]:
    """Every name that :func:`build` takes, sorted."""
    import timm

    return sorted({*OWN, *PAPER, *monai_network.names(), *timm.list_models()})


def require(architecture: str) -> None:
    """Raise MedsaliencyError, naming the nearest, if :func:`build` knows no such architecture."""
    if architecture in OWN:
        return
    if monai_network.takes(architecture):
        monai_network.require(architecture)
        return
    import timm

    if not timm.is_model(PAPER.get(architecture, architecture)):
        raise MedsaliencyError(f"unknown architecture {architecture!r}{nearest(architecture, architectures())}")


def build(
    architecture: str,
    *,
    classes: int,
    channels: int = 1,
    size: int | tuple[int, ...] | None = None,
    seed: int = 0,
    pretrained: bool = False,
) -> nn.Module:
    """Build an untrained (or pretrained) classification network.

    Args:
        architecture: One of ``OWN``, one of ``PAPER``, any timm name, or one of MONAI's networks: ``monai:NAME`` for
            images, ``monai-3d:NAME`` for volumes.
        classes: K, logits put out.
        channels: C of the input; one is usual in radiology.
        size: Sides of the input, one number for all or (H, W) or (D, H, W), for architectures that fix them (vision
            transformers); None for their own default.
        seed: Of the initial weights. The global random state is left as it was.
        pretrained: Load timm's published weights from its hub (needs the network or a filled cache).

    Raises:
        MedsaliencyError: If the name is unknown (the nearest are named), the architecture refuses the arguments, or
            takes images where ``size`` is that of a volume.
    """
    from medsaliency.model.small_cnn import SmallCNN
    from medsaliency.model.small_cnn_3d import SmallCNN3D

    require(architecture)
    from_monai = monai_network.takes(architecture)
    if isinstance(size, tuple) and len(size) == 3 and architecture != "small_cnn_3d" and not from_monai:
        raise MedsaliencyError(
            f"architecture {architecture!r} takes images, got a volume's size {size}; for volumes there are "
            "small_cnn_3d and those that `medsaliency models monai-3d` lists"
        )
    if pretrained and from_monai:
        raise MedsaliencyError(
            f"architecture {architecture!r} has no published weights here; set pretrained to false, or give a timm name"
        )
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed, "weights"))
        if from_monai:
            return monai_network.build(architecture, classes=classes, channels=channels, size=size)
        if architecture in OWN:
            return (SmallCNN if architecture == "small_cnn" else SmallCNN3D)(classes, channels)
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
