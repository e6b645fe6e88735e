"""The whole flow of a study: data, model, explanations, scores, statistics, report. Run again, it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medsaliency.data import open_source
from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset
from medsaliency.data.splits import split, split_table
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.training import Training, train
from medsaliency.model.zoo import build
from medsaliency.statistics.performance import performance
from medsaliency.study import results
from medsaliency.study.config import Study
from medsaliency.study.explaining import explain_shard, select
from medsaliency.study.provenance import describe
from medsaliency.study.store import Store, write_text
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
        dataset = load_data(study)
    store = Store.create(output, study)
    _write_splits(store, dataset)
    with clock.stage("reading evaluation images"):  # before training, which a bad image would waste
        records = dataset.of(EVALUATION)
        samples = dataset.samples(records, study.data.size, study.data.channels, track, "reading evaluation images")
    classifier = _model(study, dataset, store, clock, track)
    with clock.stage("predicting"):
        predictions = predict(classifier, samples, track)
        store.write_table("predictions.parquet", predictions)
    chosen = select(records, study.explain.images, study.seed)
    by_id = {sample.id: sample for sample in samples}
    explained = [by_id[record.id] for record in chosen]
    with clock.stage("explaining and evaluating"):
        size = study.explain.batch_size
        starts = list(range(0, len(explained), size))
        for start in track(starts, "explaining and evaluating", len(starts)):
            explain_shard(study, classifier, explained, start, predictions, store)
    with clock.stage("statistics"):
        results.gather(store, study, [sample.id for sample in explained])
        found = performance(
            predictions, classifier.classes, seed=study.seed, draws=study.statistics.draws, level=study.statistics.level
        )
        store.write_json("statistics/performance.json", found)
    # A study that went on has spent both the seconds of before and those of now.
    before = store.read_json("provenance.json")["seconds"] if store.has("provenance.json") else {}
    spent = {name: round(before.get(name, 0) + clock.seconds.get(name, 0), 3) for name in {**before, **clock.seconds}}
    store.write_json("provenance.json", describe(study, dataset, classifier, explained, spent))
    for finish in track([results.write_statistics, write_report], "statistics and report", 2):
        finish(store)
    return store


def write_report(store: Store) -> None:
    """Make ``report.html`` from what the folder holds, without the model or the images' source."""
    from medsaliency.report.html import render

    write_text(store.path / "report.html", render(results.report_contents(store)))


def load_data(study: Study) -> Dataset:
    """Open the study's source and give every record a split."""
    root = Path(study.data.root) if study.data.root is not None else None
    options = dict(study.data.options)
    if study.data.source == "sandbox":
        options = {"seed": study.seed, "size": study.data.size, **options}
    elif root is None:
        raise MedsaliencyError(f"study {study.name!r}: expected data.root for its images; give --data-root FOLDER")
    dataset = open_source(root, study.data.source, **options)
    return split(dataset, seed=study.seed, validation=study.data.validation, evaluation=study.data.evaluation)


def train_model(study: Study, dataset: Dataset, folder: Path, track: Track = silent) -> Classifier:
    """Train the study's architecture on the training split and save the checkpoint into ``folder``."""
    size, channels = study.data.size, study.data.channels
    parts = {
        name: dataset.samples(dataset.of(name), size, channels, track, f"reading {name} images")
        for name in (TRAINING, VALIDATION)
    }
    images, labels = stack(parts[TRAINING])
    module = build(
        study.model.architecture,
        classes=len(dataset.classes),
        channels=channels,
        size=size,
        seed=study.seed,
        pretrained=study.model.pretrained,
    )
    classifier = Classifier(
        module,
        dataset.classes,
        mean=images.mean(dim=(0, 2, 3)).tolist(),
        std=images.std(dim=(0, 2, 3)).clamp(min=1e-6).tolist(),
        channels=channels,
        size=size,
        target_layer=study.model.target_layer,
        device=study.device or default_device(),
    )
    how = Training(**study.training.model_dump(), seed=study.seed)  # type: ignore[attr-defined]
    history = train(classifier, images, labels, *stack(parts[VALIDATION]), how, track)
    trained_on = {"data": dataset.name, "images": len(images), "epochs": len(history), "seed": study.seed}
    best = min(history, key=lambda epoch: epoch.validation_loss)
    metrics = {"validation_accuracy": best.validation_accuracy, "validation_loss": best.validation_loss}
    checkpoint.save(classifier, folder, architecture=study.model.architecture, trained_on=trained_on, metrics=metrics)
    return classifier


def _model(study: Study, dataset: Dataset, store: Store, clock: Clock, track: Track) -> Classifier:
    """The given checkpoint, the one this run has trained before, or a new one."""
    given = Path(study.model.checkpoint) if study.model.checkpoint else None
    folder = given or store.path / "model"
    if given is None and not folder.exists():
        with clock.stage("training"):
            train_model(study, dataset, folder, track)
    classifier = checkpoint.load(folder, device=study.device or default_device())
    if classifier.classes != dataset.classes or classifier.channels != study.data.channels:
        raise MedsaliencyError(
            f"{folder}: the checkpoint knows classes {list(classifier.classes)} and {classifier.channels} channel(s), "
            f"the data has {list(dataset.classes)} and {study.data.channels}; give the model's own data"
        )
    if study.model.target_layer is not None:
        classifier.use_layer(study.model.target_layer)
    return classifier


def predict(classifier: Classifier, samples: list[Sample], track: Track = silent) -> pd.DataFrame:
    """Columns sample, patient, label, predicted (class indices) and p_0 ... p_{K-1}, one row a sample."""
    size = classifier.batch_size
    starts = range(0, len(samples), size)
    parts = []
    for start in track(starts, "predicting", len(starts)):
        images, _ = stack(samples[start : start + size])
        parts.append(classifier.probabilities(images).cpu().numpy())
    probabilities = np.concatenate(parts)
    table = pd.DataFrame(
        {
            "sample": [sample.id for sample in samples],
            "patient": [sample.patient for sample in samples],
            "label": [sample.label for sample in samples],
            "predicted": probabilities.argmax(axis=1),
        }
    )
    return table.assign(**{f"p_{k}": probabilities[:, k] for k in range(probabilities.shape[1])})


def stack(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, H, W) float32 and labels (N,) int64 (-1 where unknown)."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    labels = torch.tensor([-1 if sample.label is None else sample.label for sample in samples])
    return images, labels


def default_device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _write_splits(store: Store, dataset: Dataset) -> None:
    """Write the splits down before anything is trained on them."""
    if not store.has("splits.csv"):
        write_text(store.path / "splits.csv", split_table(dataset).to_csv(index=False))
