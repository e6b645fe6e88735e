import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from medsaliency.study.estimate import Step
from medsaliency.study.profiling import Trace, operators


def _rows(path: Path) -> dict[str, list[tuple[str, float, float]]]:
    """Name, begin and length in milliseconds of the spans of every named row."""
    content = json.loads(path.read_text())
    names = {e["tid"]: e["args"]["name"] for e in content["traceEvents"] if e["name"] == "thread_name"}
    rows = defaultdict(list)
    for event in content["traceEvents"]:
        if event["ph"] == "X":
            rows[names[event["tid"]]].append((event["name"], event["ts"] / 1000, event["dur"] / 1000))
    return dict(rows)


def test_a_trace_has_a_row_for_the_driver_and_for_each_worker(tmp_path: Path) -> None:
    with Trace(tmp_path / "profile" / "trace.json") as trace:
        trace.span("explaining", 1000.25, 1003.25)
        trace.span("data", 1000.0, 1000.25)
        trace.shard(4, 1001.0, 2.0, [Step("rise", 0.5), Step("gini"), Step("gradient", 1.0)], 77)
        trace.span("shard 5", 1001.0, 1002.0, 78)
    assert _rows(tmp_path / "profile" / "trace.json") == {
        "driver": [("data", 0, 250), ("explaining", 250, 3000)],
        "worker 77": [("shard 4", 1000, 2000), ("rise", 1000, 500), ("gradient", 1500, 1000)],
        "worker 78": [("shard 5", 1000, 1000)],
    }
    content = json.loads((tmp_path / "profile" / "trace.json").read_text())
    assert content["otherData"] == {"begin": 1000.0, "left_out": 0}
    assert {"ph", "pid", "tid", "name"} <= set.intersection(*(set(event) for event in content["traceEvents"]))
    assert [file.name for file in (tmp_path / "profile").iterdir()] == ["trace.json"]


def test_steps_do_not_leave_their_shard(tmp_path: Path) -> None:
    with Trace(tmp_path / "trace.json") as trace:
        trace.shard(0, 0.0, 1.0, [Step("rise", 0.7), Step("gini", 0.7)], 1)
    assert _rows(tmp_path / "trace.json")["worker 1"][1:] == [("rise", 0, 700), ("gini", 700, 300)]


def test_a_clock_that_was_set_back_gives_no_negative_length(tmp_path: Path) -> None:
    with Trace(tmp_path / "trace.json") as trace:
        trace.span("data", 10.0, 9.0)
    assert _rows(tmp_path / "trace.json") == {"driver": [("data", 0, 0)]}


def test_what_is_too_much_is_counted_and_the_driver_is_kept(tmp_path: Path) -> None:
    with Trace(tmp_path / "trace.json", most=3) as trace:
        for number in range(5):
            trace.span(f"shard {number}", number, number + 1, 1)
        trace.span("explaining", 0.0, 5.0)
    rows = _rows(tmp_path / "trace.json")
    assert [name for name, *_ in rows["worker 1"]] == ["shard 0", "shard 1", "shard 2"]
    assert rows["driver"] == [("explaining", 0, 5000)]
    assert json.loads((tmp_path / "trace.json").read_text())["otherData"]["left_out"] == 2


def test_a_trace_is_written_though_the_study_fails(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace.json")
    trace.span("data", 0.0, 1.0)
    with pytest.raises(ZeroDivisionError), trace:
        raise ZeroDivisionError
    assert _rows(tmp_path / "trace.json") == {"driver": [("data", 0, 1000)]}


def test_a_trace_of_nothing_is_valid(tmp_path: Path) -> None:
    Trace(tmp_path / "trace.json").write()
    assert _rows(tmp_path / "trace.json") == {}


def _network() -> tuple[torch.nn.Module, torch.Tensor]:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
    return network, torch.zeros(2, 1, 16, 16)


def _run(folder: Path, passes: int, **how: Any) -> pd.DataFrame:
    network, images = _network()
    with operators(folder, **how) as step, torch.no_grad():
        for _ in range(passes):
            network(images)
            step()
    return pd.read_csv(folder / "operators.csv").set_index("operator")


def test_operators_are_counted_and_timed(tmp_path: Path) -> None:
    table = _run(tmp_path / "profile", 7, seconds=100)
    assert list(table.columns) == ["calls", "self_cpu_ms", "cuda_ms"]
    assert table.loc["aten::conv2d", "calls"] == 7
    assert table.loc["aten::relu", "calls"] == 7
    assert (table["self_cpu_ms"] >= 0).all()
    assert table["self_cpu_ms"].sum() > 0
    assert table["self_cpu_ms"].is_monotonic_decreasing or table["cuda_ms"].sum() > 0
    (calls,) = _rows(tmp_path / "profile" / "operators.json").values()
    convolutions = [call for call in calls if call[0] == "aten::conv2d"]
    assert len(convolutions) == 7
    assert all(length > 0 for _, _, length in convolutions)


def test_a_recording_ends_with_the_step_in_which_its_time_is_over(tmp_path: Path) -> None:
    assert _run(tmp_path, 5, seconds=0).loc["aten::conv2d", "calls"] == 1


def test_the_calls_that_are_written_are_bounded_and_the_table_is_of_all(tmp_path: Path) -> None:
    table = _run(tmp_path, 20, seconds=100, most=10)
    assert table.loc["aten::conv2d", "calls"] == 20
    content = json.loads((tmp_path / "operators.json").read_text())
    assert sum(event["ph"] == "X" for event in content["traceEvents"]) == 10
    assert content["otherData"]["left_out"] > 20


def test_an_error_ends_the_recording_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), operators(tmp_path / "profile"):
        raise ZeroDivisionError
    assert not (tmp_path / "profile").exists()
    assert _run(tmp_path, 1, seconds=100).loc["aten::conv2d", "calls"] == 1
