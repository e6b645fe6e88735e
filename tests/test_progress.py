import pytest

from medsaliency.progress import bars, loading


def test_items_pass_through_in_order_and_the_stage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(bars(range(3), "reading")) == [0, 1, 2]
    assert list(bars((x for x in "ab"), "training", 2)) == ["a", "b"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "reading" in shown.err
    assert "2/2" in shown.err


def test_a_break_ends_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    for item in bars(range(10), "stopped"):
        if item == 4:
            break
    assert "stopped" in capsys.readouterr().err


def test_loading_lets_errors_through() -> None:
    with pytest.raises(KeyError), loading():
        raise KeyError
