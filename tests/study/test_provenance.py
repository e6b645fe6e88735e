"""What a study's record rests on: hashes that change with what they stand for, and with nothing else."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medsaliency.data.dataset import EVALUATION, Dataset
from medsaliency.model import training as trainer
from medsaliency.model.classifier import Classifier
from medsaliency.model.zoo import build
from medsaliency.study.config import Study, load_study
from medsaliency.study.predicting import sample_digest
from medsaliency.study.provenance import GIVEN, PROCEDURE, code_hash, command, describe, images_hash, training
from medsaliency.study.reading import load_data, read_split
from medsaliency.types import Sample

TINY = ("data.size=32", "data.options={training: 48, evaluation: 12}", "explain.methods=[gradient, random]")


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(None, TINY)


@pytest.fixture(scope="module")
def dataset(study: Study) -> Dataset:
    return load_data(study)


@pytest.fixture(scope="module")
def samples(study: Study, dataset: Dataset) -> list[Sample]:
    return read_split(study, dataset, EVALUATION)[:4]


def network(study: Study, dataset: Dataset) -> Classifier:
    module = build("small_cnn", classes=len(dataset.classes), channels=1, size=32, seed=0)
    return Classifier(module, dataset.classes, channels=1, size=32, name="small_cnn")


@pytest.fixture
def told(study: Study, dataset: Dataset, samples: list[Sample]) -> Callable[..., dict[str, Any]]:
    def tell(
        classifier: Classifier | None = None, explained: list[Sample] | None = None, other: Study | None = None
    ) -> dict[str, Any]:
        own = explained or samples
        digests = {sample.id: sample_digest(sample) for sample in own}
        return describe(other or study, dataset, classifier or network(study, dataset), digests, own[0].image)

    return tell


def test_the_same_study_has_the_same_record(told: Callable[..., dict[str, Any]]) -> None:
    assert json.dumps(told()) == json.dumps(told())


def test_one_pixel_changes_the_images_hash_and_no_other(
    told: Callable[..., dict[str, Any]], samples: list[Sample]
) -> None:
    image = samples[2].image.copy()
    image[0, 5, 7] = np.nextafter(image[0, 5, 7], np.float32(2))
    before, after = told(), told(explained=[*samples[:2], replace(samples[2], image=image), *samples[3:]])
    assert before["data"].pop("images_sha256") != after["data"].pop("images_sha256")
    assert before == after


def test_the_images_hash_is_of_images_and_not_of_their_order(samples: list[Sample]) -> None:
    def hashed(own: list[Sample]) -> str:
        return images_hash({sample.id: sample_digest(sample) for sample in own})

    whole = hashed(samples)
    assert hashed(samples[::-1]) == whole
    assert hashed(samples[1:]) != whole
    assert hashed([replace(samples[0], id="another"), *samples[1:]]) != whole
    tall = replace(samples[0], image=samples[0].image.reshape(1, 16, 64))
    assert hashed([tall, *samples[1:]]) != whole, "the same bytes in another shape are another image"


def test_one_weight_changes_the_weights_hash_and_no_other(
    told: Callable[..., dict[str, Any]], study: Study, dataset: Dataset
) -> None:
    other = network(study, dataset)
    with torch.no_grad():
        next(other.module.parameters()).view(-1)[0] += 1e-3
    before, after = told(), told(other)
    assert before["model"].pop("weights") != after["model"].pop("weights")
    assert before == after


def test_one_line_of_the_source_changes_the_code_hash(tmp_path: Path) -> None:
    def package(name: str, line: str = "x = 1\n", file: str = "a.py") -> Path:
        folder = tmp_path / name
        (folder / "inner").mkdir(parents=True)
        (folder / file).write_text(line)
        (folder / "inner" / "page.html.j2").write_text("<p>")
        return folder

    first = package("first")
    assert code_hash(first) == code_hash(package("elsewhere")), "where it is installed does not count"
    assert code_hash(package("line", "x = 2\n")) != code_hash(first)
    assert code_hash(package("renamed", file="b.py")) != code_hash(first)
    compiled = package("compiled")
    (compiled / "__pycache__").mkdir()
    (compiled / "__pycache__" / "a.pyc").write_bytes(b"0")
    assert code_hash(compiled) == code_hash(first), "what Python makes of it does not count"
    page = package("page")
    (page / "inner" / "page.html.j2").write_text("<b>")
    assert code_hash(page) != code_hash(first), "the report's page is part of the program"


def test_moving_bytes_between_files_changes_the_code_hash(tmp_path: Path) -> None:
    for name, (one, other) in {"left": ("ab", "c"), "right": ("a", "bc")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.py").write_text(one)
        (tmp_path / name / "two.py").write_text(other)
    assert code_hash(tmp_path / "left") != code_hash(tmp_path / "right")


def test_counts_are_of_images_and_of_patients(told: Callable[..., dict[str, Any]], dataset: Dataset) -> None:
    data = told()["data"]
    for split, of_class in data["counts"].items():
        records = dataset.of(split)
        assert sum(of_class.values()) == len(records)
        assert data["patients"][split] == len({record.patient for record in records}) < len(records)
    assert sum(data["patients"].values()) == len({record.patient for record in dataset.records})
    assert data["split"]["validation_if_carved"] == 0.15


def test_nothing_names_a_patient_or_a_folder(
    told: Callable[..., dict[str, Any]], dataset: Dataset, study: Study, tmp_path: Path
) -> None:
    placed = study.model_copy(update={"data": study.data.model_copy(update={"root": str(tmp_path / "someone")})})
    text = json.dumps(told(other=placed))
    assert "patient-" in dataset.records[0].patient
    assert "patient-" not in text
    assert "someone" not in text
    assert str(tmp_path) not in text


def test_training_is_the_recipe_with_the_seed_that_holds() -> None:
    known = training(load_study(None, ["seed=7", "training.epochs=3"]))
    assert isinstance(known, dict)
    assert (known["seed"], known["epochs"], known["initial_weights"]) == (7, 3, "random")
    assert training(load_study(None, ["seed=7", "training.seed=9"]))["seed"] == 9  # type: ignore[index]
    assert training(load_study(None, ["model.checkpoint=given"])) == GIVEN


def test_the_procedure_is_what_training_does() -> None:
    source = inspect.getsource(trainer.train)
    for word, step in {"AdamW": "AdamW(", "one-cycle": "OneCycleLR(", "lowest validation loss": "best_loss"}.items():
        assert word in PROCEDURE
        assert step in source


def test_the_command_has_placeholders_for_places() -> None:
    assert command(load_study(None)) == "medsaliency study study.yaml --output NEW_FOLDER"
    checks = "evaluate.checks={data_randomization: {checkpoint: /secret/permuted}}"
    given = load_study(
        None, ["data.root=/secret/images", "data.source=folder", "model.checkpoint=/secret/model", checks]
    )
    assert command(given) == (
        "medsaliency study study.yaml --data-root FOLDER --set model.checkpoint=CHECKPOINT "
        "--set evaluate.checks.data_randomization.checkpoint=CHECKPOINT --output NEW_FOLDER"
    )


def test_the_command_is_one_that_the_program_reads(tmp_path: Path, study: Study) -> None:
    from typer.testing import CliRunner

    from medsaliency.cli import app
    from medsaliency.study.config import dump_study

    saved = tmp_path / "study.yaml"
    saved.write_text(dump_study(study))
    assert load_study(saved) == study, "study.yaml alone holds every parameter"
    words = command(study).replace("study.yaml", str(tmp_path / "missing.yaml")).split()[1:]
    result = CliRunner().invoke(app, words)
    assert "no such configuration file" in str(result.exception), "the words were read; only the file is missing"
