"""A study so small that its tasks take tenths of a second, and what an engine needs of it."""

from __future__ import annotations

import pytest

from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.targets import Logit
from medsaliency.model.zoo import build
from medsaliency.study.cells import cells_of
from medsaliency.study.config import Study, load_study
from medsaliency.study.predicting import sample_digest
from medsaliency.study.reading import load_data
from medsaliency.study.work import Explanation, Prediction, Setup, Task

IMAGES = 4
"""In a task."""


@pytest.fixture(scope="session")
def study() -> Study:
    return load_study(
        None,
        (
            "data.size=32",
            "data.options={training: 32, evaluation: 32}",
            "explain.methods={gradient: {}, smoothgrad: {samples: 2}, grad_cam: {}, random: {}}",
            "evaluate.metrics=[evidence_curves, pointing_game]",
            "evaluate.random_draws=2",
        ),
    )


@pytest.fixture(scope="session")
def setup(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """With an untrained network: what its maps are worth does not matter here."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    classes = load_data(study).classes
    network = build("small_cnn", classes=len(classes), size=32)
    checkpoint.save(Classifier(network, classes, size=32), folder, architecture="small_cnn")
    return Setup(study, str(folder), threads=1)


@pytest.fixture(scope="session")
def predictions(study: Study) -> list[Task]:
    records = load_data(study).of("evaluation")
    return [
        Prediction(i, tuple(records[start : start + IMAGES])) for i, start in enumerate(range(0, len(records), IMAGES))
    ]


@pytest.fixture(scope="session")
def explanations(study: Study) -> list[Task]:
    dataset = load_data(study)
    records = dataset.of("evaluation")
    found: list[Task] = []
    for number, start in enumerate(range(0, len(records), IMAGES)):
        own = tuple(records[start : start + IMAGES])
        digests = tuple(sample_digest(dataset.sample(record, 32, 1, "pad")) for record in own)
        targets = tuple(Logit(record.label or 0) for record in own)
        found.append(Explanation(number, own, targets, digests, tuple(cells_of(study)), Execution(batch_size=IMAGES)))
    return found
