"""The part of the page that estimates what large studies would take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scaling_cost import forward_passes
from scaling_estimate import GPUS, MIMIC_CXR, TERA, Assumed, hours, on_this_machine, per_image

Result = dict[str, Any]
MANY = 20_000
BOUND = {"GPU": "the GPU", "cores": "the processor's cores", "driver": "the driver", "network": "network and store"}


def estimate(result: Result) -> list[str]:
    """Sections: what one image takes, what is assumed, and the hours of large studies."""
    return [_intro(result), _passes(result), _image(result), _assumed(), _many(result), _mimic(result)]


def _rows(head: tuple[str, ...], rows: list[tuple[str, ...]], numbers: int = 1) -> str:
    marks = "|---|" + "---:|" * (len(head) - 1) if numbers else "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", marks, *(f"| {' | '.join(row)} |" for row in rows)])


def _intro(result: Result) -> str:
    cost = result["cost"]
    return (
        "## Large studies: an estimate, no measurement\n\n"
        "No GPU was at hand. Below, passes and their floating-point operations are counted, what the processor does "
        "beside them is measured on the machine above, and everything about other machines is assumed. "
        f"{cost['methods']} methods and {cost['metrics']} metrics of each one's maps, as a study runs them unless told "
        f"otherwise, at {cost['size']} x {cost['size']} pixels in three channels; the methods that share all their "
        "passes with others are left out."
    )


def _passes(result: Result) -> str:
    models = result["cost"]["models"]
    rows = []
    for kind in ("method", "metric"):
        for name in next(iter(models.values()))["passes"][kind]:
            counts = [f"{forward_passes(own['passes'][kind][name]):,.0f}" for own in models.values()]
            seconds = result["cost"]["processor"][kind][name]
            rows.append((f"`{name}`", kind, *counts, f"{1000 * seconds:.3g}"))
    head = ("name", "kind", *(f"{name}, passes" for name in models), "one core, ms")
    flops = [
        (name, *(f"{own['flops'][kind] / 1e9:.2f}" for kind in ("forward", "forward_backward", "to_layer")))
        for name, own in models.items()
    ]
    passes = ("model", "forward, GFLOP", "forward and backward, GFLOP", "forward, backward to the target layer, GFLOP")
    return (
        "### What a method and a metric take\n\n"
        "Images sent through the model for one image that is explained, or for one map that is scored, and what is not "
        "the model's on one core. All of the latter ran on the processor, also what tensors do on a GPU: it is the "
        "most that it can be. A method that adapts (Score-CAM, integrated gradients) takes others with trained "
        "weights.\n\n"
        f"{_rows(head, rows)}\n\nOne pass:\n\n{_rows(passes, flops)}"
    )


def _image(result: Result) -> str:
    own = {name: per_image(result, name) for name in result["cost"]["models"]}
    one = next(iter(own.values()))
    rows = [
        *((f"passes of {name}, TFLOP", f"{each['flops'] / TERA:.1f}") for name, each in own.items()),
        *(
            (f"of these for metrics, {name}", f"{each['flops_metrics'] / each['flops']:.0%}")
            for name, each in own.items()
        ),
        ("reading a radiograph as JPEG, s of a core", f"{one['reading']:.3f}"),
        ("the same as PNG", f"{result['cost']['reading']['png']:.3f}"),
        ("methods beside their passes, s of a core", f"{one['methods']:.2f}"),
        ("metrics beside their passes, s of a core", f"{one['metrics']:.2f}"),
        ("compressing and writing maps, s of the driver", f"{one['keeping']:.3f}"),
        ("coordination by the law above, s of the driver", f"{one['coordination']:.3f}"),
        ("maps as kept (float16), MB", f"{one['map_bytes'] / 1e6:.2f}"),
        (
            "of float32, which a worker hands over",
            f"{one['map_bytes'] / (one['object_bytes'] - one['image_bytes']):.0%}",
        ),
        ("through the object store, MB", f"{one['object_bytes'] / 1e6:.2f}"),
    ]
    return f"### What one image takes\n\n{_rows(('', 'an image'), rows)}"


def _assumed() -> str:
    own = Assumed()
    rows = [
        ("H200, float32, dense", f"{own.peak / TERA:.0f} TFLOP/s", "NVIDIA's data sheet of the H200 (SXM)"),
        ("share of it that passes sustain", f"{own.share:.0%}", "assumed; half and double are shown"),
        ("TF32 and bfloat16", "not used", "passes are in float32 unless a study is tuned otherwise"),
        ("cores for a GPU", f"{own.cores}", "assumed"),
        ("speed of a core", f"{own.core:g} of one here", "assumed"),
        ("an image file", f"{own.file / 1e6:g} MB", "assumed, JPEG of full size; DICOM is several times that"),
        ("network and store of a machine", f"{own.network / 1e9:g} GB/s", "assumed"),
        ("GPUs in a machine", f"{own.gpus}", "assumed"),
        ("processes that commit shards", f"{own.driver}", "one driver, as the code is"),
        ("images", f"{MIMIC_CXR:,}", "MIMIC-CXR: Johnson et al., Scientific Data 6, 317 (2019)"),
        ("every image is read twice", "", "before the model, and for its explanation"),
        ("all of it overlaps", "", "GPU, cores, driver and network work at the same time; the slowest decides"),
        ("nothing is lost", "", "no worker ends, no queue, no start; statistics and report come after"),
    ]
    return "### What is assumed\n\n" + _rows(("", "value", "from"), rows, numbers=0)


def _many(result: Result) -> str:
    rows = []
    for name in result["cost"]["models"]:
        here = on_this_machine(result, name, MANY)
        gpu = hours(result, name, MANY, 1)
        rows.append((name, f"{gpu['GPU']:.1f}", f"{gpu['cores']:.1f}", f"{gpu['driver']:.1f}", _slowest(gpu)))
    days = ", ".join(f"{part} {value:.2f}" for part, value in here.items())
    head = ("model", "one H200: GPU, hours", "its cores, hours", "driver, hours", "decided by")
    return (
        f"### {MANY:,} images\n\n{_rows(head, rows)}\n\nOn one core of this machine, without the passes of the model, "
        f"in days: {days}."
    )


def _mimic(result: Result) -> str:
    rows = []
    for name in result["cost"]["models"]:
        for gpus in GPUS:
            own = hours(result, name, MIMIC_CXR, gpus)
            cells = (f"{own[part] / 24:.1f}" for part in ("GPU", "cores", "driver", "network"))
            others = [
                hours(result, name, MIMIC_CXR, gpus, replace(Assumed(), share=Assumed().share * f)) for f in (0.5, 2)
            ]
            half, double = (f"{each['whole'] / 24:.1f}" for each in others)
            rows.append((name, str(gpus), *cells, f"**{own['whole'] / 24:.1f}**", half, double, _slowest(own)))
    head = (
        "model",
        "H200s",
        "GPU",
        "cores",
        "driver",
        "network",
        "study",
        "at half the throughput",
        "at double",
        "decided by",
    )
    one = per_image(result, next(iter(result["cost"]["models"])))
    size = MIMIC_CXR * (one["map_bytes"] + one["image_bytes"]) / 1e12
    text = _rows(head, rows)
    return f"### MIMIC-CXR: {MIMIC_CXR:,} images\n\nDays:\n\n{text}\n\nMaps and images as kept: {size:.1f} TB."


def _slowest(found: dict[str, float]) -> str:
    return BOUND[max(BOUND, key=lambda name: found[name])]
