import math

import pytest

from medsaliency.report.wording import (
    class_name,
    estimate,
    has_width,
    interval,
    listing,
    number,
    percent,
    percent_interval,
    signed,
    without_folders,
)


def test_nan_is_never_written_as_a_number() -> None:
    assert [number(math.nan), number(None), percent(math.nan), estimate(math.nan, 0.1, 0.2)] == ["undefined"] * 4
    assert interval(0.1, math.nan) == "[interval undefined]"


def test_a_difference_keeps_its_sign_and_a_small_one_its_side_of_zero() -> None:
    assert signed(0.12) == "+0.120"
    assert signed(-0.12) == "−0.120"
    assert interval(-0.1, -0.0004) == "[−0.100, −0.0004]"
    assert number(0.0) == "0.000"


def test_listing_reads_as_a_sentence() -> None:
    assert [listing("a"), listing("ab"), listing("abc")] == ["a", "a and b", "a, b, and c"]
    assert [listing("ab", "or"), listing("abc", "or")] == ["a or b", "a, b, or c"]


def test_an_interval_without_width_is_none() -> None:
    assert [has_width(0.5, 0.5), has_width(0.5, 0.5 + 1e-15), has_width(0.0, 1e-15)] == [False] * 3
    assert [has_width(0.5, 0.5001), has_width(math.nan, 0.5), has_width(None, 1.0)] == [True, False, False]
    assert estimate(1.0, 1.0, 1.0) == "1.000 [no spread]"
    assert [percent_interval(1.0, 1.0), percent_interval(0.841, 0.952, 1)] == ["[no spread]", "[84.1%, 95.2%]"]
    assert percent_interval(math.nan, 1.0) == "[interval undefined]"


@pytest.mark.parametrize(
    ("label", "expected"), [(1, "b"), (1.0, "b"), ("b", "b"), (math.nan, "unknown"), (None, "unknown"), (7, "unknown")]
)
def test_a_class_is_known_by_index_or_name(label: object, expected: str) -> None:
    assert class_name(label, ("a", "b")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/data/mri", "…/mri"),
        ("Edge(template='/home/ann/cache/edge.npy')", "Edge(template='…/edge.npy')"),
        (r"C:\Users\ann\mri", "…/mri"),
        (r"\\server\ann\mri", "…/mri"),
        ("~ann/data/mri", "…/mri"),
        ("file:///home/ann/mri", "…/mri"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("test/glioma/001.png", "test/glioma/001.png"),
        ("3/4 of images, 2024/11/02", "3/4 of images, 2024/11/02"),
    ],
)
def test_folders_of_absolute_paths_are_left_out(text: str, expected: str) -> None:
    assert without_folders(text) == expected
