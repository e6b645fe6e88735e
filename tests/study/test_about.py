from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from medsaliency.data.geometry import plan, to_dict
from medsaliency.study.about import MOST_BYTES, read_about
from medsaliency.types import Geometry, MedsaliencyError, Slice, Turn

FLAT = to_dict(Geometry((48, 60), plan((48, 60), 32), spacing=(0.5, 0.4)))
DEEP = to_dict(Geometry((40, 30), plan((40, 30), 32, fit="crop", turn=Turn((1, 0), (True, False)))))
PLACE = to_dict(Geometry((40, 30), slice=Slice(2, 3, (40, 30, 8))))


def about(**given: Any) -> dict[str, Any]:
    return {
        "sample": "scan", "source": "scans/a.nii", "plane": None, "geometry": FLAT, "classes": ["no", "yes"],
        "probabilities": [0.25, 0.75], "target": 1, "explains": "Logit(index=1)", "methods": {"gradient": "Gradient()"},
        "model": {"architecture": "small_cnn", "weights": "ab"}, "medsaliency": "1.2.3", **given,
    }  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scan.json"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"geometry": DEEP, "source": None},
        {"geometry": PLACE, "plane": 3, "sha256": ["0" * 64], "parts": ["scans/a.nii"], "reading": None},
        {"reading": {"window": [40.0, 400.0], "view": "axial", "planes": None, "volume": False}},
        {"probabilities": [0, 1], "more": {"of": "a later version"}},
    ],
)
def test_what_was_written_comes_back(path: Path, given: dict[str, Any]) -> None:
    path.write_text(json.dumps(about(**given)))
    assert read_about(path) == json.loads(json.dumps(about(**given)))


def step(kind: str, before: list[int], after: list[int]) -> dict[str, Any]:
    return FLAT | {"steps": [{"step": kind, "before": before, "after": after}]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sample": 3}, "sample: "),
        ({"sample": "a\nb"}, "control and invisible characters"),
        ({"source": "a\u202eb"}, "control and invisible characters"),
        ({"sha256": ["../x"]}, "sha256.0: "),
        ({"parts": [3]}, "parts.0: "),
        ({"plane": -1}, "plane: "),
        ({"plane": True}, "plane: "),
        ({"classes": []}, "classes: "),
        ({"classes": ["no"]}, "a probability of each of 1 classes"),
        ({"target": 2}, "a target among them"),
        ({"target": 10**400}, "target"),
        ({"target": "1"}, "target: "),
        ({"probabilities": [0.5, 1.5]}, "probabilities.1: "),
        ({"probabilities": ["0", "1"]}, "probabilities.0: "),
        ({"methods": ["gradient"]}, "methods: "),
        ({"model": {"architecture": "a"}}, "model.weights: "),
        ({"reading": {"window": [1.0, -1.0]}}, "reading.window.1: "),
        ({"geometry": {}}, "geometry.native_size: "),
        ({"geometry": FLAT | {"native_size": [48, 0]}}, "geometry: expected sides"),
        ({"geometry": FLAT | {"native_size": [10**6, 10**6], "steps": []}}, "geometry: expected sides"),
        ({"geometry": FLAT | {"spacing": [1.0]}}, "geometry: spacing"),
        ({"geometry": FLAT | {"spacing": [0.0, 1.0]}}, "geometry.spacing.0"),
        ({"geometry": FLAT | {"affine": [[1.0]]}}, "geometry: affine"),
        ({"geometry": FLAT | {"steps": [{"step": "exec", "before": [], "after": []}]}}, "geometry.steps.0"),
        ({"geometry": step("pad", [1], [1])}, "expected a pad of 2 axes"),
        ({"geometry": step("pad", [0, 400_000_000], [0, 0])}, "expected sides"),
        ({"geometry": step("crop", [24, 0], [24, 0])}, "expected sides"),
        ({"geometry": step("crop", [-1, 0], [0, 0])}, "geometry.steps.0.crop.before.0"),
        ({"geometry": step("resize", [1, 1], [2, 2])}, "expected a resize from [48, 60]"),
        ({"geometry": FLAT | {"steps": [{"step": "turn", "axes": [0, 0], "backwards": [True, True]}]}}, "a turn of 2"),
        ({"geometry": PLACE | {"slice": {"axis": 2, "index": 8, "shape": [40, 30, 8]}}}, "geometry: slice"),
        ({"geometry": PLACE | {"slice": {"axis": 0, "index": 3, "shape": [40, 30, 8]}}}, "geometry: slice"),
        ({"geometry": PLACE | {"slice": {"axis": 3, "index": 3, "shape": [40, 30, 8]}}}, "geometry.slice.axis"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(path: Path, given: dict[str, Any], said: str) -> None:
    path.write_text(json.dumps(about(**given)))
    with pytest.raises(MedsaliencyError) as error:
        read_about(path)
    assert str(error.value).startswith(f"{path}: expected what `medsaliency explain` writes")
    assert said in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"sample": NaN}', '{"a": 1, "a": 2}', '{"a":' * 300 + "1" + "}" * 300, "\ufeff{}"]
)
def test_json_that_cannot_be_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(MedsaliencyError, match=r"scan\.json: expected what `medsaliency explain` writes"):
        read_about(path)


def test_what_is_no_file_or_too_large_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(MedsaliencyError, match="no such file"):
        read_about(path)
    path.unlink()
    path.write_bytes(b" " * (MOST_BYTES + 1))
    with pytest.raises(MedsaliencyError, match="expected at most 4,194,304 bytes"):
        read_about(path)
