"""The whole flow of a study: data, model, explanations, scores, statistics, report. Run again, it goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from medsaliency.data.dataset import EVALUATION, VALIDATION, Dataset, Record
from medsaliency.data.geometry import from_dict
from medsaliency.data.round_trip import round_trip
from medsaliency.data.splits import split_table
from medsaliency.evaluation import check_dimensions
from medsaliency.model import checkpoint
from medsaliency.model.checkpoint import fingerprint
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.tuning import BATCH_SIZES, cache_folder, tune
from medsaliency.study import results
from medsaliency.study.cells import digest, recipes
from medsaliency.study.classifier import LEFT_OUT, classifier_of, permuted_of
from medsaliency.study.config import Study
from medsaliency.study.engines import Engine
from medsaliency.study.engines.local import Local
from medsaliency.study.explaining import select, targets_of
from medsaliency.study.failures import Failure, as_rows, failure_table
from medsaliency.study.inference import NETWORKS, RETRAINED
from medsaliency.study.ledger import keep_basis, seal, spoiled, unseal, write_plan
from medsaliency.study.lock import locked
from medsaliency.study.log import Log
from medsaliency.study.maps import NAME as MAPS
from medsaliency.study.maps import mend
from medsaliency.study.permuted_labels import prepared_as
from medsaliency.study.predicting import Tables, read_each
from medsaliency.study.profiling import Trace
from medsaliency.study.provenance import describe, fingerprint_of
from medsaliency.study.reading import load_data, stack
from medsaliency.study.reporting import write_report
from medsaliency.study.shards import tidy
from medsaliency.study.shortcut import MARKER, compare_without_marker, keep_markers, planted
from medsaliency.study.stages import Explained, Run, explain, keep_predictions, predicted
from medsaliency.study.store import Store, beside
from medsaliency.study.usage import give_back
from medsaliency.study.verify import MADE_AGAIN
from medsaliency.study.work import Setup
from medsaliency.types import Geometry, MedsaliencyError, Sample, Track, silent

KEPT = ("model", "permuted", "tuning.json", NETWORKS, RETRAINED)
"""Products that a run that goes on uses as they are."""


class Stopped(KeyboardInterrupt):
    """A study that was interrupted; its message says how to go on."""


def run_study(
    study: Study,
    output: Path,
    track: Track = silent,
    *,
    engine: Engine | None = None,
    strict: bool = False,
    profile: bool = False,
) -> Store:
    """Run a study, or go on with it where it stopped, and return its folder, report included.

    What fails for a single image, method or metric is kept in ``failures.parquet``, and the rest goes on.

    Args:
        study: Its configuration. Where the folder holds the run of another that differs in what is explained,
            evaluated or reported alone, what is the same is kept.
        output: The run folder.
        track: Shows progress.
        engine: Has the workers; None for this process alone. It is closed at the end.
        strict: Raise at the first thing that fails.
        profile: Whether traces of where the time goes are written into ``profile/``.

    Raises:
        MedsaliencyError: If the folder holds another study or another process works on it, or anything in data, model
            or configuration is wrong.
        Stopped: If it was interrupted.
    """
    engine = engine or Local(1)
    store = Store.create(output, study)
    trace = Trace(store.path / "profile" / "trace.json") if profile else None
    with locked(store.path), Log(store.path / "log.jsonl", trace) as log:
        store.sweep()
        run = Run(study, store, engine, log, track, strict)
        try:
            _run(run)
            log.end("done")
        except KeyboardInterrupt as error:
            log.end("stopped")
            raise Stopped(
                f"stopped; what is done is kept in {store.path}: run the same command again to go on"
            ) from error
        except Exception as error:
            log.end("failed", error)
            if isinstance(error, MedsaliencyError):
                store.remove_if_nothing_was_made()
            raise
        finally:
            engine.close()
            if trace is not None and store.path.exists():
                trace.write()
    return store


def _run(run: Run) -> None:
    study, store, log, track = run.study, run.store, run.log, run.track
    with log.stage("data"):
        for _ in track([study.data.source], "opening the data", 1):
            dataset = load_data(study)
        store.keep_splits(split_table(dataset))
    evaluation, validation = dataset.of(EVALUATION), dataset.of(VALIDATION)
    shards = len(range(0, min(study.explain.images, len(evaluation)), study.explain.batch_size))
    log.start(study.seed, run.engine.name, run.engine.workers(shards))
    _remove_spoiled(store, log)
    unseal(store)
    store.adopt(study)
    example = _first(study, dataset, evaluation)  # before training, which a wrong setting would waste
    check_dimensions(study.evaluate.metrics, example.image.ndim - 1)
    if run.strict and study.model.checkpoint is None and not store.has("model"):
        _require_all(run, dataset, evaluation)
    if given := study.evaluate.checks.get("data_randomization", {}).get("checkpoint"):
        checkpoint.load(given)
    classifier, place, tables = classifier_of(study, dataset, store, log, track, run.failed)
    weights = fingerprint(classifier.module)
    basis = {
        "medsaliency": version("medsaliency"),
        "torch": version("torch"),
        "device": run.engine.device(study),
        "data": fingerprint_of(dataset),
        "weights": weights,
        "preprocessing": prepared_as(classifier),
    }
    keep_basis(store, basis)
    permuted, known_of_permuted = permuted_of(study, dataset, classifier, store, log, track, run.failed)
    setup = Setup(study, place, permuted, strict=run.strict, profile=log.trace is not None)
    with log.stage("predicting"):
        classes = len(dataset.classes)
        found = _predictions(run, setup, classes, evaluation, EVALUATION, "predicting", digest(basis), tables)
    predictions = found["predictions"]
    if not len(predictions):
        raise MedsaliencyError(
            f"{dataset.name}: expected evaluation images, got none that could be put before the model"
        )
    store.write_table("predictions.parquet", predictions)
    with log.stage("calibrating"):
        name = "predicting validation images"
        seen = _predictions(run, setup, classes, validation, VALIDATION, name, digest(basis))
    store.write_table("validation.parquet", seen["predictions"])
    images = found["images"].set_index("sample")
    chosen = select([r for r in evaluation if r.id in images.index], study.explain.images, study.seed)
    digests = {record.id: str(images["sha256"][record.id]) for record in chosen}
    with log.stage("testing geometry"):
        tested = _test_geometry(study, dataset, chosen, images, store, track)
    with log.stage("tuning"):
        tuned = _execution(study, dataset, classifier, chosen, store)
    provenance = describe(study, dataset, classifier, digests, example.image, tuned, known_of_permuted)
    explained = Explained(chosen, targets_of(study, chosen, predictions), list(digests.values()))
    rests_on = {**basis, "seed": study.seed, "maps": study.explain.maps, "execution": asdict(classifier.execution)}
    of_permuted = None if known_of_permuted is None else digest(known_of_permuted)
    plan = explained.plan(rests_on, recipes(study, of_permuted), study.explain.batch_size)
    write_plan(store, plan)
    with log.stage("explaining and evaluating"):
        explain(run, setup, classifier, explained, plan)
    run.engine.close()  # what its workers hold is not needed for the tables
    if planted(study) is not None:
        with log.stage("without the marker"):
            table, masks = compare_without_marker(study, classifier, predictions, chosen, track)
            store.write_table(MARKER, table)
            keep_markers(store, masks)
    with log.stage("joining the shards"):
        tidy(store, study, plan, store.maps("a"))
        run.failures += results.gather(store, study, plan)
        _tell_failures(run, dataset)
    store.write_json("provenance.json", {**provenance, "geometry": tested, "seconds": log.seconds})
    last: list[Callable[[Store], Any]] = [results.write_statistics, write_report]
    for finish in track(last, "statistics and report", len(last)):
        give_back()  # what was freed is of other sizes than what is asked for next
        with log.stage(finish.__name__.replace("_", " ")):
            finish(store)
    seal(store)


def _remove_spoiled(store: Store, log: Log) -> None:
    """Take out what is no longer as a finished run has written it, and is not made from the rest in any case."""
    names = spoiled(store)
    for name in names:
        log.event("damaged", file=name)
    mend(store.path, [name for name in names if name.startswith(f"{MAPS}/")])
    parts = {name.split("/")[0] for name in names} & set(KEPT)
    parts |= {network for network, left_out in LEFT_OUT.items() if left_out in names}
    for name in (*parts, *(name for name in names if name.startswith(MADE_AGAIN))):
        path = store.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _first(study: Study, dataset: Dataset, records: Sequence[Record]) -> Sample:
    """The first image of a split that can be read."""
    reasons = []
    for record in records:
        (sample,), unread = read_each(study, dataset, [record])
        if sample is not None:
            return sample
        reasons.append(unread[0])
    raise MedsaliencyError(
        f"{dataset.name}: expected evaluation images, got none of {len(records)} that can be read"
        + (f"; the first: {reasons[0]}" if reasons else "")
    )


def _require_all(run: Run, dataset: Dataset, records: Sequence[Record]) -> None:
    """End a strict study by an image that cannot be read before its training is wasted."""
    for record in run.track(records, "reading evaluation images", len(records)):
        _, unread = read_each(run.study, dataset, [record])
        for reason in unread.values():
            run.failed(Failure("predicting", record.id, "image", "", "", reason))


def _tell_failures(run: Run, dataset: Dataset) -> None:
    """Write what failed into its table, and into the log, which names no image but by its row in ``splits.csv``."""
    run.store.write_table("failures.parquet", failure_table(run.failures))
    rows = {record.id: row for row, record in enumerate(dataset.records)}
    for each in dict.fromkeys(run.failures):
        about = {"stage": each.stage, "kind": each.kind, "name": each.name, "method": each.method}
        run.log.event("failure", sample=rows[each.sample], **about)


def _predictions(
    run: Run,
    setup: Setup,
    classes: int,
    records: Sequence[Record],
    split: str,
    name: str,
    basis: str,
    tables: Tables | None = None,
) -> Tables:
    """What the model says of a split, which may be given; what failed is noted."""
    if tables is not None:
        keep_predictions(run.store, tables, split, basis)
    found = predicted(run, setup, classes, records, split, name, basis) if tables is None else tables
    for failure in as_rows(found["failures"]):
        run.failed(failure)
    return found


def _test_geometry(
    study: Study, dataset: Dataset, records: Sequence[Record], images: pd.DataFrame, store: Store, track: Track
) -> dict[str, Any]:
    """See that maps come back to the native pixels, keep the way back of each image, and return what was seen."""
    geometries = images["geometry"]
    different: dict[object, tuple[Record, Geometry]] = {}
    with beside(store.path / "geometry.json") as new, new.open("w", encoding="utf-8") as file:
        for number, record in enumerate(records):  # one in memory at a time
            kept = json.loads(str(geometries[record.id]))
            own = from_dict(kept)
            different[own.native_size, own.steps] = record, own
            content = json.dumps({**kept, "sha256": record.digests()}, allow_nan=False)
            file.write(f"{',' if number else '{'}\n  {json.dumps(record.id)}: {content}")
        file.write("\n}\n" if records else "{}\n")
    data, tested = study.data, list(different.values())
    found = round_trip(
        dataset, [r for r, _ in tested], [g for _, g in tested], data.size, data.channels, data.fit, track
    )
    # Names of files can be names of patients, and provenance is shown.
    return {name: value for name, value in found.to_dict().items() if name != "sample"}


def _execution(
    study: Study, dataset: Dataset, classifier: Classifier, explained: Sequence[Record], store: Store
) -> dict[str, Any] | None:
    """Set how the model runs, as this run did before or as a measurement finds, and return what was measured."""
    found = store.read_json("tuning.json") if store.has("tuning.json") and study.explain.tune else None
    if found is not None and found["exact"] != study.explain.exact:
        found = None
    if found is None:
        (store.path / "tuning.json").unlink(missing_ok=True)
    if found is None and study.explain.tune:
        samples, _ = read_each(study, dataset, explained[: max(BATCH_SIZES)])
        images, _ = stack([sample for sample in samples if sample is not None])
        found = tune(classifier, images, exact=study.explain.exact, cache=cache_folder()).to_dict()
        store.write_json("tuning.json", found)
    given = {
        "batch_size": study.explain.micro_batch,
        "memory_format": study.explain.memory_format,
        "precision": study.explain.precision,
        "gradient_precision": study.explain.gradient_precision,
    }
    wanted = asdict(classifier.execution) if found is None else found["execution"]
    classifier.execution = Execution(**{**wanted, **{k: v for k, v in given.items() if v is not None}})
    return found
