"""Numbers against direct computations on made runs, every refusal, and one pair of real runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from medsaliency.evaluation.agreement import agreement
from medsaliency.study import agreement as module
from medsaliency.study.agreement import compare_runs, left_aside, open_runs
from medsaliency.study.config import dump_study, load_study
from medsaliency.study.pipeline import run_study
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError, generator

from .conftest import SMALL

NAMES = ("d", "a", "c", "b", "e", "f")
PATIENTS = dict(zip(NAMES, "112233", strict=True))
METHODS = ("random", "gradient", "grad_cam")
SIDE = 16
Make = Callable[..., Path]


def noise(*names: str) -> np.ndarray:
    """(H, W), of both signs."""
    return generator(0, *names).normal(size=(SIDE, SIDE)).astype(np.float32)


def lesion_of(name: str) -> np.ndarray:
    """A lesion of another size in each image; none in image ``e``, and no mask of image ``f``."""
    lesion = np.zeros((SIDE, SIDE), bool)
    lesion[: 1 + NAMES.index(name), :5] = name not in "ef"
    return lesion


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes the folder of a run with maps, and whatever else is given, in place of those that it would have."""

    def make(
        run: str,
        *,
        names: Sequence[str] = NAMES,
        maps: dict[str, dict[str, np.ndarray]] | None = None,
        methods: Sequence[str] = METHODS,
        architecture: str = "small_cnn",
        weights: str | None = None,
        classes: Sequence[str] = ("x", "y", "z"),
        targets: dict[str, int] | None = None,
        probabilities: dict[str, tuple[float, ...]] | None = None,
        image: Callable[[str], np.ndarray] = lambda name: noise("image", name)[None],
        lesion: Callable[[str], np.ndarray] = lesion_of,
        settings: Sequence[str] = (),
    ) -> Path:
        folder = tmp_path / run
        folder.mkdir()
        study = load_study(None, [f"explain.methods=[{', '.join(methods)}]", *settings])
        (folder / "study.yaml").write_text(dump_study(study))
        model = {"architecture": architecture, "weights": weights or run}
        (folder / "provenance.json").write_text(json.dumps({"data": {"classes": list(classes)}, "model": model}))
        scores = [
            {"sample": name, "patient": PATIENTS[name], "target": (targets or {}).get(name, 0), "method": method}
            for name in sorted(names)
            for method in methods
        ]
        pd.DataFrame(scores).to_parquet(folder / "scores.parquet")
        rows = [(name, *(probabilities or {}).get(name, (0.7, 0.2, 0.1))) for name in NAMES]
        pd.DataFrame(rows, columns=["sample", "p_0", "p_1", "p_2"]).to_parquet(folder / "predictions.parquet")
        for table in ("curves", "timings", "validation", "draws", "repeats"):
            pd.DataFrame().to_parquet(folder / f"{table}.parquet")
        group = zarr.open_group(folder / "maps.zarr", mode="w", attributes={"samples": list(names)})
        arrays = {
            "image": [image(name) for name in names],
            "lesion": [lesion(name) for name in names],
            "has_lesion": [name != "f" for name in names],
        }
        for method in methods:
            own = (maps or {}).get(method, {})
            arrays[f"maps/{method}"] = [own.get(name, noise(run, method, name)) for name in names]
        for array, parts in arrays.items():
            group.create_array(array, data=np.stack(parts), chunks=(1, *np.shape(parts[0])))
        return folder

    return make


def compare(*paths: Path) -> pd.DataFrame:
    return compare_runs(open_runs(paths))


def row(table: pd.DataFrame, kind: str, method: str, measure: str) -> dict[str, Any]:
    (found,) = table.query("kind == @kind and method == @method and measure == @measure").to_dict("records")
    return found


def direct(measure: str, one: tuple[str, str], other: tuple[str, str], method: str) -> float:
    """A measure of the magnitudes of two maps, each named by its run and image."""
    lesion = None if one[1] == "f" else lesion_of(one[1])
    a, b = (np.abs(noise(run, method, image)) for run, image in (one, other))
    return agreement(a, b, lesion)[measure].value


def test_the_numbers_are_those_of_a_direct_computation(make: Make) -> None:
    # The second has its images in another order, and its own idea of an interval.
    two = make("two", names=sorted(NAMES), settings=["statistics.level=0.1"])
    table = compare(make("one"), two, make("three", architecture="resnet18"))
    kinds = {"repeatability": [("one", "two")], "reproducibility": [("one", "three"), ("two", "three")]}
    order = [(k, m, s) for k in kinds for m in ("gradient", "grad_cam", "random") for s in ("ssim", "spearman", "dice")]
    assert list(table[["kind", "method", "measure"]].itertuples(index=False, name=None)) == order
    for kind, method, measure in order:
        found, pairs = row(table, kind, method, measure), kinds[kind]
        values = {
            name: np.mean([direct(measure, (a, name), (b, name), method) for a, b in pairs])
            for name in NAMES
            if measure != "dice" or name != "e"
        }
        assert (found["images"], found["pairs"]) == (len(values), len(pairs))
        assert found["mean"] == pytest.approx(np.mean(list(values.values())))
        # Of three patients drawn, all are one and the same in 1 of 27 draws: the ends of a 95 % interval.
        by_patient = pd.Series(values).groupby(PATIENTS).mean()
        assert (found["low"], found["high"]) == pytest.approx((by_patient.min(), by_patient.max()))
        runs = {run for pair in pairs for run in pair}
        between = [direct(measure, (run, a), (run, b), method) for run in runs for a, b in permutations(NAMES, 2)]
        assert found["between_images"] == pytest.approx(np.nanmean(between))
        left = (1, "no lesion pixel") if measure == "dice" else (0, "")
        assert (found["left_out"], found["reason"]) == left


def test_a_map_with_its_sign_turned_agrees(make: Make) -> None:
    turned = {method: {name: -noise("one", method, name) for name in NAMES} for method in METHODS}
    table = compare(make("one"), make("two", maps=turned))
    assert table["mean"].tolist() == pytest.approx([1] * 9)
    assert table["between_images"].max() < 0.5


def test_images_whose_classes_differ_are_left_out_of_that_kind_and_counted(make: Make) -> None:
    other = make("three", architecture="resnet18", targets={"a": 2, "c": 1})
    table = compare(make("one"), make("two"), other)
    assert row(table, "repeatability", "gradient", "ssim")["left_out"] == 0
    found = row(table, "reproducibility", "gradient", "ssim")
    assert (found["images"], found["left_out"], found["reason"]) == (4, 2, "different classes")
    pairs = [(run, name) for name in "dbef" for run in ("one", "two")]
    values = [direct("ssim", (run, name), ("three", name), "gradient") for run, name in pairs]
    assert found["mean"] == pytest.approx(np.mean(values))


def test_what_a_class_is_contrasted_with_must_be_the_same(make: Make) -> None:
    contrast = ["explain.score=contrast"]
    # Image a has another runner-up; image c has other probabilities in the same order.
    probabilities = {"a": (0.5, 0.1, 0.4), "c": (0.4, 0.35, 0.25)}
    table = compare(make("one", settings=contrast), make("two", settings=contrast, probabilities=probabilities))
    assert row(table, "repeatability", "gradient", "ssim")["left_out"] == 1


def test_what_is_undefined_is_no_number_and_says_why(make: Make) -> None:
    flat, empty = np.ones((SIDE, SIDE), np.float32), np.full((SIDE, SIDE), np.nan, np.float32)
    maps = {"gradient": {"a": flat, "b": empty, "c": flat}, "grad_cam": dict.fromkeys(NAMES, flat)}
    table = compare(make("one", maps={"grad_cam": maps["grad_cam"]}), make("two", maps=maps))
    found = row(table, "repeatability", "gradient", "spearman")
    assert (found["images"], found["left_out"], found["reason"]) == (3, 3, "a map is constant")
    found = row(table, "repeatability", "grad_cam", "spearman")
    assert (found["images"], found["left_out"], found["reason"]) == (0, 6, "a map is constant")
    assert np.isnan([found[name] for name in ("mean", "low", "high", "between_images")]).all()


def test_one_image_has_a_mean_and_nothing_else(make: Make) -> None:
    found = row(compare(make("one", names="a"), make("two")), "repeatability", "gradient", "spearman")
    assert found["mean"] == pytest.approx(direct("spearman", ("one", "a"), ("two", "a"), "gradient"))
    assert np.isnan([found[name] for name in ("low", "high", "between_images")]).all()


def test_what_not_every_run_has_is_named(make: Make) -> None:
    runs = open_runs([make("one", names="abc", methods=["edge", "gradient"]), make("two", names="bcde")])
    assert compare_runs(runs)["method"].unique().tolist() == ["gradient"]
    assert compare_runs(runs)["images"].max() == 2
    assert left_aside(runs) == [
        "not in every run, so not compared: edge, grad_cam, random",
        "not in every run, so not compared: 3 images",
    ]
    assert left_aside(runs[:1]) == []


def test_at_most_fifty_pairs_of_images_a_run_and_method(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGE_PAIRS", 7)
    seen = []
    monkeypatch.setattr(module, "agreement", lambda *maps: seen.append(maps[:2]) or agreement(*maps))
    runs = open_runs([make("one", methods=["gradient"]), make("two", methods=["gradient"])])
    table = compare_runs(runs)
    assert len(seen) == 2 * 7 + len(NAMES)
    pairs = [tuple(m.tobytes() for m in pair) for pair in seen[:7]]
    assert len(set(pairs)) == 7
    assert all(a != b for a, b in pairs)
    pd.testing.assert_frame_equal(table, compare_runs(runs))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "weights": ({"weights": "one"}, "two: expected other weights than those of .*one, got the same; train"),
    "classes": ({"classes": "xyw"}, r"two: expected the classes to be \['x', 'y', 'z'\], as in .*one, got \['x', 'y',"),
    "score": ({"settings": ["explain.score=probability"]}, "expected explain.score to be logit, .* got probability"),
    "parameters": (
        {"settings": ["explain.methods.gradient.sign=absolute"]},
        r"expected explain.methods.gradient to be \{'sign': 'signed'.*got \{'sign': 'absolute'",
    ),
    "images": (
        {"image": lambda name: noise("image", name)[None] + (name == "b")},
        r"two: expected image \(1, 16, 16\) of 'b' as in .*one, got another \(1, 16, 16\); run the studies",
    ),
    "size": ({"image": lambda _: np.zeros((1, 8, 8))}, r"expected image \(1, 16, 16\) .* got another \(1, 8, 8\)"),
    "lesion": ({"lesion": lambda _: np.ones((SIDE, SIDE), bool)}, "two: expected lesion .* of 'd' as in .*one"),
    "no method": ({"methods": ["edge"]}, "one, .*two: expected at least one method in common, got none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_runs_that_cannot_be_compared_are_refused(case: str, make: Make) -> None:
    other, message = REFUSED[case]
    paths = [make("one"), make("two", **other)]
    with pytest.raises(MedsaliencyError, match=message) as caught:
        open_runs(paths)
    assert "\n" not in str(caught.value)


def test_too_few_runs_other_images_and_unfinished_runs_are_refused(make: Make, tmp_path: Path) -> None:
    one, two = make("one", names="ab"), make("two", names="cd")
    with pytest.raises(MedsaliencyError, match="expected at least one image in common, got none"):
        open_runs([one, two])
    with pytest.raises(MedsaliencyError, match="expected two runs or more, got 1"):
        open_runs([one])
    with pytest.raises(MedsaliencyError, match="expected other weights than those"):
        open_runs([one, one])
    (two / "scores.parquet").unlink()
    with pytest.raises(MedsaliencyError, match=r"expected the folder of a finished study, scores.parquet is missing"):
        open_runs([one, two])


def test_networks_trained_anew_explain_the_same_images(small_run: Store, tmp_path: Path) -> None:
    methods = "explain.methods={random: {}, gradient: {sign: absolute}}"
    again = load_study(None, [*SMALL, methods, "training.seed=1", "explain.tune=false", "evaluate.metrics=[gini]"])
    paths = [small_run.path, run_study(again, tmp_path / "again").path]
    runs = open_runs(paths)
    assert left_aside(runs) == ["not in every run, so not compared: grad_cam, score_cam, smoothgrad"]
    table = compare_runs(runs).set_index(["kind", "method", "measure"]).loc["repeatability"]
    explained = [pd.read_parquet(path / "scores.parquet").groupby("sample")["target"].first() for path in paths]
    same = int((explained[0] == explained[1]).sum())
    assert same > 1
    spearman = table.xs("spearman", level="measure")
    assert spearman["images"].to_dict() == {"gradient": same, "random": same}
    assert spearman["left_out"].to_dict() == {"gradient": 8 - same, "random": 8 - same}
    assert 0 < spearman["mean"]["gradient"] < 0.95
    assert spearman["mean"]["random"] == pytest.approx(1)  # of one seed, and it never looks at the network
