"""The picture of a secondary capture: the image under its map, what the model said, a legend, and a notice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medsaliency.report.dicom.explanation import Explanation
from medsaliency.report.overlay import DIVERGING, PERCENTILE, SEQUENTIAL, colorize, is_signed, photograph
from medsaliency.report.wording import method_label, number
from medsaliency.types import FloatArray

NOTICE = "Research use only. Not for diagnosis."
SMALLEST, LARGEST = 512, 1024
"""Pixels of the longer side of an image as it is drawn: smaller ones are enlarged, larger ones reduced."""
WIDTH = 512
"""Least width of a picture, at which every line of text can be read."""
STRENGTH = 0.75
"""Opacity of the map where it is highest."""
MARGIN, LINE, BAR = 14, 24, 18
BLACK, WHITE, AMBER = (0, 0, 0), (255, 255, 255), (255, 190, 60)
Pixels = NDArray[np.uint8]


def draw(explanation: Explanation, method: str) -> Pixels:
    """The pictures of one method's map, one a slice: (D, rows, columns, 3) uint8.

    All have one color scale, that of the whole map, whose ends the legend gives. No sample, file or patient is named.
    """
    slices = explanation.slices(method)
    signed = is_signed(slices)
    # One scale for all slices: they are colored as one tall map.
    colored = colorize(slices.reshape(-1, slices.shape[-1]), signed=signed).reshape(*slices.shape, 4)
    ends = limits(slices, signed=signed)
    below = explanation.pictures()
    pictures = [
        _compose(
            _overlay(photograph(below[:, place]), colored[place], explanation.spacing),
            _lines(explanation, method, place, len(slices)),
            ends,
            signed=signed,
        )
        for place in range(len(slices))
    ]
    return np.stack(pictures)


def limits(saliency: FloatArray, *, signed: bool) -> tuple[float, float]:
    """The values of a map that :func:`medsaliency.report.overlay.scaled` gives the ends of the color scale."""
    if signed:
        spread = np.abs(saliency)
        end = float(np.percentile(spread, PERCENTILE)) or float(spread.max())
        return -end, end
    low = float(np.percentile(saliency, 100 - PERCENTILE))
    return low, low + (float(np.percentile(saliency - low, PERCENTILE)) or float((saliency - low).max()))


def _lines(explanation: Explanation, method: str, place: int, count: int) -> list[str]:
    """What is written below the image."""
    best, target = explanation.predicted, explanation.target
    known = explanation.classes
    what = explanation.explains.partition("(")[0].lower()
    lines = [
        f"{method_label(method)}: {what} of {known[target]}",
        f"Prediction: {known[best]}, probability {number(explanation.probabilities[best])}",
    ]
    if target != best:
        lines.append(f"Probability of {known[target]}: {number(explanation.probabilities[target])}")
    return [*lines, f"Slice {place + 1} of {count}"] if count > 1 else lines


def _overlay(image: Pixels, colored: Pixels, spacing: Sequence[float] | None) -> Image.Image:
    """The image with the map over it, enlarged or reduced, in the proportions that its spacing gives it."""
    gray = Image.fromarray(image).convert("RGB")
    across, down = gray.size
    if spacing is not None and min(spacing[-2:]) > 0:
        apart = [side / min(spacing[-2:]) for side in spacing[-2:]]
        across, down = max(1, round(across * apart[1])), max(1, round(down * apart[0]))
    scale = min(max(1.0, SMALLEST / max(across, down)), LARGEST / max(across, down))
    size = (max(1, round(across * scale)), max(1, round(down * scale)))
    gray = gray.resize(size, Image.Resampling.BILINEAR)
    over = Image.fromarray(colored).resize(size, Image.Resampling.BILINEAR)
    opacity = over.getchannel("A").point(lambda value: round(value * STRENGTH))
    return Image.composite(over.convert("RGB"), gray, opacity)


def _compose(shown: Image.Image, lines: Sequence[str], ends: tuple[float, float], *, signed: bool) -> Pixels:
    """The notice, the image, the lines of text and the legend, one below the other."""
    width = max(WIDTH, shown.width)
    height = 2 * MARGIN + LINE + shown.height + MARGIN + LINE * len(lines) + MARGIN + BAR + LINE
    page = Image.new("RGB", (width, height), BLACK)
    pen = ImageDraw.Draw(page)
    pen.text((width // 2, MARGIN), NOTICE, fill=AMBER, font=_font(19), anchor="ma")
    top = 2 * MARGIN + LINE
    page.paste(shown, ((width - shown.width) // 2, top))
    top += shown.height + MARGIN
    for line in lines:
        pen.text((MARGIN, top), _fitted(pen, line, width - 2 * MARGIN), fill=WHITE, font=_font(17))
        top += LINE
    page.paste(_bar(width - 2 * MARGIN, signed=signed), (MARGIN, top + MARGIN // 2))
    marks = [(MARGIN, ends[0], "la"), (width - MARGIN, ends[1], "ra")]
    marks += [(width // 2, 0.0, "ma")] if signed else []
    for x, value, anchor in marks:
        pen.text((x, top + MARGIN // 2 + BAR + 3), _short(value), fill=WHITE, font=_font(15), anchor=anchor)
    return np.asarray(page, dtype=np.uint8)


def _bar(width: int, *, signed: bool) -> Image.Image:
    """The color scale as the overlay has it, over black."""
    position = np.linspace(0, 1, width)
    opacity = np.abs(2 * position - 1) if signed else position
    rgb = (DIVERGING if signed else SEQUENTIAL)(position)[:, :3] * opacity[:, None]
    return Image.fromarray(np.broadcast_to(np.round(255 * rgb).astype(np.uint8), (BAR, width, 3)).copy())


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _fitted(pen: ImageDraw.ImageDraw, line: str, width: int) -> str:
    """The line, its end left out where it is too long."""
    if pen.textlength(line, font=_font(17)) <= width:
        return line
    while line and pen.textlength(line + "…", font=_font(17)) > width:
        line = line[:-1]
    return line + "…"


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings along, so that no machine draws another one."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
