"""Attribution methods: ours against independent implementations, side by side in one process, on real images.

Every method explains the same predictions of the same network by ours, as one batch, and by its peers, as their users
call them, in turns. Beside seconds an image stand the passes of the model that ours takes, what those passes cost with
nothing around them, and how far the maps of both are from what the method gives with no limit on passes. Run:

    python benchmarks/attribution.py --models resnet50 densenet121 efficientnet_b0 --output performance.json

The file is written after each method; --resume goes on with it, and --from makes only the page and the figure of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cases import Case, Settings, default_folders, make_case, open_data
from medsaliency.attribution import METHODS, make_method, sharing
from medsaliency.attribution.method import Method
from medsaliency.model.probe import Probe
from medsaliency.types import FloatArray, MedsaliencyError, generator, nearest
from page import draw, write_page
from peers import PEERS, Peer
from reference import REFERENCES, compare, reference_map
from timing import bare_pass_seconds, passes, pure_seconds, recorded, timed

Result = dict[str, Any]
PANEL = (
    "gradient",
    "smoothgrad",
    "integrated_gradients",
    "smooth_integrated_gradients",
    "guided_integrated_gradients",
    "blur_integrated_gradients",
    "smooth_blur_integrated_gradients",
    "xrai",
    "xrai_fast",
    "grad_cam",
    "grad_cam_plus_plus",
    "score_cam",
)
"""The methods of Brima & Atemkeng 2024."""
SHARED = ("gradient", "grad_cam", "grad_cam_plus_plus", "layer_cam", "x_grad_cam", "hires_cam", "eigen_cam")
"""Methods that one forward and backward pass serves together."""
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "integrated_gradients": ("integrated_gradients", {"tolerance": None}),  # at the peer's error; the default adds up
    "integrated_gradients_complete": ("integrated_gradients", {}),
    "smooth_integrated_gradients": ("smooth_integrated_gradients", {"samples": 250}),  # at the peer's error
    "score_cam_sampled": ("score_cam", {"tolerance": 0.01}),
    "xrai_fast": ("xrai", {"fast": True}),
    "hires_cam": ("hires_cam", {"sign": "positive"}),  # as its peer has it
}
"""Rows that are not a method with its defaults: the method and its parameters."""
AGAIN = {"integrated_gradients_complete": "integrated_gradients", "score_cam_sampled": "score_cam"}
"""Rows that set other parameters of ours against what an earlier row measured of the peers."""
SLOW = 10.0
"""Seconds an image from which on a few repetitions must do."""


def ours(name: str) -> Method:
    """Our method behind a row of the table."""
    return make_method(*VARIANTS.get(name, (name, None)))


def available(name: str) -> bool:
    """Whether we have the method."""
    return VARIANTS.get(name, (name, None))[0] in METHODS


def explain(case: Case, names: Sequence[str], seed: int, count: int | None = None) -> dict[str, Tensor]:
    """Maps of the first ``count`` images, or all, by each method, sharing one probe."""
    ids = case.ids[:count]
    probe = Probe(case.classifier, case.images[:count], case.targets[:count])
    methods = sharing({name: ours(name) for name in names})
    return {name: method(probe, [generator(seed, i, name) for i in ids]) for name, method in methods.items()}


@dataclass
class Trial:
    """One side of a comparison: ``run`` explains ``images`` images, ``repeats`` times."""

    run: Callable[[int], FloatArray]
    device: torch.device
    images: int
    repeats: int
    seconds: list[float] = field(default_factory=list)
    maps: FloatArray | None = None

    def go(self) -> None:
        """Once more."""
        seconds, self.maps = timed(lambda: self.run(self.images), self.device)
        self.seconds.append(seconds / self.images)

    @property
    def wanted(self) -> bool:
        """Whether it has not run often enough."""
        return len(self.seconds) < self.repeats


def first_try(peer: Peer, case: Case, settings: Settings) -> tuple[Trial, float]:
    """A peer's trial, which after a first run on few images knows whether it is slow, and its passes an image."""
    few = min(settings.peer_images, len(case.images))
    trial = Trial(lambda count: peer.run(case, settings, count), case.device, few, settings.slow_repeats)
    import_module(peer.module)
    with recorded(case.plain) as calls:
        trial.go()
    if trial.seconds[0] <= SLOW:
        # The first run was but a warm-up.
        trial.images, trial.repeats, trial.seconds = len(case.images), settings.repeats, []
    return trial, passes(calls, few)[0]


def measure_method(asked: str, case: Case, settings: Settings, cache: Path, before: Result) -> Result:
    """One row: seconds of both sides, passes, their pure cost, and errors.

    The first run of a method says whether it is slow; then it stays with few images, and that run may count.
    """
    images = min(settings.peer_images, len(case.images))
    mine = Trial(lambda n: explain(case, [asked], settings.seed, n)[asked].cpu().numpy(), case.device, images, 1)
    with recorded(case.classifier.module) as calls:
        mine.go()
    mine.repeats, pure = settings.slow_repeats, [pure_seconds(case, calls) / images]
    if mine.seconds[0] <= SLOW:
        images = mine.images = len(case.images)
        with recorded(case.classifier.module) as calls:
            mine.go()
        mine.repeats, mine.seconds, pure = settings.repeats, [], []
    name = AGAIN.get(asked, asked)
    again = before.get(name, {}).get("peers") if name != asked else None
    peers = {peer.name: peer for peer in PEERS[name] if peer.installed}
    tried = {} if again else {key: first_try(peer, case, settings) for key, peer in peers.items()}
    while any(trial.wanted for trial in (mine, *(trial for trial, _ in tried.values()))):
        if mine.wanted:
            mine.go()
            pure.append(pure_seconds(case, calls) / images)
        for trial, _ in tried.values():
            if trial.wanted:
                trial.go()
    total, split = passes(calls, images)
    seconds, pure_median = median(mine.seconds), median(pure)
    row = {
        "method": repr(ours(asked)),
        "ours_seconds": seconds,
        "repeats": len(mine.seconds),
        "passes": total,
        "split": split,
        "pure_seconds": pure_median,
        "overhead": seconds / pure_median - 1,
        "reference": REFERENCES[name].text.format(**asdict(settings)),
        **errors(name, mine.maps, case, settings, cache),
    }
    row["peers"] = again or {
        key: {
            "call": peers[key].call,
            "seconds": median(trial.seconds),
            "images": trial.images,
            "repeats": len(trial.seconds),
            "passes": count,
            **errors(name, trial.maps, case, settings, cache),
        }
        for key, (trial, count) in tried.items()
    }
    return rounded(row | fastest(row))


def fastest(row: Result) -> Result:
    """The peer that counts: the one of the least seconds."""
    if not row["peers"]:
        return {"peer": None, "peer_seconds": None, "ratio": None, "peer_error": None}
    name, peer = min(row["peers"].items(), key=lambda item: item[1]["seconds"])
    kept = {f"peer_{key}": peer[key] for key in ("seconds", "images", "repeats", "passes", "error", "spearman")}
    alike = _median(np.array(row["errors"][: peer["images"]]))
    return {"peer": name, "ratio": peer["seconds"] / row["ours_seconds"], "error_on_peer_images": alike, **kept}


def errors(name: str, maps: FloatArray | None, case: Case, settings: Settings, cache: Path) -> Result:
    """Distance from the reference and rank correlation with it: their medians over images, and each distance."""
    assert maps is not None
    found = [
        compare(each, reference_map(name, case, settings, i, cache), scaled=REFERENCES[name].scaled)
        for i, each in enumerate(maps)
    ]
    distances, correlations = np.array(found).T
    return {"error": _median(distances), "spearman": _median(correlations), "errors": distances.tolist()}


def _median(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if len(defined) else float("nan")


def measure_panel(case: Case, rows: Result, settings: Settings) -> Result:
    """The paper's methods through one probe against the sum of their peers, as far as both were measured.

    A method of ours that is slow has shared little: its own row's seconds are added instead of running it again.
    """
    names = [name for name in PANEL if rows.get(name, {}).get("peer")]
    slow = [name for name in names if rows[name]["ours_seconds"] > SLOW]
    quick = [name for name in names if name not in slow]
    seconds = [
        timed(lambda: explain(case, quick, settings.seed), case.device)[0] / len(case.images)
        for _ in range(settings.slow_repeats)
    ]
    mine = median(seconds) + sum(rows[name]["ours_seconds"] for name in slow)
    theirs = sum(rows[name]["peer_seconds"] for name in names)
    missing = [name for name in PANEL if name not in names]
    panel = {"methods": names, "missing": missing, "added": slow, "ours_seconds": mine, "peer_seconds": theirs}
    found = {"panel": panel, "panel_ratio": theirs / mine}
    if "ours_seconds" in rows.get("score_cam_sampled", {}) and "score_cam" in names:
        saved = rows["score_cam"]["ours_seconds"] - rows["score_cam_sampled"]["ours_seconds"]
        found["panel_ratio_sampled"] = theirs / (mine - saved)
    return rounded(found)


def measure_shared(case: Case, settings: Settings) -> Result:
    """Methods that share one pass, together, over that pass alone."""
    names = [name for name in SHARED if available(name)]
    together, bare = [], []
    explain(case, names, settings.seed)
    for _ in range(max(5, settings.repeats)):
        together.append(timed(lambda: explain(case, names, settings.seed), case.device)[0])
        bare.append(bare_pass_seconds(case))
    return rounded({"shared": {"methods": names}, "shared_pass_ratio": median(together) / median(bare)})


def rounded(values: Any) -> Any:
    """Five digits that count, and None for what is undefined, as JSON takes it."""
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    if isinstance(values, list):
        return [rounded(value) for value in values]
    if isinstance(values, float):
        return float(f"{values:.5g}") if np.isfinite(values) else None
    return values


def machine(device: str) -> Result:
    """What kind it is, and not which one."""
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()),
        "amx_bf16": bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)()),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
    }


def save(result: Result, file: Path) -> None:
    """Write the file whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".json", delete=False) as beside:
        beside.write(json.dumps(result, indent=2) + "\n")
    Path(beside.name).chmod(0o644)
    Path(beside.name).rename(file)


def measure(arguments: argparse.Namespace, settings: Settings) -> Result:
    """All methods of all models, the file written after each."""
    data = open_data(arguments.data or default_folders(), settings)
    chosen = choose(arguments.methods, settings)
    installed = {peer.name: peer for peers in PEERS.values() for peer in peers if peer.installed}
    result: Result = {
        "machine": machine(settings.device),
        "torch": torch.__version__,
        "peers": {name: peer.version for name, peer in sorted(installed.items())},
        "settings": asdict(settings) | {"data": [dataset.name for dataset in data]},
        "not_available": [name for name in PEERS if not available(name)],
        "models": {},
    }
    if arguments.resume and arguments.output.exists():
        before = json.loads(arguments.output.read_text())
        for key in ("machine", "torch", "peers", "settings"):
            if before[key] != result[key]:
                raise MedsaliencyError(
                    f"{arguments.output}: its {key} are {before[key]}, now they are {result[key]}; name another file"
                )
        result["models"] = before["models"]
    for model in arguments.models:
        case = make_case(model, data, settings, arguments.cache, arguments.checkpoint)
        found = result["models"].setdefault(model, {"panel_ratio": None, "shared_pass_ratio": None, "methods": {}})
        found["tuning"] = rounded(case.tuned.to_dict())
        rows = found["methods"]
        for name in chosen:
            if name in rows and "failed" not in rows[name]:
                continue
            try:
                rows[name] = measure_method(name, case, settings, arguments.cache, rows)
            except Exception as error:  # noqa: BLE001 - hours of other methods must not be lost; the page says it
                rows[name] = {"failed": f"{type(error).__name__}: {error}"}
            found["panel_ratio"] = found["shared_pass_ratio"] = None
            save(result, arguments.output)
            print(f"{model} {name}: {said(rows[name])}", flush=True)
        if found["shared_pass_ratio"] is None:
            found |= measure_shared(case, settings)
        if found["panel_ratio"] is None and any(rows.get(name, {}).get("peer") for name in PANEL):
            found |= measure_panel(case, rows, settings)
        save(result, arguments.output)
    return result


def said(row: Result) -> str:
    """One line for the screen."""
    if "failed" in row:
        return row["failed"]
    peer = f", {row['peer']} {row['peer_seconds']:.3g} s, {row['ratio']:.3g} times" if row["peer"] else ""
    return f"{row['ours_seconds']:.3g} s an image{peer}, error {row['error']}, its {row['peer_error']}"


def choose(asked: str | None, settings: Settings) -> list[str]:
    """The rows to measure: those asked for, or all that we have."""
    if asked is None:
        smooth_blur = "smooth_blur_integrated_gradients"
        names = [name for name in PEERS if available(name) and (name != smooth_blur or settings.smooth_blur)]
        return [row for name in names for row in (name, *(again for again, base in AGAIN.items() if base == name))]
    names = asked.split(",")
    for name in names:
        if name not in (*PEERS, *AGAIN):
            raise MedsaliencyError(f"--methods: unknown method {name!r}{nearest(name, (*PEERS, *AGAIN))}")
        if not available(name):
            raise MedsaliencyError(f"--methods: expected a method that we have, got {name!r}")
    return names


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Settings]:
    """The command line: where things are, and the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet50", "densenet121", "efficientnet_b0"])
    parser.add_argument("--methods", help="names with commas between; all by default")
    parser.add_argument("--output", type=Path, default=Path("performance.json"), help="JSON file")
    parser.add_argument("--resume", action="store_true", help="keep what --output has, and measure the rest")
    parser.add_argument(
        "--from", dest="source", type=Path, help="JSON file to make the page or figure of; no measuring"
    )
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    parser.add_argument("--figure", type=Path, help="PNG or SVG file to draw")
    parser.add_argument("--data", type=Path, action="append", help="folder of images; several may be given")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="used for its architecture")
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmarks"), help="networks and references")
    for option in fields(Settings):
        name, text = "--" + option.name.replace("_", "-"), option.metadata["help"]
        if option.default is False:
            parser.add_argument(name, action="store_true", help=text)
        else:
            choices, kind = option.metadata["choices"], type(option.default)
            parser.add_argument(name, type=kind, default=option.default, choices=choices, help=f"{text} (%(default)s)")
    arguments = parser.parse_args(argv)
    return arguments, Settings(**{option.name: getattr(arguments, option.name) for option in fields(Settings)})


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, or take what was measured, and show it."""
    arguments, settings = parse(argv)
    try:
        result = json.loads(arguments.source.read_text()) if arguments.source else measure(arguments, settings)
    except MedsaliencyError as error:
        raise SystemExit(str(error)) from error
    if arguments.figure:
        draw(result, arguments.figure)
    if arguments.page:
        write_page(result, arguments.page, arguments.figure)
    failed = [f"{model} {name}" for model, found in result["models"].items() for name in failures(found)]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; --resume tries again")


def failures(found: Result) -> list[str]:
    """Methods of a model that were not measured for an error."""
    return [name for name, row in found["methods"].items() if "failed" in row]


if __name__ == "__main__":
    main()
