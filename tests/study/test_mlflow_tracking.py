import importlib
import json
import math
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsaliency.study import mlflow_tracking
from medsaliency.study.config import load_study
from medsaliency.study.log import read
from medsaliency.study.mlflow_tracking import LONGEST_KEY, LONGEST_VALUE, check_server, log_study
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError

mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
MARK = "Doe-Jane-1950"
"""In the name of every image, patient and place."""


@pytest.fixture(scope="module", autouse=True)
def folders_are_allowed() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow's client alone has no other store without a server
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield


@pytest.fixture
def own_run(small_path: Path, tmp_path: Path) -> Store:
    """A copy of the small run, whose log may be written."""
    return Store(Path(shutil.copytree(small_path, tmp_path / "run")))


def _run(place: Path, run_id: str) -> Any:
    return mlflow.MlflowClient(tracking_uri=str(place)).get_run(run_id)


def _same(found: float, wanted: float | None) -> bool:
    return math.isnan(found) if wanted is None or math.isnan(wanted) else found == wanted


def test_the_numbers_are_those_of_the_tables(own_run: Store, tmp_path: Path) -> None:
    metrics = _run(tmp_path / "ml", log_study(own_run, str(tmp_path / "ml"), "studies")).data.metrics
    wanted: dict[str, float | None] = {}
    performance = own_run.read_json("statistics/performance.json")
    intervals = {name: performance[name] for name in ("accuracy", "macro_f1", "expected_calibration_error")}
    intervals |= {f"auroc_{name}": interval for name, interval in performance["auroc"].items()}
    for name, interval in intervals.items():
        wanted[f"model/{name}"] = interval["value"]
        wanted |= {f"model/{name}_{bound}": interval[bound] for bound in ("low", "high")}
    summary = own_run.read_table("statistics/summary.parquet")
    assert summary["mean"].notna().any()
    assert summary["mean"].isna().any()
    for row in summary.to_dict("records"):
        wanted[f"{row['metric']}/{row['method']}"] = row["mean"]
        wanted |= {f"{row['metric']}/{row['method']}_{bound}": row[bound] for bound in ("low", "high", "undefined")}
    wanted |= {f"seconds/{name}": took for name, took in own_run.read_json("provenance.json")["seconds"].items()}
    if own_run.has("failures.parquet"):
        wanted["failures"] = len(own_run.read_table("failures.parquet"))
    assert set(metrics) == set(wanted)
    assert {name for name, value in wanted.items() if not _same(metrics[name], value)} == set()


def test_parameters_tags_and_artifacts(own_run: Store, tmp_path: Path) -> None:
    run = _run(tmp_path / "ml", log_study(own_run, str(tmp_path / "ml"), "studies"))
    assert run.info.run_name == "demo"
    assert run.info.status == "FINISHED"
    assert run.data.params["explain.methods.smoothgrad.samples"] == "3"
    assert run.data.params["training.seed"] == "null"
    assert run.data.params["explain.methods.gradient.sign"] == "absolute"
    assert json.loads(run.data.params["evaluate.metrics.evidence_curves.fractions"]) == [0.01, 0.03, 0.1, 0.3]
    provenance = own_run.read_json("provenance.json")
    assert run.data.tags["medsaliency.torch"] == provenance["torch"]
    assert run.data.tags["medsaliency.code"] == provenance["code"]
    assert run.data.tags["medsaliency.weights"] == provenance["model"]["weights"]
    assert run.data.tags["medsaliency.data"] == provenance["data"]["fingerprint"]
    place = Path(re.sub("^file:(//)?", "", run.info.artifact_uri))
    for name in ("provenance.json", "report.html"):
        assert (place / name).read_bytes() == (own_run.path / name).read_bytes()
    assert load_study(place / "study.yaml") == load_study(own_run.path / "study.yaml")
    tables = {path.name for path in (own_run.path / "statistics").glob("*.parquet")}
    assert {path.name for path in (place / "statistics").iterdir()} == tables
    pd.testing.assert_frame_equal(
        pd.read_parquet(place / "statistics" / "summary.parquet"), own_run.read_table("statistics/summary.parquet")
    )


def test_twice_is_one_run_with_the_later_numbers(own_run: Store, tmp_path: Path) -> None:
    first = log_study(own_run, str(tmp_path / "ml"), "studies")
    provenance = own_run.read_json("provenance.json")
    own_run.write_json("provenance.json", {**provenance, "seconds": {"data": 41.5}})
    moved = Store(own_run.path.rename(tmp_path / "moved"))
    assert log_study(moved, str(tmp_path / "ml"), "studies") == first
    client = mlflow.MlflowClient(tracking_uri=str(tmp_path / "ml"))
    experiment = client.get_experiment_by_name("studies")
    assert [run.info.run_id for run in client.search_runs([experiment.experiment_id])] == [first]
    assert client.get_run(first).data.metrics["seconds/data"] == 41.5
    assert client.get_run(first).info.status == "FINISHED"
    logged = [event["run_id"] for event in read(moved.path / "log.jsonl") if event["event"] == "mlflow"]
    assert logged == [first, first]


def test_another_folder_and_a_changed_configuration_are_other_runs(
    own_run: Store, small_path: Path, tmp_path: Path
) -> None:
    other = Store(Path(shutil.copytree(small_path, tmp_path / "other")))
    (other.path / "log.jsonl").unlink(missing_ok=True)
    ids = [log_study(each, str(tmp_path / "ml"), "studies") for each in (own_run, other)]
    text = (own_run.path / "study.yaml").read_text()
    (own_run.path / "study.yaml").write_text(text.replace("cases: 12", "cases: 3"))
    ids.append(log_study(own_run, str(tmp_path / "ml"), "studies"))
    assert len(set(ids)) == 3
    assert [_run(tmp_path / "ml", run_id).data.params["report.cases"] for run_id in ids] == ["12", "12", "3"]


def test_an_attempt_that_broke_off_is_shown_as_running_and_is_completed(
    own_run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = own_run.path / "report.html"
    report.rename(tmp_path / "away")
    with pytest.raises(MedsaliencyError, match=r"got an error \(.*report\.html.*\); the study's folder is whole"):
        log_study(own_run, str(tmp_path / "ml"), "studies")
    client = mlflow.MlflowClient(tracking_uri=str(tmp_path / "ml"))
    experiment = client.get_experiment_by_name("studies").experiment_id
    (broken,) = client.search_runs([experiment])
    assert broken.info.status == "RUNNING"
    (tmp_path / "away").rename(report)
    assert log_study(own_run, str(tmp_path / "ml"), "studies") == broken.info.run_id
    assert client.get_run(broken.info.run_id).info.status == "FINISHED"


@pytest.fixture(scope="module")
def marked_run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A study of images whose names, patients and places are marked."""
    root = tmp_path_factory.mktemp(f"from-{MARK}") / "images"
    rows = []
    rng = np.random.default_rng(0)
    for number in range(24):
        label = ("dark", "bright")[number % 2]
        pixels = rng.integers(0, 120, (32, 32)) + 100 * (number % 2)
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{MARK}-{number}.png")
        rows.append((f"{label}/{MARK}-{number}.png", label, f"{MARK}-{number // 2}"))
    pd.DataFrame(rows, columns=["image", "label", "patient_id"]).to_csv(root / "manifest.csv", index=False)
    settings = load_study(
        None,
        [
            *("data.source=manifest", f"data.root={root}", "data.size=32", "training.epochs=1", "explain.images=4"),
            *("explain.tune=false", "explain.methods={gradient: {}, random: {}}", "evaluate.metrics=[gini]"),
            *("evaluate.random_draws=1", "statistics.draws=100", "statistics.permutations=100"),
        ],
    )
    return run_study(settings, tmp_path_factory.mktemp(f"to-{MARK}") / "run")


def _text_of(file: Path) -> str:
    """All text in a file, whatever packs it."""
    packed = pd.read_parquet(file).to_csv() if file.suffix == ".parquet" else ""
    return file.read_bytes().decode(errors="replace") + packed


def test_nobody_and_no_place_goes_out(marked_run: Store, tmp_path: Path) -> None:
    assert MARK in marked_run.read_table("predictions.parquet").to_csv()
    assert MARK in (marked_run.path / "study.yaml").read_text()
    run = _run(tmp_path / "ml", log_study(marked_run, str(tmp_path / "ml"), "studies"))
    assert run.data.params["data.root"] == "images"
    files = [file for file in (tmp_path / "ml").rglob("*") if file.is_file()]
    assert len(files) > 100
    assert [file for file in files if MARK in f"{file.relative_to(tmp_path)} {_text_of(file)}"] == []


def test_a_server_that_does_not_answer_is_one_line_and_harms_nothing(own_run: Store) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: connections are refused
        uri = f"http://jane:secret@127.0.0.1:{taken.getsockname()[1]}"
        before = {path: path.read_bytes() for path in own_run.path.rglob("*") if path.is_file()}
        attempts = {"give --mlflow again": lambda: log_study(own_run, uri, "studies")}
        attempts["leave --mlflow out"] = lambda: check_server(uri)
        for end, attempt in attempts.items():
            with pytest.raises(MedsaliencyError, match=rf"^http://127\.0\.0\.1:\d+: .*{end}$") as raised:
                attempt()
            assert "\n" not in str(raised.value)
            assert "secret" not in str(raised.value)
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    assert set(changed) <= {"log.jsonl"}
    assert Store.open(own_run.path).path == own_run.path


def test_a_missing_extra_is_named(own_run: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("mlflow"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    for attempt in (lambda: log_study(own_run, "ml", "studies"), lambda: check_server("ml")):
        with pytest.raises(MedsaliencyError, match=re.escape("pip install 'medsaliency[mlflow]'")):
            attempt()


def test_names_are_what_mlflow_takes_and_stay_apart() -> None:
    paths = [("model", "auroc_a/b"), ("model", "auroc_a_b"), ("model", "AUROC_A?B"), ("..", "x"), ("x" * 300,)]
    names = mlflow_tracking._names([*paths, ("x" * 300 + "y",)])
    assert names[:4] == ["model/auroc_a_b", "model/auroc_a_b_2", "model/AUROC_A_B_3", "_/x"]
    assert names[4] == "x" * LONGEST_KEY
    assert names[5] == "x" * (LONGEST_KEY - 10) + "_2"
    validation = importlib.import_module("mlflow.utils.validation")
    for name in names:
        validation._validate_metric_name(name)


def test_a_long_value_says_that_it_was_cut() -> None:
    config = {"data": {"options": {"labels": "x" * 900, "fold": 3}}, "checks": {}}
    found = mlflow_tracking._parameters(config)
    assert found["data.options.fold"] == "3"
    assert found["checks"] == "{}"
    assert len(found["data.options.labels"]) == LONGEST_VALUE
    assert found["data.options.labels"].endswith("x... (900 characters)")
    assert set(found) == {"data.options.labels", "data.options.fold", "checks"}
