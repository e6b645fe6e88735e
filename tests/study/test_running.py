"""How a study's model runs, and what of it is explained: set, measured, recorded and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import medsaliency
from medsaliency.evaluation.lesion_auprc import LesionAUPRC
from medsaliency.model.execution import Execution
from medsaliency.model.targets import Contrast, Probability, Target
from medsaliency.model.tuning import Tuning, cache_folder
from medsaliency.study import pipeline, shard
from medsaliency.study.config import Study, load_study
from medsaliency.study.ledger import unseal
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store

FOUND = Tuning(Execution(4, "contiguous"), {"contiguous, float32, 4 images": 0.25}, None, exact=True)
Run = Callable[..., Store]


@pytest.fixture
def run(small_run: Store, tmp_path: Path) -> Run:
    """A study of seconds with the small run's model, three images, and the settings given."""

    def run(*settings: str) -> Store:
        study = load_study(
            None,
            [
                *("data.size=64", "data.options={training: 24, evaluation: 24}", "explain.images=3"),
                *("explain.methods=[gradient, random]", "evaluate.metrics=[pointing_game]", "statistics.draws=100"),
                f"model.checkpoint={small_run.path / 'model'}",
                *settings,
            ],
        )
        return run_study(study, tmp_path / "run")

    return run


def fails(*_: object, **__: object) -> Tuning:
    raise AssertionError("nothing is measured")


def model_of(store: Store) -> dict[str, object]:
    return dict(store.read_json("provenance.json")["model"])


def test_what_was_measured_is_kept_and_recorded(small_run: Store) -> None:
    found = small_run.read_json("tuning.json")
    assert set(found["seconds"]) >= {"channels_last, float32, 8 images", "contiguous, float32, 8 images"}
    assert all(seconds > 0 for seconds in found["seconds"].values())
    model = model_of(small_run)
    assert model["tuning"] == found
    assert model["execution"] == {**found["execution"], "exact": False}
    assert set(small_run.read_json("provenance.json")["seconds"]) >= {"tuning", "explaining and evaluating"}


def test_a_run_that_goes_on_runs_as_it_began(
    small_path: Path, small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_path, tmp_path / "run")
    begun = {**json.loads((tmp_path / "run/tuning.json").read_text()), "execution": asdict(Execution(5, "contiguous"))}
    (tmp_path / "run/tuning.json").write_text(json.dumps(begun))
    unseal(Store(tmp_path / "run"))  # as of a run that is not finished: else it would be damage
    monkeypatch.setattr(pipeline, "tune", fails)
    store = run_study(small_study, tmp_path / "run")
    assert model_of(store)["execution"] == {**begun["execution"], "exact": False}
    assert model_of(store)["tuning"] == begun


def test_images_of_the_study_are_measured_as_the_settings_say(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def tune(_classifier: object, images: torch.Tensor, *, exact: bool, cache: Path) -> Tuning:
        asked.append((tuple(images.shape), exact, cache))
        return FOUND

    monkeypatch.setattr(pipeline, "tune", tune)
    store = run("explain.exact=true", "explain.micro_batch=2")
    assert asked == [((3, 1, 64, 64), True, cache_folder())]
    assert store.read_json("tuning.json") == asdict(FOUND)
    # What is given wins over what was measured.
    assert model_of(store)["execution"] == {**asdict(Execution(2, "contiguous")), "exact": True}


def test_without_tuning_nothing_is_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "tune", fails)
    store = run(
        "explain.tune=false",
        "explain.memory_format=contiguous",
        "explain.precision=bfloat16",
        "explain.gradient_precision=bfloat16",
    )
    assert not store.has("tuning.json")
    model = model_of(store)
    assert model["tuning"] is None
    assert model["execution"] == {**asdict(Execution(32, "contiguous", "bfloat16", "bfloat16")), "exact": False}


def test_checks_and_tuned_overlaps_stand_among_the_scores(run: Run) -> None:
    store = run(
        "evaluate.metrics=[lesion_overlap]",
        "evaluate.checks={equivariance: {}, max_sensitivity: {samples: 2}}",
        "explain.images=6",
    )
    scores = store.read_table("scores.parquet")
    named = ["lesion_iou", "lesion_iou_tuned", "lesion_dice", "lesion_dice_tuned"]
    assert scores["metric"].unique().tolist()[:4] == named
    assert {"flip_consistency", "shift_consistency", "max_sensitivity"} < set(scores["metric"])
    assert (scores.groupby("metric").size() == 6 * 2).all()
    assert ((scores["reason"] == "") == scores["value"].notna()).all()
    kinds = store.read_table("timings.parquet").groupby("kind")["name"].unique().map(sorted).to_dict()
    assert kinds["check"] == ["equivariance", "max_sensitivity"]
    assert "samples=2" in store.read_json("provenance.json")["checks"]["max_sensitivity"]
    against = store.read_table("statistics/against_controls.parquet")
    assert set(against["metric"]) == set(named)  # a check has its own yardstick, which random is not
    # A random map is the same whatever is shown, so it never follows a flip; and it never moves either.
    random = scores[scores["method"] == "random"].groupby("metric")["value"].mean()
    assert abs(random["flip_consistency"]) < 0.1
    assert random["max_sensitivity"] == 0


def test_lesions_are_compared_on_native_pixels(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Spy(LesionAUPRC):
        def __call__(self, probe, maps, rngs):
            sizes = [geometry.native_size for geometry in probe.geometries]
            seen.append(list(zip(sizes, probe.lesions, strict=True)))
            return super().__call__(probe, maps, rngs)

    monkeypatch.setattr(shard, "make_metric", lambda *_: Spy())
    run("evaluate.metrics=[lesion_auprc]")
    assert seen
    assert all(lesion is None or tuple(lesion.shape) == size for batch in seen for size, lesion in batch)


@pytest.mark.parametrize("score", ["probability", "contrast"])
def test_what_is_explained_is_the_score_that_was_asked_for(small_run: Store, run: Run, score: str) -> None:
    store = run(f"explain.score={score}")
    classifier = medsaliency.load(small_run.path)
    images = torch.from_numpy(np.asarray(store.maps().group["image"]))
    targets: list[Target] = []
    for row in classifier.probabilities(images):
        first, second = row.argsort(descending=True)[:2].tolist()
        targets.append(Contrast(first, second) if score == "contrast" else Probability(first))
    expected = medsaliency.explain(classifier, images, targets, "gradient")["gradient"]
    found = torch.from_numpy(np.asarray(store.maps().group["maps/gradient"]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    logits = medsaliency.explain(classifier, images, methods="gradient")["gradient"]
    assert not torch.allclose(found, logits, rtol=1e-2)
    chosen = store.read_table("scores.parquet").groupby("sample")["target"].unique()
    assert chosen.map(list).tolist() == [[target.index] for target in targets]
