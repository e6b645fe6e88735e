"""The page and the figure of what was measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from goals import (
    ERROR_GOAL,
    HIGHER_GOALS,
    METHOD_GOAL,
    OVERHEAD_GOAL,
    PANEL_GOAL,
    ROUNDING,
    SHARED_GOAL,
    missed,
    missed_by_model,
)
from medsaliency.report.wording import method_label
from panel import SMOOTH_BLUR
from pass_costs import pass_table
from rows import FAR, QUICK, SLOW

Result = dict[str, Any]
OURS, PEER = "#1b6ca8", "#c9ccd1"
HEAD = "| method | peer | ours, s/image | peer, s/image | ratio | passes | overhead | error | peer's error | goal |"
INTRODUCTION = """# Performance

How long each method takes beside an independent implementation of it, and how near the maps of both are to what the
method gives with no limit on passes. `benchmarks/attribution.py` measured this and wrote this page: run it again
rather than edit it."""
READING = """## How to read the tables

- **Seconds** are for one image: the median over repetitions. Ours explains all images as one batch. A peer is called as
  its documentation shows users to. Both run in one process, in turns. Where several peers have a method, the fastest
  counts.
- **Ratio**: the peer's seconds over ours.
- **Passes**: images that our method sends through the model for each one that it explains. A plus sign marks
  forward passes alone; all others are forward and backward. Passes that begin at the target layer are left out.
- **What a pass costs** is the floor under a method's seconds: its passes times the cost of one, and then its overhead.
  A method of one pass cannot be faster than its peer by more than the cost of a pass has fallen.
- **Overhead**: what our method takes beyond those passes of the model alone, in the same micro-batches and memory
  format.
- **Error**: relative L2 distance of a map, summed over channels, from the reference at the end of this page; the median
  over images. Both sides are compared on the same images, those that the peer that counts explained. Maps of CAM
  methods and of XRAI are first scaled to [0, 1]. Undefined where the reference of an image is zero.
- **Errors of smoothed methods**: their reference R is a mean of finitely many noisy copies, independent of both sides,
  and so has noise of its own. For a map A and the truth T the mean of |A - R|^2 is |A - T|^2 plus the variance of R,
  and that of |R|^2 is |T|^2 plus the same. The variance is known from how the copies differ, and is subtracted from
  both: the error shown is an estimate of |A - T| / |T|. An error of 1 is that of an empty map.
- **\u2020** marks rows where a reference has more noise than signal, so that |T| is not known well enough to divide by.
  In the place of errors stand deviations, |A - T| / |R|, of which only the comparison means something. Whether ours
  is further from the reference than the peer is judged by deviations in all rows; where nothing has noise, they are
  the errors.
- **Guided IG** has no limit to compare with: rounding decides which pixels move first, and another path follows. Its
  reference is PAIR's own map, and the peer's error is how far that map is from itself when its gradients are rounded
  otherwise (noise of a millionth of their root mean square, the median of three runs), so that ours is compared with
  what the peer itself can reproduce."""


def write_page(result: Result, page: Path, figure: Path | None = None) -> None:
    """Write the Markdown page; it shows ``figure``, if there is one."""
    parts = [INTRODUCTION]
    if figure:
        parts.append(f"![Seconds an image, ours and the peers']({os.path.relpath(figure, page.parent)})")
    parts += [_conditions(result), _goals(result), READING]
    parts += [_model(name, found) for name, found in result["models"].items()]
    parts += [_references(result), _peers(result)]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(parts) + "\n")


def _conditions(result: Result) -> str:
    machine, settings = result["machine"], result["settings"]
    wide = [kind for kind, has in (("AVX-512 BF16", "avx512_bf16"), ("AMX BF16", "amx_bf16")) if machine[has]]
    processor = f"{machine['architecture']}, {machine['cores']} cores ({machine['threads']} used), "
    processor += f"{machine['vectors']}, {' and '.join(wide) or 'no bfloat16 arithmetic'}"
    rows = {
        "Machine": (f"{machine['gpu']}; " if machine["gpu"] else "") + processor,
        "Software": f"PyTorch {result['torch']}; peers "
        + ", ".join(f"{name} {version}" for name, version in result["peers"].items()),
        "Images": f"{settings['images']} of {' and '.join(settings['data'])}, {settings['size']} x {settings['size']} "
        f"pixels, {settings['channels']} channel(s)",
        "Networks": f"trained from scratch for {settings['train_steps']} steps at {settings['train_size']} pixels, so "
        "that gradients and feature maps are not those of random weights",
        "Our passes": "tuned for each network, see there; a peer's Score-CAM, Ablation-CAM and occlusion take "
        f"{settings['batch_size']} images a pass, path methods of PAIR {settings['pair_batch_size']}",
        "Repetitions": f"{settings['repeats']}; {settings['slow_repeats']} on {settings['peer_images']} image(s) for "
        f"what takes more than {SLOW:g} s an image; once for a peer that takes more than {QUICK:g} s and {FAR:g} "
        "times as long as another on its first run",
    }
    return "## Conditions\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {text} |" for name, text in rows.items())


def _goals(result: Result) -> str:
    higher = ", ".join(f"`{name}` {goal:g} times" for name, goal in HIGHER_GOALS.items())
    lines = [
        "## Goals\n",
        f"- The paper's panel at least {PANEL_GOAL:g} times as fast as the peers, in one run that shares passes.",
        f"- Each method at least {METHOD_GOAL:g} times as fast as its peer; {higher}.",
        f"- Each method with no more error than its peer: at most {ERROR_GOAL:g} times it, or both below {ROUNDING:g}.",
        f"- No method takes more than {OVERHEAD_GOAL:.0%} beyond its passes of the model.",
        f"- Methods that need one pass take together at most {SHARED_GOAL:g} times one bare pass.\n",
    ]
    short = [
        f"- Missed by {model}: {text}." for model, found in result["models"].items() for text in _all_missed(found)
    ]
    return "\n".join([*lines, *(short or ["All goals are met."])])


def _all_missed(found: Result) -> Iterator[str]:
    yield from missed_by_model(found)
    for name, row in found["methods"].items():
        if "failed" in row:
            yield f"`{name}` failed"
        else:
            yield from (f"`{name}`, {text}" for text in missed(name, row))


def _model(name: str, found: Result) -> str:
    lines = [f"## {name}\n"]
    if "tuning" in found:
        lines.append(_tuning(found["tuning"]))
    if found["panel_ratio"] is not None:
        lines.append(_panel(found))
    if found["shared_pass_ratio"] is not None:
        names = ", ".join(f"`{method}`" for method in found["shared"]["methods"])
        lines.append(f"One pass serves {names}: together {found['shared_pass_ratio']:.3g} times one bare pass.\n")
    if "pass_seconds" in found:
        lines.append(pass_table(found["pass_seconds"]))
    rows = [_row(method, row) for method, row in found["methods"].items()]
    return "\n".join([*lines, HEAD, "|---|---|" + "---:|" * 7 + "---|", *rows])


def _tuning(tuning: Result) -> str:
    run = tuning["execution"]
    text = f"Ours runs {run['batch_size']} images a pass, {run['memory_format'].replace('_', '-')}; "
    text += f"scores in {run['precision']}, gradients in {run.get('gradient_precision', 'float32')}."
    ranks = tuning.get("spearman")
    if not isinstance(ranks, dict):
        ranks = {"maps": ranks}
    tried = ", ".join(f"{what} {value:.4g}" for what, value in ranks.items() if value is not None)
    return text + (f" Lowest rank correlation of bfloat16 with float32: {tried}.\n" if tried else "\n")


def _panel(found: Result) -> str:
    panel, other = found["panel"], found["panel_ratio_without_smooth_blur"]
    without = f" (without {', '.join(f'`{method}`' for method in panel['missing'])})" if panel["missing"] else ""
    text = (
        f"Panel of {len(panel['methods'])} methods{without}, in one run: {_number(panel['ours_seconds'])} s an image, "
        f"{_number(panel['peer_seconds'])} s by the peers, **{found['panel_ratio']:.3g} times** as fast."
    )
    if other is not None and SMOOTH_BLUR in panel["methods"]:
        text += f" {other:.3g} times without `{SMOOTH_BLUR}`, whose seconds within that run are subtracted."
    if panel["less_exact"]:
        text += f" More error than the peer in {', '.join(f'`{method}`' for method in panel['less_exact'])}."
    return text + "\n"


def _row(name: str, row: Result) -> str:
    if "failed" in row:
        return f"| `{name}` |" + " |" * 8 + f" failed: {row['failed'].splitlines()[0].replace('|', '/')} |"
    alone = row["split"]["forward"] > row["split"]["forward_backward"] + row["split"]["to_layer"]
    cells = [
        f"`{name}`",
        row["peer"] or "none",
        *(_number(row[key]) for key in ("ours_seconds", "peer_seconds", "ratio")),
        f"{'+' if alone else ''}{row['passes']:.4g}",
        f"{100 * row['overhead']:.3g}%",
        _error(row),
        _error({"error": row["peer_error"], "deviation": row["peer_deviation"]}) if row["peer"] else "none",
        "; ".join(f"missed: {text}" for text in missed(name, row)) or "met",
    ]
    return f"| {' | '.join(cells)} |"


def _error(found: Result) -> str:
    if found["error"] is None and found["deviation"] is not None:
        return f"{_number(found['deviation'])} \u2020"
    return _number(found["error"])


def _number(value: float | None) -> str:
    if value is None:
        return "undefined"
    return (
        f"{value:.3g}" if 1e-3 <= abs(value) < 1000 or value == 0 else f"{value:.1e}" if value < 1 else f"{value:.0f}"
    )


def _references(result: Result) -> str:
    texts = {
        name: row["reference"]
        for found in result["models"].values()
        for name, row in found["methods"].items()
        if "reference" in row
    }
    rows = [f"| `{name}` | {text} |" for name, text in texts.items()]
    return "\n".join(["## References\n", "| method | how its limit is computed |", "|---|---|", *rows])


def _peers(result: Result) -> str:
    lines = [
        "## Every peer, and how it is called\n",
        "Where a peer's error is far above that of another for the same method, it computes something else.\n",
        "| method | model | peer | s/image | passes | error | images, times | call |",
        "|---|---|---|---:|---:|---:|---|---|",
    ]
    for model, found in result["models"].items():
        for name, row in found["methods"].items():
            for peer, its in row.get("peers", {}).items():
                cells = (_number(its["seconds"]), f"{its['passes']:.4g}", _error(its))
                often = f"{its['images']}, {its['repeats']}"
                lines.append(f"| `{name}` | {model} | {peer} | {' | '.join(cells)} | {often} | {its['call']} |")
    return "\n".join(lines)


def draw(result: Result, file: Path) -> None:
    """Bars of seconds an image for each method, ours above its peer, a panel for each model."""
    models = result["models"]
    names = list(dict.fromkeys(name for found in models.values() for name in found["methods"]))
    figure = Figure(figsize=(1.6 + 4.0 * len(models), 1.3 + 0.42 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for axes, (model, found) in zip(panels, models.items(), strict=True):
        rows = {i: found["methods"].get(name, {}) for i, name in enumerate(names)}
        for key, shift, color, label in (("ours_seconds", -0.2, OURS, "ours"), ("peer_seconds", 0.2, PEER, "peer")):
            bars = {i: row[key] for i, row in rows.items() if row.get(key)}
            axes.barh([i + shift for i in bars], list(bars.values()), height=0.38, color=color, label=label)
        for i, row in rows.items():
            if row.get("ratio"):
                end = max(row["ours_seconds"], row["peer_seconds"])
                axes.annotate(f"{row['ratio']:.2g}×", (end, i), (4, 0), textcoords="offset points", va="center")
        axes.set_xscale("log")
        seconds = [row[key] for row in rows.values() for key in ("ours_seconds", "peer_seconds") if row.get(key)]
        if seconds:
            axes.set_xlim(min(seconds) / 3, max(seconds) * 3)
        axes.margins(y=0.02)
        axes.set_title(model, loc="left")
        axes.set_xlabel("seconds an image")
        axes.grid(axis="x", color="#e5e5e5")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(names)), [method_label(name).replace("_", " ") for name in names])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
