"""What a folder of Hugging Face may ask for: its own files, and nothing else on the disk or from the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medsaliency.types import MedsaliencyError

CONFIG, ADAPTER = "config.json", "adapter_config.json"
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ELSEWHERE = (
    "backbone", "backbone_config", "use_pretrained_backbone", "use_timm_backbone", "configuration_files",
    "transformers_weights", "quantization_config",
)  # fmt: skip
"""Keys of a configuration that lead to other weights, other configurations or other libraries."""
ATTENTION = ("eager", "sdpa")
"""Attention that is computed by torch; other names may be those of kernels to fetch."""
HARMLESS = {
    "class_token", "depth", "depths", "drop_path_rate", "drop_rate", "dynamic_img_size", "embed_dim", "global_pool",
    "img_size", "init_values", "mlp_ratio", "num_heads", "patch_size", "reg_tokens", "window_size",
}  # fmt: skip
"""Arguments of timm's networks that set their shape; others name files and repositories."""


def check_files(folder: Path) -> None:
    """Refuse a folder that would make transformers or timm open or fetch anything outside it.

    Args:
        folder: With ``config.json`` and weights in safetensors, whole or in shards.

    Raises:
        MedsaliencyError: If weights in safetensors are missing or lie elsewhere, or the configuration leads elsewhere.
    """
    if not (folder / WHOLE).is_file() and not (folder / INDEX).is_file():
        raise MedsaliencyError(
            f"{folder}: expected {WHOLE} beside {CONFIG}; weights in another format could run code when "
            "read: save the model again with save_pretrained"
        )
    if (folder / ADAPTER).exists():
        raise MedsaliencyError(
            f"{folder}: expected a whole model, got {ADAPTER}, which names another model to load; merge the adapter "
            "into its model and save that"
        )
    if (folder / INDEX).is_file():
        _check_shards(folder)
    parts: list[Any] = [_read(folder / CONFIG)]
    while parts:  # a configuration may hold those of its parts
        part = parts.pop()
        if isinstance(part, dict):
            _check(part, folder / CONFIG)
            parts += part.values()
        elif isinstance(part, list):
            parts += part


def _check(config: Mapping[str, Any], path: Path) -> None:
    for key in ELSEWHERE:
        if config.get(key):
            raise _leading_elsewhere(path, key, config[key])
    for key in ("attn_implementation", "_attn_implementation"):
        if config.get(key) and config[key] not in ATTENTION:
            raise _leading_elsewhere(path, key, config[key])
    arguments = config.get("model_args") or {}
    for key in arguments if isinstance(arguments, dict) else ["model_args"]:
        if key not in HARMLESS:
            raise _leading_elsewhere(path, key, arguments)
    if (architecture := config.get("architecture")) is not None:
        import timm

        if not isinstance(architecture, str) or ":" in architecture or not timm.is_model(architecture):
            raise _leading_elsewhere(path, "architecture", architecture)


def _leading_elsewhere(path: Path, key: str, value: object) -> MedsaliencyError:
    return MedsaliencyError(
        f"{path}: expected a model that is whole in its folder, got {key} {str(value)[:100]!r}, which could open other "
        "files or fetch them; build the network yourself and wrap it in Classifier"
    )


def _check_shards(folder: Path) -> None:
    path = folder / INDEX
    shards = _read(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise MedsaliencyError(f"{path}: expected weight_map with a file for each weight; save the model again")
    for name in shards.values():
        bare = isinstance(name, str) and name.endswith(".safetensors") and not {"/", "\\", "\0"} & set(name)
        if not bare or (folder / name).resolve().parent != folder.resolve() or not (folder / name).is_file():
            raise MedsaliencyError(
                f"{path}: expected files of safetensors in the folder itself, got {str(name)[:100]!r}; put the weights "
                "there, no links to elsewhere"
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise MedsaliencyError(f"{path}: cannot be read ({said}); save the model again") from error
    if not isinstance(found, dict):
        raise MedsaliencyError(f"{path}: expected names and values, got {type(found).__name__}; save the model again")
    return found
