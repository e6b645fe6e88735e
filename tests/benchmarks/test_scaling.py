"""The law is read off the runs as it should be, the estimate follows from it, and a small run writes the page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
COUNTS = (40, 100, 300, 1_000, 10_000)
STARTS = {"predicting": 0.5, "explaining and evaluating": 2.0, "joining the shards": 0.25}
COSTS = {"predicting": 0.001, "explaining and evaluating": 0.008, "joining the shards": 0.002}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The benchmark's own, found beside it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    own = ("scaling_law", "scaling_cost", "scaling_estimate", "scaling_page", "scaling")
    yield {name: import_module(name) for name in own}
    for file in BENCHMARKS.glob("*.py"):
        sys.modules.pop(file.stem, None)


def a_run(images: int, engine: str = "local", methods: int = 2, **changes: float) -> dict[str, Any]:
    """A run as a straight line has it: what a stage takes, and memory that does not grow; ``times`` makes it slower."""
    times, bend, memory = changes.get("times", 1.0), changes.get("bend", 0.0), changes.get("memory", 0.0)
    others = dict.fromkeys(
        ("data", "calibrating", "testing geometry", "tuning", "write statistics", "write report"), 0.1
    )
    parts = 3 * methods
    taken = {
        **others,
        **{name: STARTS[name] + times * (parts / 6) * COSTS[name] * images + bend * images**2 for name in STARTS},
    }
    peak = round(7e8 + memory * images)
    return {
        "images": images,
        "engine": engine,
        "workers": 1,
        "methods": methods,
        "parts": parts,
        "whole": engine == "local" and methods == 2,
        "stages": {name: {"cpu_seconds": t, "seconds": 2 * t, "peak_bytes": peak} for name, t in taken.items()},
        "peak_bytes": peak,
        "workers_peak_bytes": peak if engine == "ray" else None,
        "cluster": {"cpu_seconds": 8.0, "seconds": 12.0},
        "run_bytes": 1000 * images,
        "ray": "2.0" if engine == "ray" else None,
    }


def a_result(**changes: float) -> dict[str, Any]:
    runs = [a_run(n, **changes) for n in COUNTS]
    runs += [a_run(n, "ray", times=changes.get("ray", 1.05)) for n in (40, 300)]
    runs += [a_run(n, methods=4) for n in (40, 300)]
    settings = {"start": 40, "axis": 300, "methods": 2, "metrics": 2, "shard": 20, "size": 32, "rounds": 1}
    machine = {"architecture": "x", "cores": 2, "torch": "2", "python": "3"}
    return {"runs": runs, "settings": settings, "machine": machine}


def test_a_straight_line_gives_its_slope_and_its_start(modules: dict[str, ModuleType]) -> None:
    law, result = modules["scaling_law"], a_result()
    runs = law.local(result)
    assert [run["images"] for run in runs] == list(COUNTS)
    for stage, cost in COSTS.items():
        assert law.costs(runs, [stage]) == pytest.approx(dict.fromkeys(COUNTS[1:], cost))
        assert law.start(runs, [stage]) == pytest.approx(STARTS[stage])
    assert all(goal["met"] for goal in law.goals(result))
    assert law.ray_overhead(result) == pytest.approx(0.05)
    fitted = law.fit(result)
    # Six parts cost 11 ms an image and twelve cost 22: nothing is left for the image itself.
    assert (fitted["part"], fitted["image"]) == pytest.approx((0.011 / 6, 0), abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"bend": 1e-6}, ["before the statistics", "predicting", "explaining and evaluating", "joining the shards"]),
        ({"memory": 1e4}, ["peak memory before the statistics", "peak memory of the whole study"]),
        ({"ray": 1.2}, ["Ray"]),
    ],
)
def test_what_is_not_flat_is_missed(
    modules: dict[str, ModuleType], changes: dict[str, float], missed: list[str]
) -> None:
    found = [goal["goal"] for goal in modules["scaling_law"].goals(a_result(**changes)) if not goal["met"]]
    assert len(found) == len(missed)
    assert all(text.startswith(name) for text, name in zip(found, missed, strict=True))


def test_what_was_not_measured_is_not_met(modules: dict[str, ModuleType]) -> None:
    result = a_result()
    result["runs"] = [run for run in result["runs"] if run["engine"] == "local" and run["images"] < 10_000]
    found = [goal["met"] for goal in modules["scaling_law"].goals(result)]
    assert found == [True, True, True, True, None, None, None]


def a_cost() -> dict[str, Any]:
    """One method of one pass forward and backward, one metric of three passes forward."""
    kinds = {"forward": 0.0, "forward_backward": 0.0, "to_layer": 0.0, "from_layer": 0.0}
    return {
        "methods": 1,
        "metrics": 1,
        "size": 10,
        "models": {
            "net": {
                "passes": {
                    "method": {"gradient": {**kinds, "forward_backward": 1.0}},
                    "metric": {"insertion_deletion": {**kinds, "forward": 3.0, "from_layer": 7.0}},
                },
                "flops": {"forward": 10**12, "forward_backward": 3 * 10**12, "to_layer": 10**12, "from_layer": 0},
            }
        },
        "processor": {
            "method": {"gradient": 0.5},
            "metric": {"insertion_deletion": 0.25},
            "keeping": 0.01,
            "map_bytes": 100.0,
            "raw_map_bytes": 400,
        },
        "reading": {"jpg": 0.125, "png": 0.25},
    }


def test_the_estimate_is_what_the_slowest_takes(modules: dict[str, ModuleType]) -> None:
    estimate = modules["scaling_estimate"]
    result = {"cost": a_cost(), "law": {"image": 0.001, "part": 0.002}}
    one = estimate.per_image(result, "net")
    assert (one["flops_methods"], one["flops_metrics"]) == (3e12, 3e12)
    assert one["coordination"] == pytest.approx(0.005)
    assumed = estimate.Assumed(peak=12e12, share=0.5, cores=1, network=1e9, file=0.0)
    hour = estimate.hours(result, "net", 3600, 1, assumed)
    # One second of the GPU an image, 2 x 0.125 + 0.5 + 0.25 of the core, 0.005 + 0.01 of the driver.
    assert (hour["GPU"], hour["cores"], hour["driver"]) == pytest.approx((1.0, 1.0, 0.015))
    assert hour["whole"] == max(hour[name] for name in ("GPU", "cores", "driver", "network"))
    slower = estimate.hours(result, "net", 3600, 1, replace(assumed, share=0.25))
    assert slower["whole"] == pytest.approx(2.0)
    many = estimate.hours(result, "net", 3600, 400, assumed)
    assert many["whole"] == many["driver"] == pytest.approx(0.015)  # which more GPUs do not make faster


def test_passes_are_those_of_the_methods_and_metrics(modules: dict[str, ModuleType]) -> None:
    cost = modules["scaling_cost"]
    asked = cost.Asked(size=32, methods=("gradient", "rise"), metrics=("insertion_deletion", "gini"))
    found = cost._model("small_cnn", asked, 32)
    assert found["passes"]["method"]["gradient"]["forward_backward"] == 1
    assert 200 <= found["passes"]["method"]["rise"]["forward"] <= 210  # 200 masks, and what they are compared with
    # Two baselines, twelve fractions each way, and the ends.
    assert cost.forward_passes(found["passes"]["metric"]["insertion_deletion"]) >= 2 * 2 * 12
    assert cost.forward_passes(found["passes"]["metric"]["gini"]) == 0
    assert found["flops"]["forward"] < found["flops"]["to_layer"] < found["flops"]["forward_backward"]
    assert found["flops"]["forward_backward"] <= 3 * found["flops"]["forward"]


def test_the_page_shows_what_was_measured_and_what_follows(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    result = a_result(ray=1.2)
    law = modules["scaling_law"]
    # As read back from JSON, where keys are text.
    result = json.loads(json.dumps({**result, "cost": a_cost(), "law": law.fit(result), "goals": law.goals(result)}))
    modules["scaling_page"].write_page(result, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.count("**missed**") == 1
    assert "| 10,000 | 1.00 | 8.00 | 2.00 |" in page
    assert "| predicting | 0.50 |" in page
    assert "| ray | 1 | 9.60 |" in page
    assert "| `insertion_deletion` | metric | 3 | 250 |" in page
    days = modules["scaling_estimate"].hours(result, "net", 377_110, 8)["whole"] / 24
    assert f"**{days:.1f}**" in page


@pytest.mark.slow
def test_a_small_run_writes_measurements_and_page(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    scaling = modules["scaling"]
    small = ["--images", "60", "--methods", "2", "--engines", "local", "--workers", "1", "--axis", "60"]
    files = [
        "--json",
        str(tmp_path / "found.json"),
        "--page",
        str(tmp_path / "page.md"),
        "--data",
        str(tmp_path / "data"),
    ]
    scaling.main([*small, *files, "--rounds", "1", "--without-cost"])
    found = json.loads((tmp_path / "found.json").read_text())
    each = [(40, 2)] * scaling.SMALL + [(60, 3)] * scaling.SMALL  # small studies are measured more often
    assert sorted((run["images"], run["shards"]) for run in found["runs"]) == each
    assert all(run["stages"]["explaining and evaluating"]["cpu_seconds"] > 0 for run in found["runs"])
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# How studies scale")
    assert "| 60 |" in page
    assert page.count("| not measured | not measured |") == 3
    before = (tmp_path / "found.json").read_text()
    scaling.main([*small, *files, "--rounds", "1", "--without-cost"])
    assert json.loads((tmp_path / "found.json").read_text())["runs"] == json.loads(before)["runs"]
