"""What a comparison of two methods may be said to have shown."""

from __future__ import annotations

from medsaliency.statistics.bootstrap import Floats

FAMILIES = 2
"""Tables of tests that a study's statements are made of: pairs of methods, and methods against controls. Corrected
p-values are multiplied by it, so that one error budget holds for all that is said (Bonferroni).
"""


def verdicts(tested: Floats, reported: Floats, p_corrected: Floats, alpha: float) -> list[str]:
    """``better``, ``worse`` or ``not shown`` for each of m comparisons.

    A test weighs patients, or ranks, and the difference that is reported weighs images. Where the two point to opposite
    sides nothing is said to be shown, whatever the p-value.

    Args:
        tested: (m,) positive where the test favors the first method.
        reported: (m,) positive where the reported difference does.
        p_corrected: (m,) two-sided.
        alpha: Level.
    """
    shown = (p_corrected <= alpha) & (tested * reported > 0)
    return [
        "not shown" if not true else "better" if side > 0 else "worse" for true, side in zip(shown, tested, strict=True)
    ]
