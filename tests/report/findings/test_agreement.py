"""What is said of the agreement of measures and maps."""

from __future__ import annotations

from .made import NAN, made, said, table


def test_measures_agree_only_where_a_test_says_so() -> None:
    rows = [
        ("information", 6, 4, 0.83, 0.001, ""),
        ("all", 8, 4, 0.3, 0.2, ""),
        ("localization", 1, 4, NAN, NAN, "one measure"),
    ]
    text = said(made(concordance=table("concordance", rows)), "Agreement of measures")
    assert "alike, more than by chance: the 6 information curves (Kendall's W 0.83, p = 0.001);" in text
    assert "Not shown to rank the methods alike: the 8 measures together (Kendall's W 0.30, p = 0.200)." in text
    assert "Not tested: the 1 measures of localization (one measure)." in text


def test_agreement_of_maps_leaves_controls_out() -> None:
    rows = [
        ("alpha", "beta", 0.8, 0.7, 0.9, 60),
        ("alpha", "gamma", 0.1, 0.0, 0.2, 60),
        ("beta", "random", -0.9, -1, -0.8, 60),
    ]
    text = said(made(method_agreement=table("method_agreement", rows)), "Agreement of maps")
    assert (
        "alpha and beta (0.80 [0.70, 0.90]) are most alike, those of alpha and gamma (0.10 [0.00, 0.20]) least" in text
    )


def test_reliability_tells_the_ends() -> None:
    rows = [("evidence", "seed", 3, 60, 0.93, 0.9, 0.95, ""), ("road", "seed", 3, 60, 0.99, 0.98, 1.0, ""),
            ("evidence", "retrained", 2, 60, NAN, NAN, NAN, "nothing varies")]  # fmt: skip
    text = said(made(reliability=table("reliability", rows)), "Reliability")
    assert "from 0.93 [0.90, 0.95] for Evidence to 0.99 [0.98, 1.00] for ROAD" in text
    assert "networks trained anew, scores have no intraclass correlation (nothing varies)." in text
