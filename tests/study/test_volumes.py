"""A study of whole volumes from data to report: maps, lesions and scores in three dimensions, pages of one slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medsaliency.data.dataset import EVALUATION
from medsaliency.model import checkpoint
from medsaliency.study.cases import Strips, cases_of
from medsaliency.study.config import Study, load_study
from medsaliency.study.map_agreement import method_agreement
from medsaliency.study.pipeline import run_study
from medsaliency.study.reading import load_data, read_split
from medsaliency.study.shortcut import marker_shares
from medsaliency.study.store import Store
from medsaliency.types import Sample

SIZE = (16, 18, 17)
METHODS = ("gradient", "grad_cam", "random")
TINY = (
    "data.source=sandbox_volumes",
    "data.size=[16, 18, 17]",
    "data.options={training: 21, evaluation: 6, shortcut_class: extra-axial}",
    "model.architecture=small_cnn_3d",
    "training.epochs=1",
    "training.batch_size=4",
    "explain.images=5",
    "explain.batch_size=3",
    "explain.tune=false",
    "explain.methods={gradient: {sign: absolute}, grad_cam: {}, random: {}}",
    "evaluate.metrics={evidence_curves: {placements: 2}, pointing_game: {}, lesion_auprc: {}, gini: {}}",
    "evaluate.random_draws=2",
    "statistics.draws=100",
    "statistics.permutations=100",
    "statistics.mixed_models=[]",
    "report.cases=4",
)


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(None, TINY)


@pytest.fixture(scope="module")
def run(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """That study, run. Not to be changed."""
    return run_study(study, tmp_path_factory.mktemp("runs") / "volumes")


@pytest.fixture(scope="module")
def explained(study: Study, run: Store) -> list[Sample]:
    """The explained volumes as the dataset has them, in the order of the run."""
    by_id = {sample.id: sample for sample in read_split(study, load_data(study), EVALUATION)}
    return [by_id[name] for name in run.maps().samples]


def test_volumes_lesions_and_maps_are_kept_whole_one_chunk_a_volume(run: Store, explained: list[Sample]) -> None:
    group = run.maps().group
    assert group["image"].shape == (5, 1, *SIZE)
    assert np.array_equal(group["image"][:], np.stack([sample.image for sample in explained]))
    assert np.array_equal(group["lesion"][:], np.stack([sample.lesion for sample in explained]))
    for name in METHODS:
        array = group[f"maps/{name}"]
        assert array.shape == (5, *SIZE)
        assert array.chunks == (1, *SIZE)
        assert np.isfinite(array[:]).all()


def test_scores_are_of_volumes_and_undefined_just_where_there_is_no_lesion(run: Store, explained: list[Sample]) -> None:
    scores = run.read_table("scores.parquet")
    with_lesion = {sample.id for sample in explained if sample.label}
    assert 0 < len(with_lesion) < 5
    for metric in ("hit_rate", "pointing_game", "lesion_auprc"):
        own = scores[scores["metric"] == metric]
        assert len(own) == 5 * len(METHODS)
        assert set(own.loc[own["reason"] == "", "sample"]) == with_lesion
    evidence = scores[scores["metric"] == "evidence"]
    assert evidence["value"].notna().all()


def test_a_case_is_one_slice_that_it_names_the_same_for_all_of_it(
    study: Study, run: Store, explained: list[Sample]
) -> None:
    names = pd.read_csv(run.path / "cases.csv")["sample"]
    by_id = {sample.id: sample for sample in explained}
    cases = cases_of(run, study, 4)
    assert len(cases) == 4
    for number, case in enumerate(cases):
        place = int(case.plane.split()[1]) - 1
        assert case.plane.startswith(f"slice {place + 1} of {SIZE[0]} (")
        assert case.image.shape == (1, *SIZE[1:])
        volume = next(s for s in by_id.values() if np.array_equal(s.image[:, place], case.image))
        assert names[number] == volume.id
        areas = volume.lesion.sum(axis=(1, 2))
        if areas.any():
            assert areas[place] == areas.max()
            assert case.plane.endswith("(largest lesion)")
        else:
            assert case.plane.endswith("(most of the maps)")
        at = list(by_id).index(volume.id)
        for name, saliency in case.maps.items():
            assert np.array_equal(saliency, run.maps().group[f"maps/{name}"][at, place])
        assert all(strip.pictures.shape[1:] == (1, *SIZE[1:]) for strip in case.strips)


def test_strips_are_slices_of_what_the_model_saw(study: Study, run: Store, explained: list[Sample]) -> None:
    classifier = checkpoint.load(run.path / "model")
    strips, group = Strips(run, study), run.maps().group
    targets = run.read_table("scores.parquet").drop_duplicates("sample").set_index("sample")["target"]
    shown = 0
    for at, sample in enumerate(explained):
        maps = {name: group[f"maps/{name}"][at] for name in METHODS}
        for strip in strips(sample.id, sample.image, maps):
            said = classifier.probabilities(torch.from_numpy(strip.pictures))[:, int(targets[sample.id])]
            np.testing.assert_allclose(said.numpy(), strip.scores, atol=0.02)
            shown += 1
    assert shown >= 5


def test_the_report_shows_slices_and_says_which(run: Store) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert page.count(f" of {SIZE[0]} (") == 4


def test_the_marker_of_a_volume_is_found_on_all_slices(run: Store, explained: list[Sample]) -> None:
    marked = run.maps().group["marker"][:]
    assert marked.shape == (5, *SIZE)
    for sample, mask in zip(explained, marked, strict=True):
        assert mask.any() == (sample.label == 2)
        assert not mask.any() or mask.any(axis=(1, 2)).all()
    shares = marker_shares(run, METHODS)
    assert len(shares) == len(METHODS) * sum(sample.label == 2 for sample in explained)
    assert shares["value"].between(0, 1).all()


def test_methods_are_compared_on_whole_maps(run: Store, explained: list[Sample]) -> None:
    patients = {sample.id: sample.patient for sample in explained}
    found = method_agreement(run, METHODS, patients, seed=0, draws=100, level=0.95)
    found = found.set_index(["method", "other"])
    assert found.loc[("gradient", "random"), "images"] == 5
    assert abs(found.loc[("gradient", "random"), "correlation"]) < 0.1


def test_the_example_is_a_study_that_can_be_run() -> None:
    example = load_study(Path(__file__).resolve().parents[2] / "configs" / "sandbox-volumes.yaml")
    assert example.data.source == "sandbox_volumes"
    assert {sample.image.shape for sample in load_data(example).samples(load_data(example).records[:1], 32)} == {
        (1, 32, 32, 32)
    }
