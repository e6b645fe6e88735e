"""Revealing an image along an information curve: ours against SciPy's griddata, side by side in one process.

Both reveal the same pixels of the same image at the same fourteen steps. Run: python benchmarks/reveal.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
from scipy.interpolate import griddata

from medsaliency.data.dataset import EVALUATION
from medsaliency.data.sandbox import sandbox
from medsaliency.evaluation.curve import FRACTIONS
from medsaliency.evaluation.delaunay import reveal


def by_griddata(image: np.ndarray, start: np.ndarray, ranking: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The same steps with one call of griddata each, as the reference implementation of the curves does."""
    height, width = image.shape
    steps = []
    for count in (0, *counts):
        known = np.zeros(image.size, dtype=bool)
        known[start] = True
        known[ranking[:count]] = True
        known[[0, width - 1, image.size - width, image.size - 1]] = True
        known = known.reshape(height, width)
        step = image.copy()
        step[~known] = griddata(np.argwhere(known), image[known], np.argwhere(~known), method="linear")
        steps.append(step)
    return np.stack(steps)


def main() -> None:
    """Time both on the same images and print and save the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    data = sandbox(size=arguments.size)
    rng = np.random.default_rng(0)
    ours: list[float] = []
    theirs: list[float] = []
    differ: list[float] = []
    for record in data.of(EVALUATION)[: arguments.images]:
        image = data.sample(record, arguments.size).image[0]
        start = rng.choice(image.size, image.size // 100, replace=False)
        ranking = np.argsort(-rng.random(image.size))
        counts = np.round(np.array(FRACTIONS) * image.size).astype(np.int64)
        reveal(image[None], start, ranking, counts[:1])  # compiled, if it was not, outside the timing
        begin = time.perf_counter()
        a = reveal(image[None], start, ranking, counts)[:, 0]
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        b = by_griddata(image, start, ranking, counts)
        theirs.append(time.perf_counter() - begin)
        differ.append(float((np.abs(a - b) > 1e-5).mean()))
    result = {
        "size": arguments.size,
        "images": len(ours),
        "ours_seconds": round(median(ours), 4),
        "griddata_seconds": round(median(theirs), 4),
        "ratio": round(median(b / a for a, b in zip(ours, theirs, strict=True)), 1),
        "pixels_that_differ": round(median(differ), 4),
    }
    print(json.dumps(result, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
