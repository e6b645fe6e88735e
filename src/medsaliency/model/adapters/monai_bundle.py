"""Classifiers in MONAI bundles on disk. A bundle's expressions, which are code, are never evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from medsaliency.model.adapters.axes import size_of, with_swapped_axes
from medsaliency.model.adapters.monai_network import FirstOutput
from medsaliency.model.adapters.monai_preparation import OUR_AXES, Preparation, matters, prepare
from medsaliency.model.classifier import Classifier, Output
from medsaliency.model.optional import optional
from medsaliency.model.weights import fit, read_state_dict
from medsaliency.types import MedsaliencyError

METADATA = Path("configs/metadata.json")
CONFIGS = tuple(
    Path(f"configs/{name}.{ending}")
    for name in ("inference", "evaluate", "train")
    for ending in ("json", "yaml", "yml")
)
WEIGHTS = (Path("models/model.pt"), Path("models/model.pth"))
NETWORKS = {
    *(f"{name}{depth}" for name in ("DenseNet", "Densenet", "densenet") for depth in (121, 169, 201, 264)),
    *(f"resnet{depth}" for depth in (10, 18, 34, 50, 101, 152, 200)),
    *(f"{name}{depth}" for name in ("SEResNet", "SEresnet", "seresnet") for depth in (50, 101, 152)),
    *(f"{name}{depth}" for name in ("SEResNext", "SEResNeXt", "SEresnext") for depth in (50, 101)),
    "SENet154", "DenseNet", "ResNet", "SENet", "EfficientNet", "EfficientNetBN", "Classifier", "TorchVisionFCModel",
    "ViT",
}  # fmt: skip
"""MONAI's networks that classify, as its bundles name them."""
FETCHING = ("pretrained", "weights")
"""Arguments that would fetch other weights; a bundle has its own."""
DEEPEST = 64
"""Most values within one another, references followed."""
MOST = 10_000
"""Most values of a network or of a list of transforms, references followed."""


def takes(place: str) -> bool:
    """Whether ``place`` is a bundle's folder."""
    return (Path(place) / METADATA).is_file()


def reading(place: str) -> dict[str, Any]:
    """How files are prepared for the network of a bundle.

    Raises:
        MedsaliencyError: If its configuration cannot be followed.
    """
    folder = Path(place)
    return _reading(_preparation(folder, _config(folder), _entry(folder, "inputs")[0]))


def load(place: str, *, device: torch.device | str | None = None, batch_size: int = 32) -> Classifier:
    """A classifier from a bundle's folder.

    Of the configuration, ``network_def`` and the transforms of ``preprocessing`` are read, arguments being literal or
    references to literals; of ``metadata.json`` the data format. Weights come from ``models/model.pt``, tensors only.

    Args:
        place: The folder.
        device: Where it runs.
        batch_size: Most images in one pass.

    Raises:
        MedsaliencyError: If MONAI is not installed, a file is missing or damaged, the network is not one of MONAI's
            that classify, something is an expression, or images are prepared in a way that cannot be followed.
    """
    folder = Path(place)
    config = _config(folder)
    key, image = _entry(folder, "inputs")
    preparation = _preparation(folder, config, key)
    network, architecture = _network(folder, config)
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise MedsaliencyError(
            f"{folder}: expected weights in {WEIGHTS[0]}; a TorchScript file is a program and is not run: save "
            "state_dict() of the network there"
        )
    fit(network, read_state_dict(path), str(path))
    network = (FirstOutput(network) if architecture == "ViT" else network).eval()
    channels = image.get("num_channels")
    if not isinstance(channels, int) or channels < 1:
        raise MedsaliencyError(f"{folder / METADATA}: expected num_channels of the input {key!r}, got {channels!r}")
    sides = _size(folder, preparation)
    if preparation.swapped:
        sides = None if sides is None else sides[::-1]
        network = with_swapped_axes(network, channels, None if sides is None else (sides[0], sides[1]))
    scale, shift = _range(folder, preparation, image)
    classes, output = _classes(folder, config)
    return Classifier(
        network,
        classes,
        mean=(-shift / scale).tolist(),
        std=(1 / scale).tolist(),
        channels=channels,
        size=size_of(sides, str(folder)),
        output=output,
        batch_size=batch_size,
        device=device,
        name=f"monai-bundle:{architecture}",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else _yaml(text)
        _check_depth(found)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise MedsaliencyError(f"{path}: cannot be read ({said}); fetch the bundle again") from error
    if not isinstance(found, dict):
        raise MedsaliencyError(f"{path}: expected names and values, got {type(found).__name__}; fetch the bundle again")
    return found


def _yaml(text: str) -> Any:
    """A YAML file without aliases, by which a short one could be endless."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise ValueError("expected no aliases of YAML, which repeat a value; use references, @name")
    return yaml.safe_load(text)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        inner = [list(one.values()) if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [each for several in inner for each in several]
    if level:
        raise ValueError(f"expected at most {DEEPEST} values within one another, got more")


def _config(folder: Path) -> dict[str, Any]:
    """The first configuration that defines a network."""
    for name in CONFIGS:
        if (folder / name).is_file() and "network_def" in (found := _read(folder / name)):
            return found
    raise MedsaliencyError(
        f"{folder}: expected a configuration with network_def, {CONFIGS[0]} say; name the network's class there"
    )


def _entry(folder: Path, side: str) -> tuple[str, dict[str, Any]]:
    """Name and description of the first input or output that the metadata tell of."""
    path = folder / METADATA
    entries = _read(path).get("network_data_format")
    entries = entries.get(side) if isinstance(entries, dict) else None
    if not isinstance(entries, dict) or not entries or not isinstance(next(iter(entries.values())), dict):
        raise MedsaliencyError(f"{path}: expected network_data_format with {side}, which say channels and classes")
    name, entry = next(iter(entries.items()))
    return str(name), entry


def _literal(
    value: Any, config: Mapping[str, Any], where: str, depth: int = 0, visited: Iterator[int] | None = None
) -> Any:
    """``value`` with references followed; no expression is evaluated.

    Args:
        value: Of the configuration.
        config: The whole of it.
        where: For errors.
        depth: Of values and references that led here.
        visited: Counts the values that were met; None begins at 0.

    Raises:
        MedsaliencyError: If it has an expression, a reference that leads nowhere, or too many of them.
    """
    visited = count() if visited is None else visited
    if depth > DEEPEST or next(visited) >= MOST:
        raise MedsaliencyError(
            f"{where}: expected at most {MOST} values and {DEEPEST} within one another, references followed, got more; "
            "look for a reference that leads back to itself, and write the value itself"
        )
    if isinstance(value, dict):
        return {str(key): _literal(inner, config, where, depth + 1, visited) for key, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner, config, where, depth + 1, visited) for inner in value]
    if not isinstance(value, str) or value[:1] not in ("$", "@", "%"):
        return value
    if value[0] != "@":
        raise MedsaliencyError(
            f"{where}: {value!r} is an expression, which is code and is not run; write the value itself into the "
            "configuration"
        )
    found: Any = config
    for part in value[1:].replace("::", "#").split("#"):
        try:
            found = found[int(part) if isinstance(found, list) and part.isdecimal() else part]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise MedsaliencyError(f"{where}: {value!r} leads nowhere; write the value itself") from error
    return _literal(found, config, where, depth + 1, visited)


def _network(folder: Path, config: Mapping[str, Any]) -> tuple[nn.Module, str]:
    where = f"{folder}: network_def"
    wanted = _literal(config["network_def"], config, where)
    target = wanted.get("_target_") if isinstance(wanted, dict) else None
    home, _, name = str(target).rpartition(".")
    if name not in NETWORKS or not (home == "" or f"{home}.".startswith("monai.networks.nets.")):
        raise MedsaliencyError(
            f"{where}: expected a classification network of monai.networks.nets, got {target!r}, which could be any "
            "code; build it yourself and wrap it in Classifier"
        )
    given = {key: value for key, value in wanted.items() if not key.startswith("_") and key not in FETCHING}
    nets = optional("monai.networks.nets", "monai", "A MONAI bundle")
    if name in ("EfficientNetBN", "TorchVisionFCModel"):
        given["pretrained"] = False
    try:
        network: nn.Module = getattr(nets, name)(**given)
    except Exception as error:  # a constructor meets arguments from outside, and may raise anything
        raise MedsaliencyError(
            f"{where}: {name} cannot be built ({' '.join(str(error).split())[:300]}); correct its arguments"
        ) from error
    return network, name


def _preparation(folder: Path, config: Mapping[str, Any], key: str) -> Preparation:
    where = f"{folder}: preprocessing"
    validate = config.get("validate")
    listed = config.get("preprocessing") or (validate.get("preprocessing") if isinstance(validate, dict) else None)
    visited = count()
    listed = _literal(listed, config, where, 0, visited) if isinstance(listed, str) else listed or []
    transforms = listed.get("transforms") if isinstance(listed, dict) else listed
    transforms = _literal(transforms, config, where, 0, visited) if isinstance(transforms, str) else transforms
    if not isinstance(transforms, list) or not all(isinstance(transform, dict) for transform in transforms):
        raise MedsaliencyError(f"{where}: expected a list of transforms, got something else; write them out")
    try:
        found = prepare([_literal(one, config, where, 0, visited) for one in transforms if matters(one)], key)
    except MedsaliencyError as error:
        if str(error).startswith(where):
            raise
        raise MedsaliencyError(f"{where}: {error}") from error
    if _dimensions(folder) == 2:
        return found
    if found.loaded and found.axes != OUR_AXES:
        raise MedsaliencyError(
            f"{where}: expected volumes whose axes run {OUR_AXES} (Orientation with axcodes), got "
            f"{found.axes or 'those of the file'}; maps would lie elsewhere: wrap the network in Classifier and turn "
            "volumes yourself"
        )
    return replace(found, swapped=False)


def _dimensions(folder: Path) -> int:
    """2 for images, 3 for volumes."""
    shape = _entry(folder, "inputs")[1].get("spatial_shape")
    return 3 if isinstance(shape, list) and len(shape) == 3 else 2


def _size(folder: Path, preparation: Preparation) -> tuple[int, ...] | None:
    """Sides of the input in the network's own order, where they are given in numbers."""
    given = preparation.size or _entry(folder, "inputs")[1].get("spatial_shape")
    sides = tuple(given) if isinstance(given, list | tuple) else (given,) * _dimensions(folder)
    pixels = tuple(side for side in sides if isinstance(side, int) and side > 0)
    return pixels if pixels and len(pixels) == len(sides) else None


def _range(folder: Path, preparation: Preparation, image: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift from display range to what the network is given."""
    if preparation.scale is not None and preparation.shift is not None:
        return preparation.scale, preparation.shift
    low, high = values if isinstance(values := image.get("value_range"), list) and len(values) == 2 else (None, None)
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not high > low:
        raise MedsaliencyError(
            f"{folder / METADATA}: expected value_range of the input, [0, 1] say, got {image.get('value_range')}; "
            "images cannot be normalized without"
        )
    return torch.tensor([float(high - low)]), torch.tensor([float(low)])


def _reading(preparation: Preparation) -> dict[str, Any]:
    found: dict[str, Any] = {"fit": "stretch"} if preparation.size is not None else {}
    return found if preparation.window is None else found | {"window": list(preparation.window)}


def _classes(folder: Path, config: Mapping[str, Any]) -> tuple[list[str], Output]:
    """Names of the classes, and what kind of outputs they are by the activation that follows the network."""
    _, output = _entry(folder, "outputs")
    count = output.get("num_channels")
    if not isinstance(count, int) or count < 1:
        raise MedsaliencyError(f"{folder / METADATA}: expected num_channels of the output, got {count!r}")
    named = output.get("channel_def")
    named = named if isinstance(named, dict) else {}
    if count == 1:
        below, above = named.get("0", "no"), named.get("1", "yes")
        return [str(below), str(above)], "single_logit"
    names = [str(named.get(str(i), f"class {i}")) for i in range(count)]
    after = config.get("postprocessing")
    activations = after.get("transforms") if isinstance(after, dict) else None
    independent = any(
        isinstance(step, dict) and "Activations" in str(step.get("_target_")) and step.get("sigmoid") is True
        for step in activations or []
    )
    return names, "sigmoid" if independent else "softmax"
