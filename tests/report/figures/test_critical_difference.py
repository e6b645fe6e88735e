from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import networkx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.report.contents import COLUMNS, Contents, nothing
from medsaliency.report.figures.critical_difference import by, draw, groups

METRIC = "lesion_auprc"


def with_verdicts(contents: Contents, alike: set[frozenset[str]], names: list[str]) -> Contents:
    """A study of ``names``, ranked in that order, in which only the pairs ``alike`` are not shown to differ."""
    ranks = pd.DataFrame(
        [(METRIC, name, place) for place, name in enumerate(names, 1)], columns=["metric", "method", "rank"]
    )
    pairs = pd.DataFrame(
        [(METRIC, a, b, "not shown" if frozenset((a, b)) in alike else "better") for a, b in combinations(names, 2)],
        columns=["metric", "method", "other", "verdict"],
    ).reindex(columns=COLUMNS["pairwise"].split())
    return replace(contents, inference=replace(contents.inference, ranks=ranks, pairwise=pairs))


def test_bars_join_what_no_test_tells_apart(contents: Contents) -> None:
    alike = {frozenset(pair) for pair in ("ab", "bc", "ac", "cd")}
    assert groups(with_verdicts(contents, alike, list("abcde")), METRIC) == [["a", "b", "c"], ["c", "d"]]


def test_a_group_need_not_be_neighbors(contents: Contents) -> None:
    """a and c are not shown to differ, b differs from both: the bar passes b and has no dot there."""
    changed = with_verdicts(contents, {frozenset("ac")}, list("abc"))
    assert groups(changed, METRIC) == [["a", "c"]]
    (figure,) = draw(changed)
    (bar,) = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.8]
    assert list(bar.get_xdata()) == [1, 3]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from([frozenset(pair) for pair in combinations("abcdefg", 2)])))
def test_groups_are_the_maximal_cliques(contents: Contents, alike: set[frozenset[str]]) -> None:
    graph = networkx.Graph([tuple(pair) for pair in alike])
    expected = {frozenset(clique) for clique in networkx.find_cliques(graph)}
    found = groups(with_verdicts(contents, alike, list("abcdefg")), METRIC)
    assert {frozenset(names) for names in found} == expected
    assert len(found) == len(expected)


def test_the_groups_of_the_study_are_those_of_its_verdicts(contents: Contents) -> None:
    pairs = contents.inference.pairwise.query("metric == @METRIC and verdict == 'not shown'")
    alike = {frozenset(pair) for pair in zip(pairs["method"], pairs["other"], strict=True)}
    joined = {frozenset(pair) for names in groups(contents, METRIC) for pair in combinations(names, 2)}
    assert joined == alike


def test_without_tests_the_critical_difference_decides(contents: Contents) -> None:
    inference = replace(contents.inference, pairwise=nothing("pairwise"))
    changed = replace(contents, inference=inference)
    # Ranks are 1 to 8 and the critical difference is 1.92: only neighbors are within it.
    assert [len(names) for names in groups(changed, METRIC)] == [2] * 7
    assert by(changed, METRIC) == "Nemenyi's critical difference"
    assert by(contents, METRIC) == "Holm-corrected signed-rank tests"


def test_without_either_nothing_is_joined_and_nothing_claimed(contents: Contents) -> None:
    friedman = contents.inference.friedman.assign(critical_difference=np.nan)
    changed = replace(contents, inference=replace(contents.inference, pairwise=nothing("pairwise"), friedman=friedman))
    assert groups(changed, METRIC) == []
    assert by(changed, METRIC) == ""
    (figure,) = draw(changed)
    assert "bars" not in figure.axes[0].get_title(loc="right")


def test_each_method_stands_at_its_rank(contents: Contents) -> None:
    (figure,) = draw(contents)
    axis = next(axis for axis in figure.axes if axis.get_title(loc="left") == "Lesion AUPRC")
    ranks = sorted(contents.inference.ranks.query("metric == @METRIC")["rank"])
    *_, elbows, dots = axis.collections
    assert sorted(dots.get_offsets()[:, 0]) == pytest.approx(ranks)
    assert sorted(elbow[0, 0] for elbow in elbows.get_segments()) == pytest.approx(ranks)
    words = {text.get_text() for text in axis.texts}
    assert "Score-CAM\u20021.0" in words
    assert "8.0\u2002Random" in words
    assert "30 patients" in axis.get_title(loc="right")


def test_a_pair_that_was_not_tested_is_not_told_apart(contents: Contents) -> None:
    changed = with_verdicts(contents, set(), list("abc"))
    pairs = changed.inference.pairwise.query("not (method == 'a' and other == 'b')")
    assert groups(replace(changed, inference=replace(changed.inference, pairwise=pairs)), METRIC) == [["a", "b"]]
