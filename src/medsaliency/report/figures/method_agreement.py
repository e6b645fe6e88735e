"""How alike the maps of two methods are, methods with like maps side by side.

After Krishna et al. 2022, arXiv:2202.01602; order of leaves by Bar-Joseph et al. 2001,
doi:10.1093/bioinformatics/17.suppl_1.S22.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import WIDE, canvas, drawn_methods, style
from medsaliency.report.figures.matrix import draw_matrix
from medsaliency.report.wording import method_label
from medsaliency.statistics.bootstrap import Floats


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw the matrix of mean Spearman correlations of two methods' maps, in clustered order."""
    names, values = matrix(contents)
    if len(names) < 2:
        return []
    side = min(WIDE, 2.6 + 0.26 * len(names))
    figure = canvas(side, side * 0.86)
    axis = figure.subplots()
    images = contents.inference.method_agreement["images"]
    label = f"Spearman correlation of two maps, mean of {_range(images.min(), images.max())} images"
    draw_matrix(figure, axis, values, [method_label(name) for name in names], title=label)
    controls = drawn_methods(contents)
    for tick, name in zip(axis.get_yticklabels(), names, strict=True):
        tick.set_fontstyle("italic" if name in controls and controls[name].control else "normal")
    return [figure]


def matrix(contents: Contents) -> tuple[list[str], Floats]:
    """Return the methods in clustered order and the correlations of their maps (K, K); the diagonal is NaN.

    Average linkage of one less the correlation, leaves ordered so that neighbors are most alike. A pair without a
    value counts as uncorrelated for the order alone.
    """
    table = contents.inference.method_agreement
    present = set(table["method"]) | set(table["other"])
    names = [name for name in drawn_methods(contents) if name in present]
    names += sorted(present - set(names))
    place = {name: i for i, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for one, other, found in zip(table["method"], table["other"], table["correlation"], strict=True):
        values[place[one], place[other]] = values[place[other], place[one]] = found
    order = _clustered(values)
    return [names[i] for i in order], values[np.ix_(order, order)]


def _clustered(values: Floats) -> list[int]:
    if len(values) < 3:
        return list(range(len(values)))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    apart = 1 - np.nan_to_num(values)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), method="average", optimal_ordering=True)
    return [int(leaf) for leaf in leaves_list(tree)]


def _range(low: float, high: float) -> str:
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
