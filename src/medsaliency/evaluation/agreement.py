"""Agreement of the maps that two models have of one image: Arun et al. 2021, doi:10.1148/ryai.2021200267.

Of two trainings of one architecture they call it repeatability, of two architectures reproducibility.
"""

from __future__ import annotations

from medsaliency.evaluation.similarity import dice, spearman, ssim
from medsaliency.types import BoolArray, FloatArray, MedsaliencyError, Score


def agreement(a: FloatArray, b: FloatArray, lesion: BoolArray | None = None, *, share: float = 0.1) -> dict[str, Score]:
    """How alike two maps of one image are.

    Args:
        a: (H, W) or (D, H, W), by one model.
        b: By the other, of the same method, image and target.
        lesion: Bool on the same pixels, or None where there is no mask.
        share: Of the pixels that Dice compares where there is no mask, in (0, 1); with one they are as many as the
            lesion has.

    Returns:
        ``ssim`` and ``spearman`` in [-1, 1] and ``dice`` in [0, 1], each higher where the maps agree more, or undefined
        with its reason (see :mod:`medsaliency.evaluation.similarity`).

    Raises:
        MedsaliencyError: If the shapes differ or ``share`` is out of its range.
    """
    if lesion is not None and lesion.shape != a.shape:
        raise MedsaliencyError(
            f"agreement: expected a lesion mask on the pixels of the maps, {a.shape}, got {lesion.shape}; bring the "
            "maps to the mask's pixels first"
        )
    return {"ssim": ssim(a, b), "spearman": spearman(a, b), "dice": _dice(a, b, lesion, share)}


def _dice(a: FloatArray, b: FloatArray, lesion: BoolArray | None, share: float) -> Score:
    if lesion is None:
        return dice(a, b, share)
    if not lesion.any():
        return Score.undefined("no lesion pixel")
    if lesion.all():
        return Score.undefined("the lesion covers the whole image")
    return dice(a, b, float(lesion.mean()))
