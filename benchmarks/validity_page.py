"""The tables of metric validity, from the numbers that ``metric_validity.py`` has written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medsaliency.evaluation.baselines import make_baseline
from medsaliency.evaluation.delaunay import reveal
from medsaliency.evaluation.evidence_curves import EvidenceCurves
from medsaliency.evaluation.ranking import counts, places, rank
from validity_cases import Case, noise, oracle

COLUMNS = {
    "against_random": "oracle / random",
    "against_smooth": "oracle / smooth random",
    "against_misplaced": "oracle / misplaced",
    "against_edge": "oracle / edge",
    "against_center_gaussian": "oracle / center",
    "smooth_over_white": "smooth / white noise",
    "blurred_over_own": "blurred gradient / gradient",
    "with_mass_on_lesion": "rank corr. with mass on lesion",
    "left_out": "left out",
    "icc": "ICC",
}
DRAWN = {
    "evidence": "evidence",
    "insertion_minus_deletion": "the same, no other places",
    "sic_webp": "SIC WebP, audited",
    "aic_webp": "AIC WebP, audited",
    "sic_webp_published": "SIC WebP, published",
    "aic_webp_published": "AIC WebP, published",
    "sic_entropy_published": "SIC entropy, published",
    "insertion_blur": "insertion, blur",
    "deletion_blur": "deletion, blur",
    "road": "ROAD",
    "infidelity": "infidelity",
}
"""Measures in the figure, and their names there."""
BEGIN, END = "<!-- tables begin -->", "<!-- tables end -->"


def tables(found: dict[str, Any]) -> str:
    """One table a set: a row a measure, its mean over networks and the range."""
    text = []
    for data in dict.fromkeys(name.split(" ")[0] for name in found["cases"]):
        cases = {name: case for name, case in found["cases"].items() if name.split(" ")[0] == data}
        nets = ", ".join(f"{name.split(' ', 1)[1]} (accuracy {case['accuracy']:.2f})" for name, case in cases.items())
        text += [f"### {data}", "", f"Networks (architecture and seed): {nets}.", ""]
        text += ["| measure | " + " | ".join(COLUMNS.values()) + " | networks, images | seconds a map |"]
        text += ["|---" * (len(COLUMNS) + 3) + "|"]
        text += [_row(cases, metric, measure) for metric, measure in _measures(cases)]
        text.append("")
    return "\n".join(text)


def write_page(found: dict[str, Any], page: Path) -> None:
    """Put the tables between their marks in a page, or into a new one."""
    old = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{tables(found)}\n{END}{after}")


def _measures(cases: dict[str, Any]) -> list[tuple[str, str]]:
    return list(
        dict.fromkeys(
            (metric, measure)
            for case in cases.values()
            for metric, judged in case["metrics"].items()
            for measure in judged["measures"]
        )
    )


def _row(cases: dict[str, Any], metric: str, measure: str) -> str:
    judged = [case["metrics"][metric] for case in cases.values() if metric in case["metrics"]]
    cells = [_cell([j["measures"][measure].get(key) for j in judged]) for key in COLUMNS]
    cells.append(f"{len(judged)}, {sum(j['images'] for j in judged)}")
    cells.append(f"{np.mean([j['seconds_a_map'] for j in judged]):.2g}")
    return f"| `{measure}` | " + " | ".join(cells) + " |"


def _cell(values: list[float]) -> str:
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return "undefined"
    spread: Callable[[float], str] = "{:.2f}".format
    return f"{np.mean(known):.3f}" + (f" ({spread(min(known))}–{spread(max(known))})" if len(known) > 1 else "")


def draw_reveals(case: Case, file: Path) -> None:
    """Draw how both measures show one image: random start pixels interpolated, and a strong blur; by two maps."""
    from matplotlib.figure import Figure

    sample = case.samples[0]
    assert sample.lesion is not None
    image = sample.image
    rng = np.random.default_rng(0)
    maps = {"lesion": oracle(sample.lesion), "random": noise(sample.lesion.shape, rng)}
    many = counts((0.0, 0.01, 0.03, 0.1, 0.3), image[0].size)
    start = np.sort(rng.choice(image[0].size, image[0].size // 100, replace=False))
    blurred = make_baseline(torch.from_numpy(image)[None], "blur", EvidenceCurves().sigma)[0].numpy()
    figure = Figure(figsize=(10, 8.6), layout="constrained")
    axes = figure.subplots(4, 5)
    rows = [(kind, name) for kind in ("information curve", "evidence, insertion") for name in maps]
    for line, (kind, name) in zip(axes, rows, strict=True):
        order = rank(maps[name], rng)
        steps = (
            reveal(image, start, order, many[1:])
            if kind == "information curve"
            else np.stack([np.where(places(order).reshape(image.shape[1:]) < k, image, blurred) for k in many])
        )
        said = case.classifier.probabilities(torch.from_numpy(steps.astype(np.float32)))[:, case.predicted[0]]
        for axis, step, k, probability in zip(line, steps, many, said.tolist(), strict=True):
            axis.imshow(step[0], cmap="gray", vmin=0, vmax=1)
            axis.set_title(f"{k / image[0].size:.0%} shown: {probability:.2f}", fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(f"{kind}\nby the {name} map", fontsize=9)
    figure.savefig(file, dpi=80)


def draw_validity(found: dict[str, Any], file: Path) -> None:
    """Draw how well each measure tells the oracle from a random map and from its own shape in a wrong place."""
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(name.split(" ")[0] for name in found["cases"]))
    figure = Figure(figsize=(9, 3.2 * len(sets)), layout="constrained")
    for axis, data in zip(np.atleast_1d(figure.subplots(len(sets), 1)), sets, strict=True):
        cases = {name: case for name, case in found["cases"].items() if name.split(" ")[0] == data}
        shown = [(metric, measure) for metric, measure in _measures(cases) if measure in DRAWN]
        for offset, (key, color) in enumerate((("against_random", "#2f78c4"), ("against_misplaced", "#dd7a26"))):
            for at, (metric, measure) in enumerate(shown):
                values = [
                    case["metrics"][metric]["measures"][measure][key]
                    for case in cases.values()
                    if metric in case["metrics"]
                ]
                label = COLUMNS[key] if at == 0 else None
                axis.plot(values, [at + 0.25 * offset] * len(values), "o", color=color, alpha=0.7, label=label)
        axis.set_yticks(range(len(shown)), [DRAWN[measure] for _, measure in shown])
        axis.axvline(0.5, color="#888", linewidth=1)
        axis.axvline(0.95, color="#888", linewidth=1, linestyle=":")
        axis.set_xlim(0, 1.02)
        axis.invert_yaxis()
        axis.set_title(f"{data}: a point a network", fontsize=10)
        axis.set_xlabel("AUROC of one image's score")
        axis.legend(fontsize=8, loc="lower left")
    figure.savefig(file)
