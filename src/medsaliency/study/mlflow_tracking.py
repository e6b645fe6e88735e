"""A finished run folder in MLflow: its configuration, numbers, versions and report, and nobody's name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from medsaliency.model.optional import optional
from medsaliency.study.config import saved_study
from medsaliency.study.log import NAME as LOG
from medsaliency.study.log import Log
from medsaliency.study.results import without_places
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError

EXTRA = "mlflow"
FOLDER, CONFIGURATION = "medsaliency.run", "medsaliency.configuration"
"""Tags by which the MLflow run of a run folder is found again. MLflow does not let a parameter change, so that a folder
whose configuration has changed is another of its runs."""
LONGEST_KEY, LONGEST_VALUE = 250, 500
"""Characters that every version of MLflow's server takes."""
MOST_METRICS, MOST_PARAMS = 1000, 100
"""In one call."""
KEPT = "the study's folder is whole: mend this and give --mlflow again"
LONGEST_ERROR = 600
"""Characters: a server may answer with a page."""
NO_TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"
"""MLflow tells its makers how it is used unless this is set when it is imported."""


def check_server(uri: str) -> None:
    """See that MLflow is installed and answers, before a study of hours.

    Raises:
        MedsaliencyError: If not.
    """
    with _one_line(uri, "nothing was started: mend this, or leave --mlflow out"):
        _client(uri).search_experiments(max_results=1)


def log_study(store: Store, uri: str, experiment: str) -> str:
    """Log a finished run folder to MLflow, or log it again, into the same run of MLflow.

    Parameters are the configuration, flattened: a value longer than :data:`LONGEST_VALUE` is cut and says so, and
    ``study.yaml`` among the artifacts has it whole. Metrics are the model's performance, the mean of each measure of
    each method, both with the bounds of their intervals (NaN where undefined), and the seconds of each stage. Tags are
    versions, hashes of code, weights and data. Artifacts are ``study.yaml``, ``provenance.json``, ``report.html`` and
    the tables in ``statistics/``. No id of an image or patient is sent, and no place on disk; the report shows images.
    MLflow shows the run as running until it is whole.

    Args:
        store: The folder of a finished study. Only its log is written.
        uri: Of the tracking server, or of a place that MLflow knows.
        experiment: Name of the experiment, which is made where it is missing.

    Returns:
        The id of MLflow's run.

    Raises:
        MedsaliencyError: If MLflow is not installed, or does not answer or accept. The run folder stays whole.
    """
    with Log(store.path / LOG) as log, _one_line(uri, KEPT):
        run_id = _log(store, _client(uri), experiment, log.run)
        log.event("mlflow", run_id=run_id)
    return run_id


def _log(store: Store, client: Any, experiment: str, folder: str) -> str:
    study = saved_study(store.path)
    provenance = store.read_json("provenance.json")
    config = without_places(study.model_dump(mode="json"))
    parameters = _parameters(config)
    tags = {**_tags(provenance), FOLDER: folder, CONFIGURATION: _hash(config)}
    run_id = _run(client, experiment, study.name, tags)
    for names in _parts(parameters, MOST_PARAMS):
        client.log_batch(run_id, params=[_entity("Param", name, parameters[name]) for name in names])
    for names in _parts(tags, MOST_PARAMS):
        client.log_batch(run_id, tags=[_entity("RunTag", name, tags[name]) for name in names])
    metrics, now = _metrics(store, provenance), int(time.time() * 1000)
    for names in _parts(metrics, MOST_METRICS):
        client.log_batch(run_id, metrics=[_entity("Metric", name, metrics[name], now, 0) for name in names])
    _artifacts(client, run_id, store, config)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _client(uri: str) -> Any:
    os.environ.setdefault(NO_TELEMETRY, "true")  # a hospital's study is nobody else's business; who sets it decides
    return optional("mlflow", EXTRA, "--mlflow").MlflowClient(tracking_uri=uri)


def _entity(kind: str, *values: Any) -> Any:
    return getattr(optional("mlflow.entities", EXTRA, "--mlflow"), kind)(*values)


def _run(client: Any, experiment: str, name: str, tags: Mapping[str, str]) -> str:
    """The id of the run with these tags, or of a new one."""
    found = client.get_experiment_by_name(experiment)
    place = client.create_experiment(experiment) if found is None else found.experiment_id
    wanted = " and ".join(f"tags.`{tag}` = '{tags[tag]}'" for tag in (FOLDER, CONFIGURATION))
    for run in client.search_runs([place], wanted, max_results=1):
        client.update_run(run.info.run_id, status="RUNNING")
        return str(run.info.run_id)
    # With its tags from the beginning: what is logged in part is found again.
    keys = {tag: tags[tag] for tag in (FOLDER, CONFIGURATION)}
    return str(client.create_run(place, run_name=name, tags=keys).info.run_id)


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Dotted names and values in JSON, as far as MLflow takes them."""
    flat = list(_flattened(config))
    return {name: _cut(value) for name, (_, value) in zip(_names([path] for path, _ in flat), flat, strict=True)}


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def _cut(value: str) -> str:
    """The value, or its beginning and its length where it is too long."""
    end = f"... ({len(value)} characters)"
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - len(end)] + end


def _tags(provenance: Mapping[str, Any]) -> dict[str, str]:
    versions = {name: value for name, value in provenance.items() if isinstance(value, str)}
    hashes = {
        "data": provenance["data"]["fingerprint"],
        "images": provenance["data"]["images_sha256"],
        "weights": provenance["model"]["weights"],
    }
    return {f"medsaliency.{name}": _cut(value) for name, value in {**versions, **hashes}.items()}


def _metrics(store: Store, provenance: Mapping[str, Any]) -> dict[str, float]:
    """Every number by its name in MLflow: ``model/NAME``, ``MEASURE/METHOD``, ``seconds/STAGE``, ``failures``."""
    found: list[tuple[tuple[str, ...], float | None]] = []

    def with_bounds(group: str, name: str, value: float | None, low: float | None, high: float | None) -> None:
        found.extend([((group, name), value), ((group, f"{name}_low"), low), ((group, f"{name}_high"), high)])

    performance = store.read_json("statistics/performance.json")
    for name in ("accuracy", "macro_f1", "expected_calibration_error"):
        with_bounds("model", name, **performance[name])
    for name, interval in performance["auroc"].items():
        with_bounds("model", f"auroc_{name}", **interval)
    for row in store.read_table("statistics/summary.parquet").to_dict("records"):
        with_bounds(row["metric"], row["method"], row["mean"], row["low"], row["high"])
        found.append(((row["metric"], f"{row['method']}_undefined"), row["undefined"]))
    found.extend((("seconds", stage), took) for stage, took in provenance["seconds"].items())
    if store.has("failures.parquet"):
        found.append((("failures",), len(store.read_table("failures.parquet"))))
    numbers = [float("nan") if value is None else float(value) for _, value in found]
    return dict(zip(_names(path for path, _ in found), numbers, strict=True))


def _names(paths: Iterable[Sequence[str]]) -> list[str]:
    """For each path its name in MLflow: other signs become ``_``, what is too long is cut, no two become one."""
    names: dict[str, str] = {}
    for path in paths:
        # MLflow may keep a name as a file: dots alone would be a folder, and capitals may be the same as small letters.
        parts = [re.sub(r"^\.+$", "_", re.sub(r"[^\w. -]", "_", part)) or "_" for part in path]
        whole = "/".join(parts)
        name, number = whole[:LONGEST_KEY], 2
        while name.casefold() in names:
            name, number = f"{whole[: LONGEST_KEY - 10]}_{number}", number + 1
        names[name.casefold()] = name
    return list(names.values())


def _parts(names: Iterable[str], most: int) -> Iterator[list[str]]:
    every = list(names)
    return (every[start : start + most] for start in range(0, len(every), most))


def _hash(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _artifacts(client: Any, run_id: str, store: Store, config: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="medsaliency-") as folder:
        place = Path(folder) / "study.yaml"
        place.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        client.log_artifact(run_id, str(place))
    for name in ("provenance.json", "report.html"):
        client.log_artifact(run_id, str(store.path / name))
    for path in sorted((store.path / "statistics").glob("*.parquet")):
        client.log_artifact(run_id, str(path), "statistics")


@contextmanager
def _one_line(uri: str, then: str) -> Iterator[None]:
    """What MLflow raises as one line that ends with what ``then`` says, without the password that a URI may hold."""
    errors = optional("mlflow.exceptions", EXTRA, "--mlflow")
    try:
        yield
    except (errors.MlflowException, ImportError, OSError) as error:
        shown = re.sub(r"//[^/@]*@", "//", uri)
        text = " ".join(str(error).replace(uri, shown).split())
        raise MedsaliencyError(
            f"{shown}: expected an MLflow server that takes the study, got an error ({text[:LONGEST_ERROR]}); {then}"
        ) from error
