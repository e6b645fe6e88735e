"""The classifier of a study: a checkpoint that is given, the one that the run has trained before, or a new one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset
from medsaliency.data.reading import Reading
from medsaliency.evaluation.data_randomization import DataRandomization
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.training import train
from medsaliency.model.zoo import build
from medsaliency.study import results
from medsaliency.study.config import Study
from medsaliency.study.failures import Failure, as_rows, failure_table
from medsaliency.study.log import Log
from medsaliency.study.permuted_labels import checks_of, permutation_of, record, train_on_permuted_labels
from medsaliency.study.predicting import BATCH, Tables, joined, predict_batch, read_each, stamp, stamped
from medsaliency.study.reading import default_device
from medsaliency.study.store import Store, plain
from medsaliency.study.training_images import images_of
from medsaliency.types import MedsaliencyError, Track, silent

LEFT_OUT = {
    "model": "predictions/training-failures.parquet",
    "permuted": "predictions/permuted-failures.parquet",
}
"""Images that were left out of the training of a network, which a run that goes on does not do again."""


def train_model(
    study: Study,
    dataset: Dataset,
    folder: Path,
    track: Track = silent,
    failed: Callable[[Failure], None] = lambda _: None,
) -> Tables:
    """Train the study's architecture and save it, with its performance on the evaluation images, into ``folder``.

    Args:
        study: What is trained, and on what.
        dataset: The images.
        folder: Must not exist yet; appears whole or not at all.
        track: Shows progress.
        failed: Told of a training or validation image that cannot be read, and is left out.

    Returns:
        What it says of the evaluation images, as :func:`medsaliency.study.predicting.predict_batch` gives it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        images_of(study, dataset, TRAINING, folder.parent, track, failed) as (images, labels),
        images_of(study, dataset, VALIDATION, folder.parent, track, failed) as validation,
    ):
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
        history = train(classifier, images, labels, *validation, study.recipe, track)
        count = len(images)
    tables = _evaluate(study, dataset, classifier, track)
    found = results.measure(study, tables["predictions"], dataset.classes)
    trained_on = {"data": dataset.name, "images": count, "epochs": len(history), "seed": study.training_seed}
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
    return tables


def _evaluate(study: Study, dataset: Dataset, classifier: Classifier, track: Track) -> Tables:
    """What a classifier says of the evaluation images, a batch in memory at a time."""
    records = dataset.of(EVALUATION)
    starts = range(0, len(records), BATCH)
    parts = []
    for start in track(starts, "predicting", len(starts)):
        batch = records[start : start + BATCH]
        stamps = {record.id: stamp(record) for record in batch}
        parts.append(stamped(predict_batch(classifier, batch, *read_each(study, dataset, batch)), stamps))
    return joined(parts, records)


def classifier_of(
    study: Study,
    dataset: Dataset,
    store: Store,
    log: Log,
    track: Track,
    failed: Callable[[Failure], None] = lambda _: None,
) -> tuple[Classifier, str, Tables | None]:
    """The study's classifier, where its checkpoint is, and what it says of the evaluation images if it is new.

    Raises:
        MedsaliencyError: If the checkpoint is of other classes, channels or sizes, or of images that were read in
            another way.
    """
    tables = None
    given = study.model.checkpoint
    folder = given or str(store.path / "model")
    if given is None and not Path(folder).exists():
        with log.stage("training"):
            tables = train_model(study, dataset, Path(folder), track, _noting(store, "model", failed))
    elif given is None:
        _tell(store, "model", failed)
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
    return classifier, folder, tables


def _noting(store: Store, network: str, failed: Callable[[Failure], None]) -> Callable[[Failure], None]:
    """Tells of what fails in a training, and keeps it; what one that was cut short has kept is forgotten."""
    (store.path / LEFT_OUT[network]).unlink(missing_ok=True)
    noted: list[Failure] = []

    def note(failure: Failure) -> None:
        failed(failure)
        noted.append(failure)
        store.write_table(LEFT_OUT[network], failure_table(noted))

    return note


def _tell(store: Store, network: str, failed: Callable[[Failure], None]) -> None:
    """Tell of what failed in the training of a network that is there."""
    if store.has(LEFT_OUT[network]):
        for failure in as_rows(store.read_table(LEFT_OUT[network])):
            failed(failure)


def _check_reading(study: Study, dataset: Dataset, folder: str) -> None:
    """Raise MedsaliencyError where a checkpoint says that its images were read in another way than the study's are."""
    ours = plain({**asdict(dataset.reading or Reading()), "fit": study.data.fit})
    for name, value in checkpoint.reading_of(folder).items():
        if name in ours and value != ours[name]:
            field = "data.fit" if name == "fit" else f"data.options.{name}"
            raise MedsaliencyError(
                f"{folder}: the checkpoint's images were read with {name} {value}, the study's are with {ours[name]}; "
                f"set {field}, or train a model on the study's"
            )


def permuted_of(
    study: Study,
    dataset: Dataset,
    classifier: Classifier,
    store: Store,
    log: Log,
    track: Track,
    failed: Callable[[Failure], None] = lambda _: None,
) -> tuple[str | None, dict[str, Any] | None]:
    """Where the network trained on permuted labels is and what is recorded of it, where a check asks for one.

    It is the one that is given, the one that the run has trained before on labels permuted by the same seed, or a new
    one.
    """
    place = str(store.path / "permuted")
    given = study.evaluate.checks.get("data_randomization", {}).get("checkpoint")
    check = checks_of(study, given or place).get("data_randomization")
    if not isinstance(check, DataRandomization) or check.checkpoint is None:
        return None, None
    if given is None and store.has("permuted") and permutation_of(place) != check.seed:
        log.event("stale", what="the network trained on permuted labels")
        shutil.rmtree(place)
    if given is None and store.has("permuted"):
        _tell(store, "permuted", failed)
    elif given is None:
        every = images_of(study, dataset, TRAINING, store.path, track, _noting(store, "permuted", failed))
        with log.stage("training on permuted labels"), every as found:
            train_on_permuted_labels(study, classifier, check, *found, Path(place), track)
    return check.checkpoint, record(classifier, check.checkpoint)
