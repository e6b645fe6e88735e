from pathlib import Path

import pytest

from medsaliency.study.config import Study, load_study
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store

SMALL = (
    "data.size=64",
    "data.options={training: 96, evaluation: 24}",
    "training.epochs=2",
    "training.learning_rate=0.002",
    "explain.images=8",
    "explain.batch_size=3",
    "explain.methods={gradient: {sign: absolute}, smoothgrad: {samples: 3}, score_cam: {}, grad_cam: {}, random: {}}",
    "evaluate.metrics=[evidence_curves, published_curves, pointing_game, lesion_auprc]",
    "evaluate.random_draws=2",
    "statistics.draws=200",
    "statistics.permutations=1000",
)


@pytest.fixture(scope="session")
def small_study() -> Study:
    """A study of seconds: the demo with few and small images."""
    return load_study(None, SMALL)


@pytest.fixture(scope="session")
def small_run(small_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """That study, run. Not to be changed."""
    return run_study(small_study, tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def small_path(small_run: Store) -> Path:
    return small_run.path
