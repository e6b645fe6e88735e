"""What scores are said to depend on."""

from __future__ import annotations

import pytest

from .made import NAN, made, said, table


@pytest.mark.parametrize(("p", "depends"), [(0.04, True), (0.05, True), (0.051, False)])
def test_only_a_corrected_p_at_the_level_is_a_dependence(p: float, depends: bool) -> None:
    terms = table("mixed_terms", [("evidence", "confidence", 4.0, 1.0, 28.0, 0.001, p, 60, 30, ""),
                                  ("evidence", "lesion_size", *[NAN] * 5, 0, 0, "not known")])  # fmt: skip
    effects = table("mixed_coefficients", [("evidence", "confidence", "", 0.02, 0.01, 0.03, 0.001)])
    text = said(made(mixed_terms=terms, mixed_coefficients=effects), "Evidence by image")
    assert (
        "Evidence depends on the model's confidence (+0.020 [0.010, 0.030] for one standard deviation more" in text
    ) == depends
    assert ("is not shown to depend on the model's confidence" in text) == (not depends)
    assert "the lesion's size (not known)" in text
