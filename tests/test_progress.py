import pytest

from medsaliency.progress import bars, loading
from medsaliency.study.estimate import Progressed


def test_items_pass_through_in_order_and_the_stage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(bars(range(3), "reading")) == [0, 1, 2]
    assert list(bars((x for x in "ab"), "training", 2)) == ["a", "b"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "reading" in shown.err
    assert "2/2" in shown.err


@pytest.mark.parametrize("width", [80, 120])
def test_items_that_know_what_is_left_say_it(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    steps = [Progressed("road", 3725.0), Progressed("evidence_curves", 61.0)]
    for step in bars(steps, "explaining"):
        if step is steps[0]:
            break
    shown = capsys.readouterr().err
    assert "1:02:05" in shown
    assert ("road" in shown) == (width == 120)


def test_a_break_ends_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    for item in bars(range(10), "stopped"):
        if item == 4:
            break
    assert "stopped" in capsys.readouterr().err


def test_loading_lets_errors_through() -> None:
    with pytest.raises(KeyError), loading():
        raise KeyError
