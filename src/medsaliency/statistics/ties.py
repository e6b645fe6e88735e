"""Values that are equal, but for the rounding of the sums they come from, must tie in a rank test."""

from __future__ import annotations

import numpy as np

from medsaliency.statistics.bootstrap import Floats

DIGITS = 12


def tie_decimals(values: Floats) -> int:
    """Decimals to which values, and differences of them, are rounded before they are ranked.

    A third from one patient's images and a third from another's may differ in their last bit, and so do 0.7 - 0.5 and
    0.3 - 0.1. Twelve digits of the largest value are far above that noise and far below any difference that means
    something.

    Args:
        values: Any shape; NaN is left out.

    Returns:
        The ``decimals`` of :func:`numpy.round`.
    """
    largest = np.nanmax(np.abs(values), initial=0.0)
    return DIGITS - 1 - int(np.floor(np.log10(largest))) if largest > 0 else DIGITS
