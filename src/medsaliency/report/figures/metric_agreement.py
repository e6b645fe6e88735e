"""Whether two measures rank the methods alike, and whether they do so on a single image.

After Tomsett et al. 2020, doi:10.1609/aaai.v34i04.6064.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from medsaliency.report import verdicts
from medsaliency.report.contents import Contents
from medsaliency.report.figures.canvas import WIDE, canvas, style
from medsaliency.report.figures.matrix import draw_matrix
from medsaliency.report.wording import metric_label
from medsaliency.statistics.bootstrap import Floats


@style()
def draw(contents: Contents) -> list[Figure]:
    """Draw the matrix of Spearman correlations of measures: of methods' means above the diagonal, on an image below."""
    names, values = matrix(contents)
    if len(names) < 2:
        return []
    side = min(WIDE, 2.6 + 0.26 * len(names))
    figure = canvas(side, side * 0.86)
    axis = figure.subplots()
    label = "Spearman correlation of two measures over methods"
    draw_matrix(figure, axis, values, [metric_label(name) for name in names], title=label)
    axis.set_title(
        "Above the diagonal: of the methods' means. Below: mean over images",
        loc="left",
        fontweight="normal",
        fontsize=7,
    )
    return [figure]


def matrix(contents: Contents) -> tuple[list[str], Floats]:
    """Return the measures, in the study's order, and their correlations (K, K); the diagonal is NaN.

    All values have the measures turned so that higher is better, as the table has them.
    """
    table = contents.inference.metric_agreement
    present = set(table["metric"]) | set(table["other"])
    known = [name for name in verdicts.metrics(contents) if name in present]
    names = known + sorted(present - set(known))
    place = {name: i for i, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for row in table.itertuples(index=False):
        first, last = sorted((place[row.metric], place[row.other]))
        values[first, last], values[last, first] = row.correlation, row.image_correlation
    return names, values
