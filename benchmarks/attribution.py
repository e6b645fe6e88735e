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
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from cases import Settings, default_folders, make_case, open_data
from goals import missed_by_model
from medsaliency.types import MedsaliencyError, nearest
from ours import AGAIN, available
from page import draw, write_page
from panel import PANEL, SMOOTH_BLUR, measure_panel, measure_shared
from pass_costs import measure_passes
from peers import PEERS
from rows import measure_method, rounded

Result = dict[str, Any]
TOGETHER = ("panel_ratio", "panel_ratio_without_smooth_blur", "shared_pass_ratio")
"""What is measured of several methods at once, and so anew after one of them was."""


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
        found = result["models"].setdefault(model, dict.fromkeys(TOGETHER) | {"methods": {}})
        found["tuning"] = rounded(case.tuned.to_dict())
        rows = found["methods"]
        for name in chosen:
            if name in rows and "failed" not in rows[name]:
                continue
            try:
                rows[name] = measure_method(name, case, settings, arguments.cache, rows)
            except Exception as error:  # noqa: BLE001 - hours of other methods must not be lost; the page says it
                rows[name] = {"failed": f"{type(error).__name__}: {error}"}
            found |= dict.fromkeys(TOGETHER)
            save(result, arguments.output)
            print(f"{model} {name}: {said(rows[name])}", flush=True)
        if found["shared_pass_ratio"] is None:
            found |= measure_shared(case, settings)
        if found["panel_ratio"] is None and any(rows.get(name, {}).get("peer") for name in PANEL):
            found |= measure_panel(case, rows, settings)
        if "pass_seconds" not in found:
            found["pass_seconds"] = rounded(measure_passes(case))
        found["goal"] = missed_by_model(found)
        save(result, arguments.output)
    return result


def said(row: Result) -> str:
    """One line for the screen."""
    if "failed" in row:
        return row["failed"]
    peer = f", {row['peer']} {row['peer_seconds']:.3g} s, {row['ratio']:.3g} times" if row["peer"] else ""
    short = f"; missed: {', '.join(row['goal'])}" if row["goal"] else ""
    return f"{row['ours_seconds']:.3g} s an image{peer}, error {row['error']}, its {row['peer_error']}{short}"


def choose(asked: str | None, settings: Settings) -> list[str]:
    """The rows to measure: those asked for, or all that we have."""
    if asked is None:
        left_out = {SMOOTH_BLUR} if settings.without_smooth_blur else set()
        names = [name for name in PEERS if available(name) and name not in left_out]
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
