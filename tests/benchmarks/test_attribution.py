"""The benchmark of attribution methods runs, writes what it measured, and calls a missed goal missed."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MODULES = ("attribution", "cases", "page", "peers", "reference", "timing")
TINY = [
    "--size",
    "64",
    "--images",
    "2",
    "--repeats",
    "1",
    "--train-steps",
    "0",
    "--train-size",
    "64",
    "--channels",
    "1",
]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(import_module("cases"), "default_folders", list)  # the sandbox
    found = import_module("attribution")
    yield found
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def measured(benchmark: ModuleType, tmp_path: Path) -> dict[str, Any]:
    run(benchmark, tmp_path, "--methods", "gradient,grad_cam")
    return json.loads((tmp_path / "out.json").read_text())


def run(benchmark: ModuleType, folder: Path, *more: str) -> None:
    files = ["--cache", str(folder / "cache"), "--output", str(folder / "out.json")]
    benchmark.main(["--models", "small_cnn", *TINY, *files, *more])


def test_result(measured: dict[str, Any]) -> None:
    found = measured["models"]["small_cnn"]
    assert {"panel_ratio", "shared_pass_ratio", "methods"} <= set(found)
    assert list(found["methods"]) == ["gradient", "grad_cam"]
    for row in found["methods"].values():
        assert {"ratio", "error", "peer_error", "passes", "overhead", "pure_seconds"} <= set(row)
        assert row["ratio"] == pytest.approx(row["peer_seconds"] / row["ours_seconds"], rel=1e-3)
        assert row["passes"] == 1
        assert row["error"] < 1e-3
    assert found["methods"]["gradient"]["split"]["forward_backward"] == 1
    assert found["methods"]["grad_cam"]["split"]["to_layer"] == 1
    assert found["panel"]["methods"] == ["gradient", "grad_cam"]


def test_resumed_with_what_was_there(
    benchmark: ModuleType, measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    run(benchmark, tmp_path, "--methods", "gradient,input_x_gradient", "--resume")
    rows = json.loads((tmp_path / "out.json").read_text())["models"]["small_cnn"]["methods"]
    assert list(rows) == ["gradient", "grad_cam", "input_x_gradient"]
    assert rows["gradient"] == measured["models"]["small_cnn"]["methods"]["gradient"]
    assert "small_cnn gradient" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match="its settings are"):
        run(benchmark, tmp_path, "--resume", "--seed", "1")


def test_page_and_figure(benchmark: ModuleType, measured: dict[str, Any], tmp_path: Path) -> None:
    rows = measured["models"]["small_cnn"]["methods"]
    rows["gradient"] |= {"ratio": 1.5, "overhead": 0.4}
    rows["grad_cam"] |= {"ratio": 3.0, "overhead": 0.1}
    (tmp_path / "out.json").write_text(json.dumps(measured))
    page, figure = tmp_path / "page" / "performance.md", tmp_path / "figure.svg"
    benchmark.main(["--from", str(tmp_path / "out.json"), "--page", str(page), "--figure", str(figure)])
    text = page.read_text()
    assert "missed: 1.5 times as fast as the peer, goal 2; missed: overhead 40%, goal 15%" in text
    assert "- Missed by small_cnn: `gradient`, overhead 40%, goal 15%." in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `grad_cam` | ") and line.endswith("met |")]
    assert row.count("|") == text[: text.index("\n|---|---|---:")].splitlines()[-1].count("|")  # as many as its head
    assert "](../figure.svg)" in text
    assert figure.read_text().startswith("<?xml")


def test_a_failure_is_said_and_not_counted(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(benchmark, "pure_seconds", fail)
    with pytest.raises(SystemExit):
        run(benchmark, tmp_path, "--methods", "gradient", "--page", str(tmp_path / "page.md"))
    assert "failed: ValueError: no luck" in (tmp_path / "page.md").read_text()


def test_unknown_method(benchmark: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="did you mean 'grad_cam'"):
        run(benchmark, tmp_path, "--methods", "gradcam")


def test_passes_are_counted_by_kind(benchmark: ModuleType) -> None:
    timing = import_module("timing")
    calls = [
        timing.Call("forward", 4, 4, low=False),
        timing.Call("forward_backward", 8, 8, low=False),
        timing.Call("from_layer", 1, 16, low=False),
    ]
    total, split = timing.passes(calls, 2)
    assert (total, split) == (6.5, {"forward": 2.5, "forward_backward": 4, "to_layer": 0, "from_layer": 8})


def test_a_sum_along_a_path_is_complete(benchmark: ModuleType) -> None:
    """A quadratic's gradient is linear along a straight path, for which the midpoint sum is exact."""
    reference = import_module("reference")
    image = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0))

    class Quadratic:
        def __init__(self) -> None:
            self.image = image

        def gradients(self, points: torch.Tensor) -> list[torch.Tensor]:
            return [2 * point for point in points]

    total = reference.along(Quadratic(), reference.straight(image), 5)
    torch.testing.assert_close(total, image[0] ** 2)


def test_errors_are_relative_and_scaled_maps_forget_their_unit(benchmark: ModuleType) -> None:
    compare = import_module("reference").compare
    values = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    assert compare(1.5 * values, values, scaled=False) == pytest.approx((0.5, 1.0))
    assert compare(1.5 * values + 1, values, scaled=True) == pytest.approx((0.0, 1.0), abs=1e-6)
    assert np.isnan(compare(values, np.zeros((2, 2), np.float32), scaled=False)).all()
