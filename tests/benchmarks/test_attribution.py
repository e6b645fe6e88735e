"""The benchmark of attribution methods runs, writes what it measured, and calls a missed goal missed."""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MODULES = tuple(file.stem for file in BENCHMARKS.glob("*.py"))
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
FEW = ["--reference-samples", "8", "--reference-steps", "8"]


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
    assert {"panel_ratio", "panel_ratio_without_smooth_blur", "shared_pass_ratio", "methods", "goal"} <= set(found)
    assert list(found["methods"]) == ["gradient", "grad_cam"]
    for row in found["methods"].values():
        assert {"ratio", "error", "peer_error", "passes", "overhead", "pure_seconds", "goal"} <= set(row)
        assert row["ratio"] == pytest.approx(row["peer_seconds"] / row["ours_seconds"], rel=1e-3)
        assert row["passes"] == 1
        assert row["error"] < 1e-3
        assert row["deviation"] == row["error"]  # nothing is noisy here
        assert len(row["errors"]) == row["error_images"] == 2
        assert row["exact_peer_error"] == min(peer["error"] for peer in row["peers"].values())
        assert not any("error" in text for text in row["goal"])
    assert found["methods"]["gradient"]["split"]["forward_backward"] == 1
    assert found["methods"]["grad_cam"]["split"]["to_layer"] == 1
    assert found["panel"]["methods"] == ["gradient", "grad_cam"]
    assert len(found["panel"]["missing"]) == 10
    assert "panel: 10 of its methods not measured against a peer" in found["goal"]
    assert sum(found["panel"]["seconds"].values()) < found["panel"]["ours_seconds"]
    assert found["panel_ratio_without_smooth_blur"] == found["panel_ratio"]


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
    noisy = {"error": None, "deviation": 0.36, "peer_error": None, "peer_deviation": 0.17}
    rows["smoothgrad"] = rows["grad_cam"] | noisy
    measured["models"]["small_cnn"]["tuning"] |= {"spearman": {"scores": 0.9995, "gradients": None}}
    (tmp_path / "out.json").write_text(json.dumps(measured))
    page, figure = tmp_path / "page" / "performance.md", tmp_path / "figure.svg"
    benchmark.main(["--from", str(tmp_path / "out.json"), "--page", str(page), "--figure", str(figure)])
    text = page.read_text()
    assert "missed: 1.5 times as fast as the peer, goal 2; missed: overhead 40%, goal 15%" in text
    assert "- Missed by small_cnn: `gradient`, overhead 40%, goal 15%." in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `grad_cam` | ") and line.endswith("met |")]
    assert row.count("|") == text[: text.index("\n|---|---|---:")].splitlines()[-1].count("|")  # as many as its head
    (row,) = [line for line in text.splitlines() if line.startswith("| `smoothgrad` | ") and "missed" in line]
    assert "| 0.36 \u2020 | 0.17 \u2020 | missed: deviation 0.36, the peer's 0.17 |" in row
    assert "- Missed by small_cnn: `smoothgrad`, deviation 0.36, the peer's 0.17." in text
    assert "bfloat16 with float32: scores 0.9995." in text
    assert "](../figure.svg)" in text
    assert figure.read_text().startswith("<?xml")


def test_a_failure_is_said_and_not_counted(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(import_module("rows"), "pure_seconds", fail)
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
    torch.testing.assert_close(total, image**2)


def test_errors_are_relative_and_scaled_maps_forget_their_unit(benchmark: ModuleType) -> None:
    compare = import_module("errors").compare
    values = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    assert compare(1.5 * values, values, scaled=False) == pytest.approx((0.5, 0.5, 1.0))
    assert compare(1.5 * values + 1, values, scaled=True) == pytest.approx((0.0, 0.0, 1.0), abs=1e-6)
    assert np.isnan(compare(values, np.zeros((2, 2), np.float32), scaled=False)).all()


@pytest.mark.parametrize("noise", [1.0, 20.0])
def test_the_noise_of_a_reference_is_subtracted(benchmark: ModuleType, noise: float) -> None:
    """100 samples with noise of 1 leave a reference of a tenth of it; with noise of 20, one of twice the signal."""
    errors = import_module("errors")
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((200, 200))
    limit = errors.of_samples(truth + noise * rng.standard_normal((100, 200, 200)))
    assert limit.variance == pytest.approx(noise**2 / 100 * truth.size, rel=0.02)
    near, far = (truth + share * rng.standard_normal(truth.shape) for share in (0.5, 1.0))
    a, b = (errors.compare(each, limit.values, scaled=False, variance=limit.variance) for each in (near, far))
    if noise == 1:
        assert (a.error, b.error) == pytest.approx((0.5, 1.0), rel=0.05)
        assert errors.compare(truth, limit.values, scaled=False, variance=limit.variance).error < 0.02
    else:
        assert np.isnan([a.error, b.error]).all()
    # The reference's norm is what both deviations are relative to: their ratio is the true one.
    assert b.deviation / a.deviation == pytest.approx(2.0, rel=0.1)


def test_one_sample_does_not_tell_its_noise(benchmark: ModuleType) -> None:
    errors = import_module("errors")
    limit = errors.of_samples(np.ones((1, 2, 2), np.float32))
    found = errors.compare(limit.values, limit.values, scaled=False, variance=limit.variance)
    assert np.isnan([found.error, found.deviation]).all()
    row = errors.collected([found, errors.Comparison(0.1, 0.1, 1.0)])
    assert np.isnan(row["error"])
    assert row["undefined"].startswith("on 1 of 2 image(s)")


def test_a_peer_that_is_the_reference_is_compared_with_itself(benchmark: ModuleType) -> None:
    errors = import_module("errors")
    values = np.array([[0.0, 3.0], [4.0, 0.0]], np.float32)
    limit = errors.Limit(values, repeated=np.stack([values, 1.1 * values, 1.5 * values]))
    assert errors.of_peer_itself(limit, scaled=False).error == pytest.approx(0.1)


ROW = {"ratio": 9.0, "overhead": 0.1, "peer": "other", "error": 0.2, "peer_error": 0.19}


@pytest.mark.parametrize(
    ("mine", "other", "goal"),
    [
        (0.20, 0.19, []),  # within a tenth
        (0.36, 0.17, ["error 0.2, the peer's 0.19"]),
        (5e-5, 1e-6, []),  # rounding
        (2e-4, 1e-6, ["error 0.2, the peer's 0.19"]),
        (0.0, 0.0, []),  # both below the noise of the reference
        (None, None, ["error 0.2, the peer's 0.19"]),
    ],
)
def test_a_goal_is_met_at_no_more_error_than_the_peer(
    benchmark: ModuleType, mine: float | None, other: float | None, goal: list[str]
) -> None:
    goals = import_module("goals")
    assert goals.missed("gradient", ROW | {"deviation": mine, "peer_deviation": other}) == goal


def test_goals_in_words(benchmark: ModuleType) -> None:
    missed = import_module("goals").missed
    exact = ROW | {"deviation": 0.1, "peer_deviation": 0.1}
    assert missed("xrai", exact) == []
    assert missed("xrai", exact | {"ratio": 7.5}) == ["7.5 times as fast as the peer, goal 8"]
    assert missed("gradient", exact | {"ratio": 7.5}) == []
    assert missed("gradient", exact | {"overhead": 0.5}) == ["overhead 50%, goal 15%"]
    unknown = {"error": None, "peer_error": None, "deviation": None, "peer_deviation": None}
    assert missed("gradient", ROW | unknown) == ["error undefined"]
    assert missed("gradient", ROW | unknown | {"peer": None, "ratio": None}) == []


def test_panel_ratios_with_and_without_smoothed_blur(benchmark: ModuleType) -> None:
    panel = import_module("panel")
    close = {"peer": "other", "deviation": 0.1, "peer_deviation": 0.1}
    rows = {name: close | {"peer_seconds": 1.0} for name in panel.PANEL}
    rows[panel.SMOOTH_BLUR] |= {"peer_seconds": 89.0}
    rows["xrai"] |= {"deviation": 0.2}
    mine = dict.fromkeys(panel.PANEL, 0.1) | {panel.SMOOTH_BLUR: 3.0, "together": 5.0}
    found = panel.panel_of(rows, list(panel.PANEL), mine)
    assert len(panel.PANEL) == 12
    assert found["panel_ratio"] == pytest.approx(100 / 5)
    assert found["panel_ratio_without_smooth_blur"] == pytest.approx(11 / 2)
    assert found["panel"]["missing"] == []
    assert import_module("goals").missed_by_model(found | {"shared_pass_ratio": 1.0}) == [
        "panel: more error than the peer in `xrai`"
    ]


def test_a_peer_that_will_not_count_is_not_repeated(benchmark: ModuleType) -> None:
    rows = import_module("rows")

    def plan(*first: float) -> list[tuple[int, int, int]]:
        trials = [rows.Trial(np.zeros, torch.device("cpu"), 1, 2, seconds=[each]) for each in first]
        rows.plan_repetitions(trials, images=4, repeats=3)
        return [(trial.images, trial.repeats, len(trial.seconds)) for trial in trials]

    assert plan(2.0, 7.0) == [(4, 3, 0), (1, 1, 1)]
    assert plan(0.1, 0.9) == [(4, 3, 0), (4, 3, 0)]  # a quick one may only have warmed up
    assert plan(12.0, 13.0) == [(1, 2, 1), (1, 2, 1)]


def test_a_copy_of_the_model_is_told_apart(benchmark: ModuleType) -> None:
    timing = import_module("timing")
    model = torch.nn.Flatten()
    with timing.recorded(model) as calls:
        model(torch.zeros(2, 1, 1, 1))
        deepcopy(model)(torch.zeros(3, 1, 1, 1))
    assert [(call.rows, call.folded) for call in calls] == [(2, False), (3, True)]


def test_methods_share_one_integral(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, reference = import_module("cases"), import_module("reference")
    _, settings = benchmark.parse([*TINY, *FEW])
    case = cases.make_case("small_cnn", cases.open_data([], settings), settings, tmp_path)
    along, starts = reference.along, []

    def counted(asked: Any, path: Any, steps: int) -> torch.Tensor:
        starts.append(float(path(0.0).mean()))
        return along(asked, path, steps)

    monkeypatch.setattr(reference, "along", counted)
    names = ("xrai", "xrai_fast", "integrated_gradients")
    full, _, straight = (reference.limit_of(name, case, settings, 0, tmp_path).values for name in names)
    assert starts == [0.0, 1.0]  # black and white, once each
    assert full.shape == straight.shape == (64, 64)
    assert not np.array_equal(full, straight)


def test_errors_are_of_images_that_both_explained(benchmark: ModuleType) -> None:
    rows = import_module("rows")
    mine = rows.Trial(np.zeros, torch.device("cpu"), images=2, repeats=1)
    assert rows.images_of_errors(mine, {}) == 2
    peers = {"quick": {"seconds": 11.0, "images": 1}, "slow": {"seconds": 40.0, "images": 2}}
    assert rows.images_of_errors(mine, peers) == 1
    measured_before = {"quick": {"seconds": 1.0, "images": 2, "errors": [0.1]}}  # by a row where ours was slow
    assert rows.images_of_errors(mine, measured_before) == 1


def test_smoothed_and_guided_methods(benchmark: ModuleType, tmp_path: Path) -> None:
    run(benchmark, tmp_path, "--methods", "smoothgrad,guided_integrated_gradients", *FEW)
    rows = json.loads((tmp_path / "out.json").read_text())["models"]["small_cnn"]["methods"]
    assert all(row["deviation"] is not None for row in rows.values())
    assert rows["guided_integrated_gradients"]["peer_error"] is not None
    assert rows["smoothgrad"]["split"]["forward_backward"] == rows["smoothgrad"]["passes"] == 25
    reference = import_module("reference")
    assert f"{reference.REPEATS} runs" in rows["guided_integrated_gradients"]["reference"]
    for file in (tmp_path / "cache" / "references").iterdir():
        with np.load(file) as kept:
            guided = "guided" in file.name
            assert len(kept["repeated"]) == (reference.REPEATS if guided else 0)
            assert (kept["variance"] > 0) == (not guided)


def test_all_of_the_panel_is_measured_by_default(benchmark: ModuleType) -> None:
    panel, (_, settings) = import_module("panel"), benchmark.parse([])
    assert set(panel.PANEL) <= set(benchmark.choose(None, settings))
    _, settings = benchmark.parse(["--without-smooth-blur"])
    assert panel.SMOOTH_BLUR not in benchmark.choose(None, settings)
