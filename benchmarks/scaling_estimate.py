"""What a large study would take: an estimate from the measured law and stated assumptions, no measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaling_cost import flops_of

Result = dict[str, Any]
MIMIC_CXR = 377_110
"""Images of MIMIC-CXR (Johnson et al., Scientific Data 2019)."""
GPUS = (1, 8, 64)
HOUR, DAY, GIGA, TERA = 3600.0, 86_400.0, 1e9, 1e12


@dataclass(frozen=True)
class Assumed:
    """What is assumed of machines that are not here.

    Args:
        peak: Floating-point operations a second of one H200 in float32, as NVIDIA's data sheet of the H200 has it.
            Studies run their passes in float32 without TF32 unless tuning finds that scores may be in bfloat16.
        share: Of the peak that passes sustain.
        cores: Of the processor, for each GPU.
        core: How fast one of them is, relative to one of the machine measured here.
        file: Bytes of an image file that is read (JPEG).
        network: Bytes a second that one machine reads and writes, over network and store together.
        gpus: On one machine.
        driver: Cores that put the shards into the run folder: one process commits them.
    """

    peak: float = 67e12
    share: float = 0.4
    cores: int = 16
    core: float = 1.0
    file: float = 1.6e6
    network: float = 2e9
    gpus: int = 8
    driver: int = 1


def per_image(result: Result, model: str) -> Result:
    """What one image takes: operations on the GPU, seconds of a core beside them, seconds of the driver, and bytes."""
    cost, law = result["cost"], result["law"]
    methods, metrics = cost["methods"], cost["metrics"]
    work = cost["processor"]
    flops = flops_of(cost["models"][model], methods)
    maps = methods * work["map_bytes"]
    image = 4 * 3 * cost["size"] ** 2
    return {
        "flops": flops["methods"] + flops["metrics"],
        "flops_methods": flops["methods"],
        "flops_metrics": flops["metrics"],
        "reading": cost["reading"]["jpg"],
        "methods": sum(work["method"].values()),
        "metrics": methods * sum(work["metric"].values()),
        "keeping": methods * work["keeping"],
        "coordination": law["image"] + law["part"] * methods * (1 + metrics),
        "map_bytes": maps,
        "image_bytes": image,
        "object_bytes": methods * work["raw_map_bytes"] + image,
    }


def hours(result: Result, model: str, images: int, gpus: int, assumed: Assumed = Assumed()) -> dict[str, float]:
    """Hours of each of what works at the same time, and of the whole study, which the slowest of them decides.

    Args:
        result: With its law and costs.
        model: The architecture.
        images: How many are explained.
        gpus: Together.
        assumed: Of the machines.
    """
    own = per_image(result, model)
    machines = max(1, gpus / assumed.gpus)
    core = assumed.cores * gpus * assumed.core
    read = 2 * own["reading"]  # before the model, and again for the maps
    found = {
        "GPU": images * own["flops"] / (assumed.peak * assumed.share * gpus),
        "cores": images * (read + own["methods"] + own["metrics"]) / core,
        "driver": images * (own["coordination"] + own["keeping"]) / (assumed.driver * assumed.core),
        "network": images * (2 * assumed.file + own["object_bytes"]) / (assumed.network * machines),
    }
    return {name: seconds / HOUR for name, seconds in {**found, "whole": max(found.values())}.items()}


def on_this_machine(result: Result, model: str, images: int) -> Result:
    """Days of one core of this machine for a study of ``images``, the model's passes left out, by what takes them."""
    own = per_image(result, model)
    parts = {name: own[name] for name in ("methods", "metrics", "keeping", "coordination")}
    return {name: images * seconds / DAY for name, seconds in parts.items()}
