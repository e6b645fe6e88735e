"""Figures for notebooks and files: maps over images, drawn with matplotlib and without its global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medsaliency.report.contents import Case, Contrast
from medsaliency.report.gallery import predicted_class
from medsaliency.report.overlay import colorize, contours, is_signed, photograph
from medsaliency.report.slices import cut
from medsaliency.report.wording import class_name, method_label, percent
from medsaliency.types import BoolArray, FloatArray

OPACITY = 0.75
OUTLINE = "#39d98a"
PANEL = 2.2
"""Inches of one panel's side."""


class NotebookFigure(Figure):
    """A figure that a notebook shows when a cell ends with it, without pyplot having been imported."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def show(
    images: Any,
    maps: Mapping[str, Any],
    *,
    lesions: Any = None,
    titles: Sequence[str] | None = None,
) -> Figure:
    """Draw each image beside its maps, one row an image and one column a method.

    Of a volume one axial slice is drawn, the same for all methods, which the row names: that with the largest part of
    the lesion, or without one that on which most of the maps lies.

    Args:
        images: (N, C, H, W) in [0, 1], an array or a tensor on any device; volumes (N, C, D, H, W).
        maps: (N, H, W) for each method, or (N, D, H, W); signed maps are drawn in red (for) and blue (against). Each
            map is scaled for display by its own 1st and 99th percentile and is transparent where it is weak.
        lesions: (N, H, W) bool, or (N, D, H, W), outlined, or None; a list may hold None for an image without a mask.
        titles: One for each image, such as its class.

    Returns:
        A figure that a notebook shows by itself and ``savefig`` writes to a file.

    Raises:
        ValueError: If a shape or a number of images does not agree.

    Example:
        >>> show(np.zeros((1, 1, 8, 8)), {"gradient": np.ones((1, 8, 8))}).axes[1].get_title()
        'Gradient'
    """
    pictures = _array(images)
    if pictures.ndim not in (4, 5):
        raise ValueError(f"show expected images of shape (N, C, H, W) or (N, C, D, H, W), got {pictures.shape}")
    n, shape = len(pictures), pictures.shape[2:]
    height, width = shape[-2:]
    drawn = {name: _array(values) for name, values in maps.items()}
    for name, values in drawn.items():
        if values.shape != (n, *shape):
            raise ValueError(f"show expected maps[{name!r}] of shape {(n, *shape)}, got {values.shape}")
    masks = [None] * n if lesions is None else [None if mask is None else _array(mask).astype(bool) for mask in lesions]
    for name, given in (("lesions", masks), ("titles", titles)):
        if given is not None and len(given) != n:
            raise ValueError(f"show expected {name} for {n} images, got {len(given)}")

    size = (PANEL * (1 + len(drawn)), PANEL * max(n, 1) * height / width + 0.4)
    figure = NotebookFigure(figsize=size, dpi=120, layout="constrained")
    axes = figure.subplots(max(n, 1), 1 + len(drawn), squeeze=False)
    signed = {name: is_signed(values) for name, values in drawn.items()}
    for row in range(n):
        own = {name: values[row] for name, values in drawn.items()}
        case = cut(Case("", "", pictures[row], masks[row], None, 0, np.zeros(0, np.float32), own))
        _picture(axes[row, 0], case.image, case.lesion)
        words = [text for text in (titles[row] if titles is not None else "", case.plane.partition(" (")[0]) if text]
        if words:
            axes[row, 0].set_ylabel("\n".join(words), fontsize=9, parse_math=False)
        for column, (name, saliency) in enumerate(case.maps.items(), 1):
            contrast = case.contrasts.get(name)
            _picture(axes[row, column], case.image, case.lesion, saliency, signed=signed[name], contrast=contrast)
    for column, name in enumerate(["Image", *map(method_label, drawn)]):
        axes[0, column].set_title(name, fontsize=9, parse_math=False)
    return figure


def case_figure(case: Case, classes: Sequence[str]) -> Figure:
    """Draw one explained image: the image, every map over it, and the model's output for each class.

    Args:
        case: The image, its maps and its prediction; a volume is cut to the slice that the title then names.
        classes: Names in the order of the model's outputs.

    Returns:
        A figure of at most four panels a row.
    """
    signed = {name: is_signed(saliency) for name, saliency in case.maps.items()}
    case = cut(case)
    panels = 2 + len(case.maps)
    columns = min(panels, 4)
    rows = -(-panels // columns)
    figure = NotebookFigure(figsize=(PANEL * columns * 1.15, PANEL * rows * 1.2 + 0.5), dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    truth = f", true class {class_name(case.label, classes)}" if case.label is not None else ""
    plane = f"\n{case.plane}" if case.plane else ""
    figure.suptitle(
        f"{case.sample}: explaining {class_name(case.target, classes)}{truth}{plane}", fontsize=10, parse_math=False
    )
    _picture(grid[0], case.image, case.lesion)
    grid[0].set_title("Image" + (", lesion outlined" if case.lesion is not None else ""), fontsize=9)
    _outputs(grid[1], case, classes)
    for axis, (name, saliency) in zip(grid[2:], case.maps.items(), strict=False):
        contrast = case.contrasts.get(name)
        _picture(axis, case.image, case.lesion, saliency, signed=signed[name], contrast=contrast)
        axis.set_title(method_label(name), fontsize=9, parse_math=False)
    for axis in grid[panels:]:
        axis.set_axis_off()
    return figure


def _array(values: Any) -> NDArray[Any]:
    # A tensor that takes part in a gradient or lies on a GPU says so by these names; torch itself is not imported.
    for step in ("detach", "cpu"):
        values = getattr(values, step)() if hasattr(values, step) else values
    return np.asarray(values)


def _picture(
    axis: Axes,
    image: FloatArray,
    lesion: BoolArray | None,
    saliency: FloatArray | None = None,
    *,
    signed: bool = False,
    contrast: Contrast | None = None,
) -> None:
    height, width = image.shape[-2:]
    extent = (0.0, float(width), float(height), 0.0)
    axis.imshow(photograph(image), cmap="gray", vmin=0, vmax=255, extent=extent)
    if saliency is not None:
        axis.imshow(colorize(saliency, signed=signed, contrast=contrast), alpha=OPACITY, extent=extent)
    for line in contours(lesion) if lesion is not None else ():
        axis.plot(line[:, 0], line[:, 1], color="black", linewidth=2.0, alpha=0.6)
        axis.plot(line[:, 0], line[:, 1], color=OUTLINE, linewidth=1.0)
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _outputs(axis: Axes, case: Case, classes: Sequence[str]) -> None:
    values = np.asarray(case.probabilities, dtype=np.float64)
    predicted = predicted_class(case)
    places = np.arange(len(values))
    axis.barh(
        places, np.nan_to_num(values), height=0.4, color=["#2f78c4" if i == predicted else "#b9c2cc" for i in places]
    )
    for place, value in zip(places, values, strict=True):
        written = f"{class_name(int(place), classes)}  {percent(value, 1)}"
        axis.text(0.02, place - 0.24, written, fontsize=8, va="bottom", parse_math=False)
    axis.set(xlim=(0, 1), ylim=(len(values) - 0.6, -0.8), xticks=[0, 0.5, 1], yticks=[])
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.set_title("Model output", fontsize=9)
