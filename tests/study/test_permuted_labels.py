"""A study that compares with a network trained on permuted labels: what it trains, keeps and records."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from medsaliency.evaluation.data_randomization import DataRandomization
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.training import Training
from medsaliency.model.zoo import build
from medsaliency.study import classifier, permuted_labels
from medsaliency.study.config import Study, load_study
from medsaliency.study.ledger import unseal
from medsaliency.study.log import read
from medsaliency.study.permuted_labels import permuted, prepared_as, recipe, train_on_permuted_labels
from medsaliency.study.pipeline import run_study
from medsaliency.study.reading import load_data, read_split, stack
from medsaliency.study.results import report_contents
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError

CHECK = (
    *("data.size=64", "data.options={training: 24, evaluation: 12}", "training.epochs=25", "training.batch_size=8"),
    *("explain.images=5", "explain.batch_size=3", "explain.methods=[gradient, grad_cam, edge, random]"),
    *("evaluate.metrics=[pointing_game]", "evaluate.checks=[data_randomization]", "statistics.draws=100"),
)
MEASURES = [f"permuted_{name}{end}" for name in ("ssim", "spearman", "hog") for end in ("", "_margin")]


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(None, CHECK)


@pytest.fixture(scope="module")
def store(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """That study, run. Not to be changed."""
    return run_study(study, tmp_path_factory.mktemp("runs") / "checked")


@pytest.fixture
def never_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError("nothing is trained")

    monkeypatch.setattr(classifier, "train_model", fails)
    monkeypatch.setattr(classifier, "train_on_permuted_labels", fails)


def other_network(folder: Path, seed: int = 1, **given: Any) -> Path:
    """A checkpoint that fits the study's data, untrained."""
    classes = ["no-lesion", "intra-axial", "extra-axial", "sellar"]
    module = build("small_cnn", classes=len(classes), seed=seed)
    checkpoint.save(Classifier(module, classes, size=64, std=0.5), folder, architecture="small_cnn", **given)
    return folder


def test_every_image_method_and_measure_has_a_number_or_a_reason(store: Store) -> None:
    scores = store.read_table("scores.parquet")
    found = scores[scores["metric"].isin(MEASURES)]
    assert (found.groupby(["method", "metric"]).size().unstack() == 5).all(axis=None)
    assert sorted(found["metric"].unique()) == sorted(MEASURES)
    assert ((found["reason"] == "") == found["value"].notna()).all()
    values = found.pivot(index=["method", "sample"], columns="metric", values="value")
    # Controls ignore every model; gradients of two networks differ.
    for control in ("edge", "random"):
        assert values.loc[control, "permuted_spearman"].tolist() == pytest.approx([1] * 5)
        assert (values.loc[control, "permuted_spearman_margin"] < 0).all()
    assert (values.loc["gradient", "permuted_spearman"] < 0.9).all()
    assert not set(store.read_table("statistics/against_controls.parquet")["metric"]) & set(MEASURES)
    timings = store.read_table("timings.parquet")
    assert timings.loc[timings["kind"] == "check", "name"].tolist() == ["data_randomization"]


def test_the_network_knows_the_permuted_labels_by_heart_and_that_is_recorded(study: Study, store: Store) -> None:
    network = checkpoint.load(store.path / "permuted")
    images, labels = stack(read_split(study, load_data(study), "training"))
    taught = permuted(labels, study.training_seed, "data_randomization", "0")
    accuracy = float((network.logits(images).argmax(dim=1) == taught).float().mean())
    assert accuracy >= 0.95
    description = store.read_json("permuted/model.json")
    assert description["metrics"] == {"training_accuracy": accuracy}
    trained_on = {"labels": "permuted", "images": len(images), "epochs": 50, "seed": 0, "permutation": 0}
    assert description["trained_on"] == trained_on
    recorded = store.read_json("provenance.json")
    weights, prepared = checkpoint.fingerprint(network.module), prepared_as(network)
    assert recorded["permuted"] == {"training_accuracy": accuracy, "weights": weights, "preprocessing": prepared}
    assert recorded["permuted"]["weights"] != recorded["model"]["weights"]
    assert recorded["seconds"]["training on permuted labels"] > 0
    assert "accuracy on permuted labels" in (store.path / "report.html").read_text()
    model = checkpoint.load(store.path / "model")
    assert (network.name, network.size) == (model.name, model.size)
    assert torch.equal(network.mean, model.mean)
    assert torch.equal(network.std, model.std)


def test_no_place_is_written(store: Store) -> None:
    saved = yaml.safe_load((store.path / "study.yaml").read_text())
    assert saved["evaluate"]["checks"] == {"data_randomization": {"checkpoint": None, "seed": 0}}
    for name in ("study.yaml", "provenance.json", "permuted/model.json", "report.html"):
        assert str(store.path.parent) not in (store.path / name).read_text()


def test_a_study_that_goes_on_trains_nothing_again(
    study: Study, store: Store, tmp_path: Path, never_trained: None
) -> None:
    shutil.copytree(store.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/shards")
    (tmp_path / "run/scores.parquet").unlink()
    before = (tmp_path / "run/permuted/model.safetensors").stat().st_mtime_ns
    again = run_study(study, tmp_path / "run")
    assert (again.path / "permuted/model.safetensors").stat().st_mtime_ns == before
    assert (again.path / "scores.parquet").read_bytes() == (store.path / "scores.parquet").read_bytes()
    assert again.read_json("provenance.json")["permuted"] == store.read_json("provenance.json")["permuted"]


def test_of_another_network_the_check_alone_is_made_again(study: Study, store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/permuted")
    other_network(tmp_path / "run/permuted", trained_on={"permutation": 0})
    unseal(Store(tmp_path / "run"))  # as of a run that is not finished: else it would be damage
    before = store.read_table("scores.parquet").set_index(["sample", "method", "metric"])["value"]
    run = run_study(study, tmp_path / "run")
    after = run.read_table("scores.parquet").set_index(["sample", "method", "metric"])["value"]
    changed = before.index[(before != after) & ~(before.isna() & after.isna())].get_level_values("metric")
    assert set(changed) <= {name for name in after.index.get_level_values("metric") if name.startswith("permuted_")}
    assert len(changed)
    stale = {event["what"].split(",")[0] for event in read(run.path / "log.jsonl") if event["event"] == "stale"}
    assert stale == {"check data_randomization"}, "nothing else is computed again"


def test_a_study_without_the_check_trains_no_such_network(small_run: Store) -> None:
    assert not small_run.has("permuted")
    assert small_run.read_json("provenance.json")["permuted"] is None


def test_labels_are_permuted_as_the_seed_says() -> None:
    labels = torch.arange(60) % 4
    found = permuted(labels, 0, "use")
    assert found.bincount().tolist() == labels.bincount().tolist()
    # By chance a quarter stays.
    assert 5 <= int((found == labels).sum()) <= 25
    assert torch.equal(found, permuted(labels, 0, "use"))
    assert not torch.equal(found, permuted(labels, 1, "use"))
    assert not torch.equal(found, permuted(labels, 0, "another"))


def test_the_recipe_is_the_studys_without_what_hinders_learning_by_heart() -> None:
    study = load_study(None, ["training.epochs=7", "training.learning_rate=0.001", "training.seed=5"])
    still = Training(
        flip=False, rotation=0, zoom=0, shift=0, label_smoothing=0, class_weights=False, epochs=14, patience=14
    )
    assert recipe(study) == replace(still, learning_rate=0.001, seed=5)


def test_it_is_trained_on_the_training_images_from_the_same_first_weights(
    study: Study, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = stack(read_split(study, load_data(study), "training"))
    calls = []

    def spy(network: Classifier, *arguments: Any) -> list[object]:
        calls.append((checkpoint.fingerprint(network.module), *arguments))
        return []

    monkeypatch.setattr(permuted_labels, "train", spy)
    monkeypatch.setattr(permuted_labels, "WATCHED", 6)
    model = checkpoint.load(store.path / "model")
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        train_on_permuted_labels(study, model, DataRandomization(seed=seed), images, labels, folder)
    first = build("small_cnn", classes=4, size=64, seed=study.training_seed)
    for weights, shown, taught, watched_images, watched_labels, how, *_ in calls:
        assert weights == checkpoint.fingerprint(first)
        assert torch.equal(shown, images)
        assert taught.bincount().tolist() == labels.bincount().tolist()
        assert not torch.equal(taught, labels)
        places = [int((images == image).flatten(1).all(dim=1).nonzero()) for image in watched_images]
        assert len(set(places)) == 6
        assert torch.equal(watched_labels, taught[places])
        assert how == recipe(study)
    assert not torch.equal(calls[0][2], calls[1][2])


def test_a_single_logit_gives_way_to_a_softmax(tmp_path: Path) -> None:
    study = load_study(None, ["data.size=32", "training.epochs=1"])
    model = Classifier(
        build("small_cnn", classes=1), ["no", "yes"], output="single_logit", target_layer="stage2", name="small_cnn"
    )
    images = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    shown = []

    def track(items: Any, description: str, total: int | None = None) -> Any:
        shown.append((description, total))
        return items

    folder, labels = tmp_path / "permuted", torch.arange(8) % 2
    train_on_permuted_labels(study, model, DataRandomization(), images, labels, folder, track)
    assert shown == [("training on permuted labels", 2)]
    network = checkpoint.load(folder)
    assert (network.output, network.classes, network.known_target_layer) == ("softmax", ("no", "yes"), "stage2")


def test_a_checkpoint_gets_a_network_of_its_own_architecture(study: Study, tmp_path: Path) -> None:
    given = other_network(tmp_path / "given")
    settings = [f"model.checkpoint={given}", "model.architecture=resnet18", "training.epochs=1"]
    run = run_study(load_study(None, [*CHECK, *settings]), tmp_path / "run")
    description = run.read_json("permuted/model.json")
    assert (description["architecture"], description["std"]) == ("small_cnn", [0.5])
    assert not run.has("model")


def test_a_given_network_is_taken_as_it_is(store: Store, tmp_path: Path) -> None:
    given = other_network(tmp_path / "given", metrics={"training_accuracy": 0.75})
    settings = [
        *(*CHECK, f"model.checkpoint={store.path / 'model'}"),
        *("explain.methods=[gradient]", f"evaluate.checks.data_randomization.checkpoint={given}"),
    ]
    run = run_study(load_study(None, settings), tmp_path / "run")
    assert not run.has("permuted")
    found = run.read_json("provenance.json")
    assert found["permuted"]["training_accuracy"] == 0.75
    assert found["permuted"]["weights"] == checkpoint.fingerprint(checkpoint.load(given).module)
    assert found["checks"] == {"data_randomization": "DataRandomization(seed=0)"}
    assert str(tmp_path) not in json.dumps(found)
    assert report_contents(run).config["evaluate"]["checks"]["data_randomization"]["checkpoint"] == "given"
    scores = run.read_table("scores.parquet").set_index("metric")["value"]
    assert (scores["permuted_spearman"] < 0.9).all()


def test_a_network_that_is_not_there_wastes_no_training(tmp_path: Path, never_trained: None) -> None:
    missing = load_study(None, [*CHECK, f"evaluate.checks.data_randomization.checkpoint={tmp_path / 'nowhere'}"])
    with pytest.raises(MedsaliencyError, match="nowhere: expected a checkpoint folder"):
        run_study(missing, tmp_path / "run")
    assert not (tmp_path / "run").exists()
