"""A planted shortcut of few images: what is asked of the model, and what is measured of the maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medsaliency.data.dataset import EVALUATION
from medsaliency.data.sandbox import CLASSES, marker
from medsaliency.model import checkpoint
from medsaliency.study.config import Study, load_study
from medsaliency.study.pipeline import run_study
from medsaliency.study.reading import load_data, predict, read_split
from medsaliency.study.shortcut import MARKER, compare_without_marker, marker_shares, planted, without_marker
from medsaliency.study.store import Store

LABEL = CLASSES.index("sellar")


@pytest.fixture(scope="module")
def study(small_path: Path) -> Study:
    return load_study(
        None,
        [
            "data.size=64",
            "data.options={training: 24, evaluation: 24, shortcut_class: sellar, shortcut_probability: 0.6}",
            "explain.images=8",
            "explain.methods=[grad_cam, random]",
            "evaluate.metrics=[pointing_game]",
            "evaluate.random_draws=1",
            "statistics.draws=100",
            f"model.checkpoint={small_path / 'model'}",
        ],
    )


@pytest.fixture(scope="module")
def run(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return run_study(study, tmp_path_factory.mktemp("shortcut") / "run")


def test_only_a_sandbox_with_a_marker_has_one(study: Study, small_study: Study) -> None:
    assert planted(study) == "sellar"
    assert planted(small_study) is None
    assert planted(without_marker(study)) is None


def test_the_model_is_asked_of_the_very_images_without_and_with_the_marker(study: Study, small_path: Path) -> None:
    classifier = checkpoint.load(small_path / "model")
    dataset = load_data(study)
    samples = read_split(study, dataset, EVALUATION)
    predictions = predict(classifier, samples)
    table, masks = compare_without_marker(study, classifier, predictions, dataset.of(EVALUATION))
    assert set(table.loc[table["marked"], "label"]) == {LABEL}
    assert 0 < table["marked"].sum() < (table["label"] == LABEL).sum(), "the marker is on some images of the class"
    assert set(masks) == set(table.loc[table["marked"], "sample"])
    clean = read_split(without_marker(study), load_data(without_marker(study)), EVALUATION)
    pixels = marker(64)
    for sample, other in zip(samples, clean, strict=True):
        changed = (sample.image != other.image).any(axis=0)
        assert (changed <= pixels).all(), "nothing but the marker differs"
        assert changed.any() == (sample.id in masks)
    by_hand = np.stack([np.where(pixels, np.float32(1), sample.image) for sample in clean])
    logits = classifier.probabilities(torch.from_numpy(by_hand)).argmax(dim=1).tolist()
    assert table["planted"].tolist() == logits
    assert table["without"].tolist() == predict(classifier, clean)["predicted"].tolist()


def test_the_share_on_the_marker_is_that_of_the_maps_magnitude(run: Store) -> None:
    shares = marker_shares(run, ["grad_cam", "random"])
    group = run.maps().group
    names = list(group.attrs["samples"])
    assert len(shares) == 2 * sum(bool(np.asarray(group["marker"][i]).any()) for i in range(len(names))) > 0
    row = shares[shares["method"] == "random"].iloc[0]
    at = names.index(row["sample"])
    drawn, mask = np.abs(np.asarray(group["maps/random"][at])), np.asarray(group["marker"][at])
    assert row["value"] == pytest.approx(drawn[mask].sum() / drawn.sum(), rel=1e-6)
    assert row["area"] == mask.mean()


def test_a_run_tells_of_its_shortcut(run: Store) -> None:
    told = run.read_json("statistics/shortcut.json")
    table = run.read_table(MARKER)
    assert (told["class"], told["images"], told["marked"]) == ("sellar", 24, int(table["marked"].sum()))
    right = (table["with_marker"] == table["label"]).mean()
    assert told["accuracy_with"]["value"] == pytest.approx(right)
    assert told["drop"]["value"] == pytest.approx(right - (table["without"] == table["label"]).mean())
    shares = run.read_table("statistics/shortcut_shares.parquet")
    assert shares["method"].tolist() == ["grad_cam", "random"]
    random = shares.set_index("method").loc["random"]
    assert random["share"] == pytest.approx(random["area"], rel=0.25), "noise puts on the marker what its area is"
