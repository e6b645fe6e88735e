"""How the report writes names, numbers and intervals, and what it leaves out of free text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

METHOD_LABELS = {
    "gradient": "Gradient",
    "smoothgrad": "SmoothGrad",
    "smoothgrad_squared": "SmoothGrad squared",
    "vargrad": "VarGrad",
    "integrated_gradients": "Integrated Gradients",
    "smooth_integrated_gradients": "Smooth IG",
    "guided_integrated_gradients": "Guided IG",
    "blur_integrated_gradients": "Blur IG",
    "smooth_blur_integrated_gradients": "Smooth Blur IG",
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "layer_cam": "LayerCAM",
    "x_grad_cam": "XGrad-CAM",
    "hires_cam": "HiResCAM",
    "eigen_cam": "EigenCAM",
    "score_cam": "Score-CAM",
    "ablation_cam": "Ablation-CAM",
    "xrai": "XRAI",
    "input_x_gradient": "Input × gradient",
    "rise": "RISE",
    "occlusion": "Occlusion",
    "deep_lift": "DeepLIFT",
    "gradient_shap": "GradientSHAP",
    "guided_backprop": "Guided backpropagation",
    "guided_grad_cam": "Guided Grad-CAM",
    "lime": "LIME",
    "kernel_shap": "Kernel SHAP",
    "random": "Random",
    "edge": "Edge",
    "center_gaussian": "Center Gaussian",
    "blurred": "Blurred",
}
LIKENESS = {"ssim": "SSIM", "spearman": "rank correlation", "hog": "HOG"}
METRIC_LABELS = {
    "aic_entropy": "AIC entropy",
    "aic_webp": "AIC WebP",
    "aic_mean": "AIC mean",
    "sic_entropy": "SIC entropy",
    "sic_webp": "SIC WebP",
    "sic_mean": "SIC mean",
    "aic_entropy_published": "AIC entropy, published",
    "aic_webp_published": "AIC WebP, published",
    "aic_mean_published": "AIC mean, published",
    "sic_entropy_published": "SIC entropy, published",
    "sic_webp_published": "SIC WebP, published",
    "sic_mean_published": "SIC mean, published",
    "evidence": "Evidence",
    "insertion_gain": "Insertion gain",
    "deletion_gain": "Deletion gain",
    "place_rank": "Place rank",
    "evidence_curves": "Evidence curves",
    "insertion_blur": "Insertion, blur",
    "insertion_mean": "Insertion, mean",
    "deletion_blur": "Deletion, blur",
    "deletion_mean": "Deletion, mean",
    "road": "ROAD",
    "road_most": "ROAD, most relevant first",
    "road_least": "ROAD, least relevant first",
    "infidelity": "Infidelity",
    "faithfulness_correlation": "Faithfulness correlation",
    "published_curves": "Information curves, published",
    "information_curves": "Information curves",
    "lesion_auprc": "Lesion AUPRC",
    "pointing_game": "Pointing game",
    "hit_rate": "Hit rate",
    "energy_in_lesion": "Energy in lesion",
    "relevance_mass": "Relevance mass",
    "relevance_rank": "Relevance rank",
    "lesion_iou": "Lesion IoU",
    "lesion_dice": "Lesion Dice",
    "lesion_iou_tuned": "Lesion IoU, tuned",
    "lesion_dice_tuned": "Lesion Dice, tuned",
    "gini": "Gini",
    "entropy": "Entropy",
    "effective_fraction": "Effective fraction",
    "max_sensitivity": "Max-sensitivity",
    "flip_consistency": "Flip, rank correlation",
    "flip_overlap": "Flip, overlap",
    "shift_consistency": "Shift, rank correlation",
    "shift_overlap": "Shift, overlap",
    "parameter_randomization": "Parameter randomization",
    "data_randomization": "Data randomization",
    "equivariance": "Equivariance",
    **{
        f"{kind}_{name}{end}": f"{words}, {label}{text}"
        for kind, words in (
            ("cascading", "Cascading randomization"),
            ("independent", "Independent randomization"),
            ("permuted", "Permuted labels"),
        )
        for name, label in LIKENESS.items()
        for end, text in (("", ""), ("_margin", ", margin"))
    },
}
UNDEFINED = "undefined"
NO_SPREAD = "no spread"
"""In the place of an interval whose ends are equal: all patients agree, so that resampling them shows nothing."""

# An absolute path or one below a home folder, down to its last folder: POSIX, Windows drive or network share. The
# look-behind spares fractions, dates and addresses, in which the slash follows a word or a slash.
_FOLDERS = re.compile(
    r"(?<![\w./\\])(?:file:/+|[A-Za-z]:[\\/]|\\\\|~[\w.-]*/|/)(?=[^\s/\\])(?:[^'\"<>|:,;()\[\]{}\n/\\]+[\\/])*"
)


def method_label(name: str) -> str:
    """Return the name of a method as papers write it, or ``name`` itself for one that has no such name."""
    return METHOD_LABELS.get(name, name)


def metric_label(name: str) -> str:
    """Return the name of a measure for headings, or ``name`` itself for one that has no such name."""
    return METRIC_LABELS.get(name, name)


def number(value: float | None, digits: int = 3) -> str:
    """Write ``value`` with ``digits`` decimals and a true minus sign; what is not finite is "undefined"."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    # A value that rounds to zero gets more decimals: an interval that ends just short of zero must not seem to hold it.
    for more in range(4 if value else 1):
        text = f"{value:.{digits + more}f}"
        if float(text):
            return text.replace("-", "−")
    return f"{0:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference with its sign, "+0.120" or "−0.120"."""
    text = number(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and float(text.replace("−", "-")) > 0 else text


def has_width(low: float | None, high: float | None) -> bool:
    """Tell whether an interval has two ends apart: one without width proves nothing (docs/explanation/intervals.md)."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return False
    return not math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12)  # equal but for rounding


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Write an interval as "[low, high]"; one without both ends, or without width, is said to be."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"[interval {UNDEFINED}]"
    return f"[{number(low, digits)}, {number(high, digits)}]" if has_width(low, high) else f"[{NO_SPREAD}]"


def percent_interval(low: float | None, high: float | None, digits: int = 0) -> str:
    """Write an interval of a share as :func:`interval` does, "[84%, 95%]"."""
    return f"[{percent(low, digits)}, {percent(high, digits)}]" if has_width(low, high) else interval(low, high)


def estimate(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Write a value with its interval, or "undefined" alone where the value is not a number."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{number(value, digits)} {interval(low, high, digits)}"


def percent(share: float | None, digits: int = 0) -> str:
    """Write a share in [0, 1] as a percentage."""
    return UNDEFINED if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}%"


def count(many: float, singular: str, plural: str | None = None) -> str:
    """Write a number of things, "1 image" or "2 images"."""
    return f"{many:,.0f} {singular if many == 1 else plural or singular + 's'}"


def listing(items: Iterable[str], last: str = "and") -> str:
    """Join ``items`` as a sentence does: "a", "a and b", "a, b, and c"; after "not" with "or" as the ``last`` word."""
    words = list(items)
    if len(words) < 3:
        return f" {last} ".join(words)
    return f"{', '.join(words[:-1])}, {last} {words[-1]}"


def class_name(label: object, classes: Sequence[str]) -> str:
    """Return the class that ``label`` means, given as an index, an index read back as a float, or a name."""
    if isinstance(label, str):
        return label
    try:
        index = float(label)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "unknown"
    if math.isfinite(index) and index == int(index) and 0 <= index < len(classes):
        return classes[int(index)]
    return "unknown"


def without_folders(text: object) -> str:
    """Return ``text`` with the folders of every absolute path in it replaced by an ellipsis.

    A report is passed on; the user name and the layout of the machine that a path shows are nobody else's business.
    """
    return _FOLDERS.sub("…/", str(text))
