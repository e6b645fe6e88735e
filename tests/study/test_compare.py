from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medsaliency.report.comparison import ACCURACY, COLUMNS
from medsaliency.statistics.comparison import summarize
from medsaliency.statistics.performance import performance
from medsaliency.study.compare import as_table, compare_runs, write_comparison
from medsaliency.study.config import load_study
from medsaliency.study.store import NEEDED, Store, write_text
from medsaliency.types import MedsaliencyError

CLASSES = ("benign", "malignant")
METHODS = ("gradient", "grad_cam", "rise", "random")
LEVELS = {"gradient": 0.2, "grad_cam": 0.5, "rise": 0.8, "random": 0.0}
METRICS = ("hit_rate", "pointing_game", "lesion_auprc")
SET = ("statistics.draws=200", "statistics.permutations=1000", "evaluate.metrics=[pointing_game, lesion_auprc]")


@dataclass(frozen=True)
class Made:
    """A made-up run: what its folder says."""

    name: str = "first"
    seed: int = 0
    overrides: Sequence[str] = ()
    methods: Sequence[str] = METHODS
    weights: str = "w" * 64
    fingerprint: str = "f" * 64
    pixels: str = "i" * 64
    images: int = 12
    gain: float = 0.0
    right: float = 0.5
    noise: int = 0

    def write(self, folder: Path) -> Path:
        listed = "[" + ", ".join(self.methods) + "]"
        given = (*SET, f"name={self.name}", f"seed={self.seed}", f"explain.methods={listed}", *self.overrides)
        study = load_study(None, given)
        store = Store.create(folder / self.name, study)
        for needed in NEEDED:
            if needed != "study.yaml":
                write_text(store.path / needed, "")
        scores, predictions = self.scores(), self.predictions()
        store.write_table("scores.parquet", scores)
        store.write_table("predictions.parquet", predictions)
        store.write_json("provenance.json", self.provenance())
        how: dict[str, Any] = {"seed": self.seed, "draws": 200}
        store.write_table("statistics/summary.parquet", summarize(scores, **how))
        store.write_json("statistics/performance.json", performance(predictions, CLASSES, **how))
        store.write_table("statistics/trust.parquet", self.trust())
        return store.path

    def scores(self) -> pd.DataFrame:
        rng = np.random.default_rng(self.noise)
        return pd.DataFrame(
            [
                {
                    "sample": f"image-{image}", "patient": f"patient-{image}", "label": image % 2, "target": image % 2,
                    "method": method, "metric": metric, "value": LEVELS[method] + self.gain + 0.01 * rng.normal(),
                    "reason": "",
                }
                for image in range(self.images)
                for method in self.methods
                for metric in METRICS
            ]
        )  # fmt: skip

    def predictions(self) -> pd.DataFrame:
        images = np.arange(20)
        label = images % 2
        predicted = np.where(images < 20 * self.right, label, 1 - label)
        table = pd.DataFrame({"sample": [f"image-{i}" for i in images], "patient": [f"patient-{i}" for i in images]})
        table["label"], table["predicted"] = label, predicted
        return table.assign(p_0=np.where(predicted == 0, 0.8, 0.2), p_1=np.where(predicted == 1, 0.8, 0.2))

    def provenance(self) -> dict[str, Any]:
        return {
            "medsaliency": "0.1.0",
            "code": "c" * 64,
            "training": {"seed": self.seed},
            "data": {
                "name": "made up", "classes": list(CLASSES), "counts": {"evaluation": {"benign": 10, "malignant": 10}},
                "fingerprint": self.fingerprint, "images_sha256": self.pixels,
            },
            "model": {"architecture": "small_cnn", "weights": self.weights},
        }  # fmt: skip

    def trust(self) -> pd.DataFrame:
        explained = [name for name in self.methods if name != "random"]
        rows = [(name, criterion, "pass") for name in explained for criterion in ("beats_random", "stable", "stable")]
        return pd.DataFrame(rows, columns=["method", "criterion", "verdict"])


FIRST = Made()
SECOND = Made(name="second", seed=1, weights="x" * 64, gain=0.1, right=1.0, noise=1)
Compare = Callable[..., Any]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    return lambda *made: compare_runs([own.write(tmp_path) for own in made])


def rows_of(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[key] == value for key, value in wanted.items()])]


def test_runs_of_the_same_images_are_compared_image_by_image(compare: Compare) -> None:
    found = compare(FIRST, SECOND)
    assert found.runs == {"A": "first", "B": "second"}
    assert found.pairs.to_dict("records") == [
        {"run": "A", "other": "B", "reason": "", "images": 12, "patients": 12, "other_class": 0}
    ]
    row = rows_of(found.differences, metric="lesion_auprc", method="rise").iloc[0]
    own = [
        made.scores().query("metric == 'lesion_auprc' and method == 'rise'")["value"].mean() for made in (FIRST, SECOND)
    ]
    assert row["difference"] == pytest.approx(own[1] - own[0])
    assert (row["verdict"], row["paired"], row["images"], row["reason"]) == ("higher", True, 12, "")
    assert set(rows_of(found.differences, metric="lesion_auprc")["verdict"]) == {"higher"}


def test_accuracy_is_compared_on_all_evaluation_images(compare: Compare) -> None:
    row = rows_of(compare(FIRST, SECOND).differences, metric=ACCURACY).iloc[0]
    assert (row["method"], row["images"], row["patients"], row["verdict"]) == ("", 20, 20, "higher")
    assert row["difference"] == pytest.approx(0.5)


def test_the_means_are_those_of_the_runs_own_summaries(compare: Compare, tmp_path: Path) -> None:
    found = compare(FIRST, SECOND)
    own = Store(tmp_path / "second").read_table("statistics/summary.parquet").set_index(["metric", "method"])
    shown = rows_of(found.means, run="B").set_index(["metric", "method"])
    pd.testing.assert_frame_equal(shown[["mean", "low", "high"]], own.loc[shown.index, ["mean", "low", "high"]])


def test_tables_have_the_columns_that_the_page_reads(compare: Compare) -> None:
    found = compare(FIRST, replace(SECOND, methods=METHODS[:3], overrides=["explain.methods.rise.masks=7"]))
    for name, columns in COLUMNS.items():
        table = getattr(found, name)
        assert list(table) == columns.split(), name
        assert len(table), name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fingerprint": "g" * 64}, "other images, labels, patients or splits"),
        ({"pixels": "j" * 64}, "images of the same names, but not the same images"),
        (
            {"overrides": ["data.size=64", "data.options={seed: 4}"]},
            "images of the same names, but not the same images",
        ),
    ],
)
def test_runs_of_other_images_are_not_tested(compare: Compare, change: dict[str, Any], reason: str) -> None:
    found = compare(FIRST, replace(SECOND, **change))
    assert found.pairs["reason"].tolist() == [reason]
    assert set(found.differences["reason"]) == {reason}
    assert set(found.differences["verdict"]) == {""}
    assert not found.differences["paired"].any()
    means = found.means.set_index(["run", "metric", "method"])["mean"]
    row = rows_of(found.differences, metric="pointing_game", method="rise").iloc[0]
    assert row["difference"] == pytest.approx(means["B", "pointing_game", "rise"] - means["A", "pointing_game", "rise"])
    assert row["low"] < row["difference"] < row["high"]
    assert found.rankings["tau"].tolist() == [1.0] * 3, "rankings need no common image"


def test_another_size_of_the_same_images_is_compared(compare: Compare) -> None:
    found = compare(FIRST, replace(SECOND, pixels="j" * 64, overrides=["data.size=64"]))
    assert found.pairs["reason"].tolist() == [""]
    assert set(rows_of(found.differences, metric="pointing_game")["verdict"]) == {"higher"}


@pytest.mark.parametrize(
    ("override", "metric", "method", "reason"),
    [
        ("explain.methods.rise.masks=7", "lesion_auprc", "rise", "other settings of the method"),
        ("evaluate.metrics.pointing_game.tolerance=0.1", "pointing_game", "gradient", "other settings of the metric"),
        ("explain.target=label", "lesion_auprc", "grad_cam", "other settings of explain.target"),
    ],
)
def test_scores_that_do_not_mean_the_same_are_named_and_not_compared(
    compare: Compare, override: str, metric: str, method: str, reason: str
) -> None:
    found = compare(FIRST, replace(SECOND, overrides=[override]))
    row = rows_of(found.differences, metric=metric, method=method).iloc[0]
    assert row["reason"] == reason
    assert np.isnan(row["difference"])
    assert row["verdict"] == ""
    told = found.settings
    setting = override.split("=")[0].rsplit(".", 1)[-1]
    assert any(str(name).endswith(setting) for name in told["setting"])
    assert rows_of(found.differences, metric=ACCURACY).iloc[0]["verdict"] == "higher", "of the models nothing changed"


def test_a_method_with_other_settings_costs_the_others_nothing(compare: Compare) -> None:
    found = compare(FIRST, replace(SECOND, overrides=["explain.methods.rise.masks=7"]))
    rows = rows_of(found.differences, metric="lesion_auprc").set_index("method")
    assert rows.loc["gradient", "verdict"] == "higher"
    ranking = rows_of(found.rankings, metric="lesion_auprc").iloc[0]
    assert (ranking["methods"], ranking["reason"]) == (2, "methods with a value in both: 2, at least 3 needed")


def test_what_not_every_run_has_is_named(compare: Compare) -> None:
    fewer = replace(
        SECOND, methods=("gradient", "rise"), overrides=["evaluate.metrics=[pointing_game, lesion_auprc, gini]"]
    )
    found = compare(FIRST, fewer)
    assert found.left_out.to_dict("records") == [
        {"kind": "method", "name": "grad_cam", "runs": "A"},
        {"kind": "method", "name": "random", "runs": "A"},
        {"kind": "measure", "name": "gini", "runs": "B"},
    ]
    assert found.methods == ["gradient", "rise"]


def test_measures_read_first_come_first(compare: Compare) -> None:
    found = compare(FIRST, SECOND)
    assert list(found.measures) == ["lesion_auprc", "pointing_game", "hit_rate"]
    assert found.headlines == ["lesion_auprc", "pointing_game"]
    others = [replace(made, overrides=["evaluate.metrics=[gini]"]) for made in (FIRST, SECOND)]
    assert compare(*(replace(made, name=f"{made.name}-2") for made in others)).headlines == ["gini"], "at least one"


def test_images_with_another_class_explained_are_counted(compare: Compare, tmp_path: Path) -> None:
    paths = [made.write(tmp_path) for made in (FIRST, SECOND)]
    store = Store(paths[1])
    scores = store.read_table("scores.parquet")
    scores.loc[scores["sample"].isin(["image-0", "image-1"]), "target"] = 1
    store.write_table("scores.parquet", scores)
    assert compare_runs(paths).pairs["other_class"].tolist() == [1], "image-1 had that class before"


def test_every_two_of_three_runs_are_compared(compare: Compare) -> None:
    third = replace(SECOND, name="third", weights="y" * 64, fingerprint="g" * 64)
    found = compare(FIRST, SECOND, third)
    assert list(zip(found.pairs["run"], found.pairs["other"], strict=True)) == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [bool(reason) for reason in found.pairs["reason"]] == [False, True, True]
    assert len(found.differences) == 3 * (1 + len(METRICS) * len(METHODS))


def test_the_trust_cards_have_one_verdict_a_criterion(compare: Compare) -> None:
    found = compare(FIRST, SECOND)
    assert found.card("B")["rise"] == {"beats_random": "pass", "stable": "pass"}


def test_a_single_run_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="expected two to 26 runs, got 1; name"):
        compare_runs([FIRST.write(tmp_path)])


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    paths = [made.write(tmp_path) for made in (FIRST, SECOND)]
    (paths[1] / "scores.parquet").unlink()
    with pytest.raises(MedsaliencyError, match=r"second: expected the folder of a finished study, scores.parquet"):
        compare_runs(paths)


def test_a_run_without_statistics_says_how_to_make_them(tmp_path: Path) -> None:
    paths = [made.write(tmp_path) for made in (FIRST, SECOND)]
    (paths[1] / "statistics/trust.parquet").unlink()
    with pytest.raises(MedsaliencyError, match=r"trust.parquet is missing; run `medsaliency report .*second`"):
        compare_runs(paths)


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    path = FIRST.write(tmp_path)
    with pytest.raises(
        MedsaliencyError, match=r"expected another run than .* same weights, data, seed and configuration"
    ):
        compare_runs([path, path])
    renamed = replace(FIRST, name="copy", overrides=["report.cases=3"]).write(tmp_path)
    with pytest.raises(MedsaliencyError, match="copy: expected another run"):
        compare_runs([path, renamed])
    assert len(compare_runs([path, replace(FIRST, name="other", seed=3).write(tmp_path)]).runs) == 2


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"methods": ("xrai",)}, "method"), ({"overrides": ["evaluate.metrics=[gini]"]}, "measure")],
)
def test_nothing_in_common_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], kind: str
) -> None:
    monkeypatch.setitem(LEVELS, "xrai", 0.1)
    paths = [made.write(tmp_path) for made in (FIRST, replace(SECOND, **change))]
    with pytest.raises(
        MedsaliencyError, match=f"expected at least one {kind} in common, got none; run the studies with"
    ):
        compare_runs(paths)


def test_the_csv_file_has_a_row_a_pair_measure_and_method(compare: Compare, tmp_path: Path) -> None:
    found = compare(FIRST, SECOND)
    page, table = write_comparison(found, tmp_path / "out" / "comparison.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    read = pd.read_csv(table, keep_default_na=False, na_values=[""])
    assert len(read) == len(found.differences)
    assert read["run"].unique().tolist() == ["A: first"]
    row = read[(read["metric"] == "lesion_auprc") & (read["method"] == "rise")].iloc[0]
    assert row["other_mean"] - row["run_mean"] == pytest.approx(row["difference"])
    accuracy = read[read["metric"] == ACCURACY].iloc[0]
    assert (accuracy["run_mean"], accuracy["other_mean"]) == pytest.approx((0.5, 1.0))
    pd.testing.assert_frame_equal(as_table(found)[["difference"]], read[["difference"]])


@pytest.mark.parametrize("name", ["", "comparison.csv"])
def test_an_output_that_is_no_page_is_refused(compare: Compare, tmp_path: Path, name: str) -> None:
    with pytest.raises(MedsaliencyError, match="expected the name of an HTML file; choose another --output"):
        write_comparison(compare(FIRST, SECOND), tmp_path / name)


def test_no_patient_and_no_folder_leaves_the_runs(compare: Compare, tmp_path: Path) -> None:
    written = write_comparison(compare(FIRST, SECOND), tmp_path / "comparison.html")
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "patient-1" not in text
        assert "image-1" not in text
        assert str(tmp_path) not in text


def test_real_runs_of_two_seeds(small_path: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(small_path, other)
    study = load_study(other / "study.yaml", ["name=other", "training.seed=9"])
    write_text(other / "study.yaml", json.dumps(study.model_dump(mode="json")))
    found = compare_runs([small_path, other])
    tested = found.differences[found.differences["paired"]]
    assert (tested["difference"] == 0).all()
    assert set(tested["verdict"]) == {"not shown"}
    assert (tested["p"] == 1).all()
    known = found.rankings["tau"].dropna()
    assert len(known)
    assert (known > 0.999).all()
    assert write_comparison(found, tmp_path / "comparison.html")[0].stat().st_size < 2_000_000
