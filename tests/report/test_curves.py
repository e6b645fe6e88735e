from __future__ import annotations

from medsaliency.report.curves import COLORS, CONTROL_COLORS, styles


def test_controls_are_gray_and_methods_differ() -> None:
    found = styles(["a", "b", "random"], frozenset({"random"}))
    assert found["random"].control
    assert found["random"].color in CONTROL_COLORS
    assert len({style.color for style in found.values()}) == 3


def test_methods_with_one_color_differ_by_their_turn() -> None:
    found = styles([str(number) for number in range(25)], frozenset())
    assert len({(style.color, style.turn) for style in found.values()}) == 25
    assert [style.turn for style in found.values()] == [number // len(COLORS) for number in range(25)]


def test_a_control_takes_no_color_from_the_methods() -> None:
    with_control = styles(["random", "a", "b"], frozenset({"random"}))
    assert [with_control[name] for name in "ab"] == list(styles(["a", "b"], frozenset()).values())
