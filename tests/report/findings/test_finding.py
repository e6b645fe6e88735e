"""Words that findings share."""

from __future__ import annotations

import pytest

from medsaliency.report.findings.finding import few_names, p_value, points, share, these, would_have_shown

from .made import METHODS, NAN, made


def test_long_lists_are_cut_in_the_summary_and_counted() -> None:
    assert few_names(["a", "b", "c", "d", "e"]) == "a, b, c, d, and e"
    assert few_names(list("abcdefg")) == "a, b, c, d and 3 more"


def test_nearly_all_of_many_methods_are_told_by_those_that_are_missing() -> None:
    many = [f"m{i}" for i in range(9)]
    study = made(methods=many)
    assert these(study, many) == "all 9 methods"
    assert these(study, many[1:]) == "all 9 methods but m0"
    assert these(study, many[:3]) == "m0, m1, and m2"
    assert these(made(), METHODS) == "alpha, beta, gamma, and delta"


@pytest.mark.parametrize(("p", "text"), [(0.0312, "p = 0.031"), (0.0009, "p < 0.001"), (1.0, "p = 1.000")])
def test_p_values(p: float, text: str) -> None:
    assert p_value(p) == text


def test_shares_and_points_need_numbers() -> None:
    assert share({"value": 0.5, "low": NAN, "high": NAN}) == "50% (interval undefined)"
    assert share(None) == share({"value": None}) == points(None) == ""
    assert share({"value": 0.0, "low": 0.0, "high": 1e-15}) == "0% (no spread)"
    assert points({"value": -0.034, "low": -0.05, "high": 0.01}) == "−3.4 percentage points (−5.0 to 1.0)"
    assert would_have_shown([0.1, NAN]) == "a difference of 0.100 would have been shown, where that is known"
