"""The whole flow of a study: data, model, explanations, scores, statistics, report. Run again, it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset, Record
from medsaliency.data.geometry import to_dict
from medsaliency.data.reading import Reading
from medsaliency.data.round_trip import round_trip
from medsaliency.data.splits import split_table
from medsaliency.evaluation import check_dimensions
from medsaliency.evaluation.data_randomization import DataRandomization
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.training import train
from medsaliency.model.tuning import BATCH_SIZES, cache_folder, tune
from medsaliency.model.zoo import build
from medsaliency.study import results
from medsaliency.study.config import Study
from medsaliency.study.estimate import estimated
from medsaliency.study.explaining import explain_shard, select, steps_of_a_shard
from medsaliency.study.permuted_labels import checks_of, record, train_on_permuted_labels
from medsaliency.study.provenance import describe
from medsaliency.study.reading import default_device, load_data, predict, read_split, stack
from medsaliency.study.reporting import write_report
from medsaliency.study.shortcut import MARKER, compare_without_marker, keep_markers, planted
from medsaliency.study.store import Store, plain
from medsaliency.types import MedsaliencyError, Sample, Track, silent


@dataclass
class Clock:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 3)


def run_study(study: Study, output: Path, track: Track = silent) -> Store:
    """Run a study, or go on with it where it stopped, and return its folder, report included.

    Raises:
        MedsaliencyError: If the folder holds another study, or anything in data, model or configuration is wrong.
    """
    clock = Clock()
    with clock.stage("data"):
        for _ in track([study.data.source], "opening the data", 1):
            dataset = load_data(study)
    store = Store.create(output, study)
    try:
        store.keep_splits(split_table(dataset))
        with clock.stage("reading evaluation images"):  # before training, which a bad image would waste
            samples = read_split(study, dataset, EVALUATION, track)
        check_dimensions(study.evaluate.metrics, samples[0].image.ndim - 1)
        if given := study.evaluate.checks.get("data_randomization", {}).get("checkpoint"):
            checkpoint.load(given)  # before training, which a wrong folder would waste
        classifier, predictions = _model(study, dataset, samples, store, clock, track)
    except MedsaliencyError:
        store.remove_if_nothing_was_made()
        raise
    store.write_table("predictions.parquet", predictions)
    with clock.stage("calibrating"):
        store.write_table(
            "validation.parquet", predict(classifier, read_split(study, dataset, VALIDATION, track), track)
        )
    permuted = _permuted(study, dataset, classifier, store, clock, track)
    chosen = select(dataset.of(EVALUATION), study.explain.images, study.seed)
    by_id = {sample.id: sample for sample in samples}
    explained = [by_id[record.id] for record in chosen]
    with clock.stage("testing geometry"):
        tested = _test_geometry(study, dataset, chosen, explained, store, track)
    with clock.stage("tuning"):
        tuned = _execution(study, classifier, explained, store)
    provenance = {**describe(study, dataset, classifier, explained, tuned, permuted), "geometry": tested}
    store.keep_basis(provenance)
    with clock.stage("explaining and evaluating"):
        starts = range(0, len(explained), study.explain.batch_size)
        plan = len(starts) * steps_of_a_shard(study)
        steps = (step for at in starts for step in explain_shard(study, classifier, explained, at, predictions, store))
        for _ in track(estimated(steps, plan), "explaining and evaluating", len(plan)):
            pass
    if planted(study) is not None:
        with clock.stage("without the marker"):
            table, masks = compare_without_marker(study, classifier, samples, predictions, track)
            store.write_table(MARKER, table)
            keep_markers(store, masks)
    results.gather(store, study, [sample.id for sample in explained])
    store.write_json("provenance.json", {**provenance, "seconds": clock.seconds})
    last: list[Callable[[Store], Any]] = [results.write_statistics, write_report]
    for finish in track(last, "statistics and report", len(last)):
        finish(store)
    return store


def _test_geometry(
    study: Study,
    dataset: Dataset,
    records: Sequence[Record],
    explained: Sequence[Sample],
    store: Store,
    track: Track,
) -> dict[str, Any]:
    """See that maps come back to the native pixels, keep the way back of each image, and return what was seen."""
    geometries = {sample.id: sample.geometry for sample in explained}
    data = study.data
    found = round_trip(dataset, records, list(geometries.values()), data.size, data.channels, data.fit, track)
    kept = {r.id: {**to_dict(geometries[r.id]), "sha256": r.digests()} for r in records}
    store.write_json("geometry.json", kept)
    # Names of files can be names of patients, and provenance is shown.
    return {name: value for name, value in found.to_dict().items() if name != "sample"}


def _execution(
    study: Study, classifier: Classifier, explained: Sequence[Sample], store: Store
) -> dict[str, Any] | None:
    """Set how the model runs, as this run did before or as a measurement finds, and return what was measured."""
    found = store.read_json("tuning.json") if store.has("tuning.json") else None
    if found is None and study.explain.tune:
        images = torch.from_numpy(np.stack([sample.image for sample in explained[: max(BATCH_SIZES)]]))
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


def train_model(
    study: Study, dataset: Dataset, evaluation: Sequence[Sample], folder: Path, track: Track = silent
) -> pd.DataFrame:
    """Train the study's architecture and save it, with its performance on the evaluation images, into ``folder``.

    Returns:
        Its predictions on the evaluation images, as :func:`predict` gives them.
    """
    images, labels = stack(read_split(study, dataset, TRAINING, track))
    module = build(
        study.model.architecture,
        classes=len(dataset.classes),
        channels=study.data.channels,
        size=study.data.size,
        seed=study.training_seed,
        pretrained=study.model.pretrained,
    )
    of_channels = (0, *range(2, images.ndim))
    classifier = Classifier(
        module,
        dataset.classes,
        mean=images.mean(dim=of_channels).tolist(),
        std=images.std(dim=of_channels).clamp(min=1e-6).tolist(),
        channels=study.data.channels,
        size=study.data.size,
        target_layer=study.model.target_layer,
        device=study.device or default_device(),
        name=study.model.architecture,
    )
    validation = stack(read_split(study, dataset, VALIDATION, track))
    history = train(classifier, images, labels, *validation, study.recipe, track)
    predictions = predict(classifier, evaluation, track)
    found = results.measure(study, predictions, dataset.classes)
    trained_on = {"data": dataset.name, "images": len(images), "epochs": len(history), "seed": study.training_seed}
    best = min(history, key=lambda epoch: epoch.validation_loss)
    metrics = {"validation_accuracy": best.validation_accuracy, "validation_loss": best.validation_loss}
    checkpoint.save(
        classifier,
        folder,
        architecture=study.model.architecture,
        trained_on=trained_on,
        metrics={**metrics, "evaluation": plain(found)},
        reading={**asdict(dataset.reading or Reading()), "fit": study.data.fit},
    )
    return predictions


def _model(
    study: Study, dataset: Dataset, evaluation: Sequence[Sample], store: Store, clock: Clock, track: Track
) -> tuple[Classifier, pd.DataFrame]:
    """The given checkpoint, the one this run has trained before, or a new one, and its predictions."""
    predictions = None
    given = Path(study.model.checkpoint) if study.model.checkpoint else None
    folder = given or store.path / "model"
    if given is None and not folder.exists():
        with clock.stage("training"):
            predictions = train_model(study, dataset, evaluation, folder, track)
    classifier = checkpoint.load(folder, device=study.device or default_device())
    wanted = (dataset.classes, study.data.channels)
    if (classifier.classes, classifier.channels) != wanted or classifier.size not in (None, study.data.size):
        raise MedsaliencyError(
            f"{folder}: the checkpoint knows classes {list(classifier.classes)}, {classifier.channels} channel(s) and "
            f"size {classifier.size}, the study has {list(wanted[0])}, {wanted[1]} and {study.data.size}; give the "
            "model its own data and size"
        )
    _check_reading(study, dataset, folder)
    if study.model.target_layer is not None:
        classifier.use_layer(study.model.target_layer)
    if predictions is None:
        with clock.stage("predicting"):
            predictions = predict(classifier, evaluation, track)
    return classifier, predictions


def _check_reading(study: Study, dataset: Dataset, folder: Path) -> None:
    """Raise MedsaliencyError where a checkpoint says that its images were read in another way than the study's are."""
    ours = plain({**asdict(dataset.reading or Reading()), "fit": study.data.fit})
    for name, value in checkpoint.reading_of(folder).items():
        if name in ours and value != ours[name]:
            field = "data.fit" if name == "fit" else f"data.options.{name}"
            raise MedsaliencyError(
                f"{folder}: the checkpoint's images were read with {name} {value}, the study's are with {ours[name]}; "
                f"set {field}, or train a model on the study's"
            )


def _permuted(
    study: Study, dataset: Dataset, classifier: Classifier, store: Store, clock: Clock, track: Track
) -> dict[str, Any] | None:
    """What is recorded of the network trained on permuted labels, where a check asks for one: given, there, or new."""
    check = checks_of(study, store).get("data_randomization")
    if not isinstance(check, DataRandomization) or check.checkpoint is None:
        return None
    given = study.evaluate.checks["data_randomization"]["checkpoint"] is not None
    if not given and not store.has("permuted"):
        with clock.stage("training on permuted labels"):
            images, labels = stack(read_split(study, dataset, TRAINING, track))
            train_on_permuted_labels(study, classifier, check, images, labels, Path(check.checkpoint), track)
    return record(classifier, check.checkpoint)
