from pathlib import Path

import pytest

from medsaliency.model.checkpoint import save
from medsaliency.model.classifier import Classifier
from medsaliency.model.zoo import build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of a small network, for tests that spoil it."""
    module = build("small_cnn", classes=3, seed=4)
    folder = tmp_path / "given" / "model"
    save(Classifier(module, ["a", "b", "c"], mean=0.3, std=0.7, size=32), folder, architecture="small_cnn")
    return folder
