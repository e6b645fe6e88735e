import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.report.contents import COLUMNS
from medsaliency.study import results
from medsaliency.study.config import Study, load_study
from medsaliency.study.pipeline import Stopped, run_study
from medsaliency.study.reporting import write_report
from medsaliency.study.store import Store
from medsaliency.types import MedsaliencyError

from .conftest import SMALL


def test_the_run_folder_holds_every_product(small_path: Path) -> None:
    names = {str(p.relative_to(small_path)) for p in small_path.rglob("*") if p.is_file() and "maps.zarr" not in str(p)}
    assert {
        "study.yaml", "provenance.json", "splits.csv", "model/model.safetensors", "model/model.json",
        "predictions.parquet", "validation.parquet", "scores.parquet", "curves.parquet", "draws.parquet",
        "repeats.parquet", "timings.parquet", "report.html", "statistics/calibration.json",
        *(f"statistics/{name}.parquet" for name in COLUMNS),
        "statistics/summary.parquet", "statistics/against_controls.parquet", "statistics/exclusions.parquet",
        "statistics/curves.parquet", "statistics/performance.json",
    } <= names  # fmt: skip
    assert not [name for name in names if Path(name).name.startswith(".")]


def test_every_image_method_and_measure_has_a_number_or_a_reason(small_run: Store, small_study: Study) -> None:
    scores = small_run.read_table("scores.parquet")
    measures = results.measures_of(small_study)
    assert len(scores) == 8 * len(small_study.explain.methods) * len(measures)
    assert ((scores["reason"] == "") == scores["value"].notna()).all()
    for name, own in scores.groupby("metric"):
        assert own["value"].dropna().between(*measures[str(name)].bounds).all(), name
    assert set(scores["sample"]) <= set(
        pd.read_csv(small_run.path / "splits.csv").query("split == 'evaluation'")["sample"]
    )
    curve = scores[scores["metric"] == "sic_webp_published"]
    per_image = curve.groupby("sample")["value"].apply(lambda v: v.isna().nunique())
    assert (per_image == 1).all(), "one common image set for all methods"


def test_maps_and_images_are_kept_as_computed(small_run: Store, small_study: Study) -> None:
    group = small_run.maps().group
    assert sorted(group["maps"].array_keys()) == sorted(small_study.explain.methods)
    assert group["image"].shape == (8, 1, 64, 64)
    assert (np.asarray(group["maps/gradient"]) >= 0).all()
    assert np.asarray(group["maps/smoothgrad"]).min() < 0
    assert np.ptp(np.asarray(group["maps/random"])) > 0.9


def test_twice_is_the_same_bit_for_bit(small_path: Path, small_study: Study, tmp_path: Path) -> None:
    again = run_study(small_study, tmp_path / "again")
    statistics = [f"statistics/{name}.parquet" for name in COLUMNS if name != "trust"]  # seconds are in that one
    same = ("scores.parquet", "curves.parquet", "predictions.parquet", "draws.parquet", "model/model.safetensors")
    for name in (*same, *statistics):
        assert (again.path / name).read_bytes() == (small_path / name).read_bytes(), name


def test_another_batch_size_gives_the_same_scores(small_run: Store, tmp_path: Path) -> None:
    other = load_study(None, [*SMALL, "explain.batch_size=5", f"model.checkpoint={small_run.path / 'model'}"])
    scores = run_study(other, tmp_path / "other").read_table("scores.parquet")
    expected = small_run.read_table("scores.parquet")
    keys = ["sample", "method", "metric", "reason", "target"]
    pd.testing.assert_frame_equal(scores[keys], expected[keys])
    np.testing.assert_allclose(scores["value"], expected["value"], atol=1e-4)


def test_a_study_that_stopped_goes_on_where_it_was(
    small_path: Path, small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medsaliency.study import classifier, stages

    keep, trained, kept = stages.keep, [], []

    def stop(*arguments: object) -> object:
        if len(kept) == 1:
            raise KeyboardInterrupt
        kept.append(keep(*arguments))  # type: ignore[arg-type]
        return kept[-1]

    monkeypatch.setattr(stages, "keep", stop)
    with pytest.raises(Stopped, match="run the same command again"):
        run_study(small_study, tmp_path / "run")
    assert [entry.number for entry in kept] == [0]
    first = (tmp_path / "run/ledger/000000.json").stat().st_mtime_ns
    monkeypatch.setattr(stages, "keep", keep)
    monkeypatch.setattr(classifier, "train_model", lambda *_: trained.append(1))
    store = run_study(small_study, tmp_path / "run")
    assert trained == []
    assert (tmp_path / "run/ledger/000000.json").stat().st_mtime_ns == first
    assert (store.path / "scores.parquet").read_bytes() == (small_path / "scores.parquet").read_bytes()


def test_the_report_is_made_from_the_folder_alone(small_run: Store) -> None:
    before = (small_run.path / "report.html").read_text()
    write_report(small_run)
    assert (small_run.path / "report.html").read_text() == before
    assert "</html>" in before
    assert str(small_run.path.parent) not in before
    assert "patient-0" not in before
    cases = pd.read_csv(small_run.path / "cases.csv")
    assert set(cases["sample"]) <= set(small_run.read_table("scores.parquet")["sample"])
    assert f"Case {len(cases)}" in before


def test_provenance_names_what_ran_and_no_place_or_patient(small_run: Store) -> None:
    text = (small_run.path / "provenance.json").read_text()
    found = json.loads(text)
    assert found["methods"]["smoothgrad"] == repr(SmoothGrad(samples=3))
    assert found["model"]["target_layer"] == "stage3"
    assert found["data"]["counts"]["evaluation"] == {"no-lesion": 6, "intra-axial": 6, "extra-axial": 6, "sellar": 6}
    assert "patient-" not in text
    assert str(Path.home()) not in text


def test_a_checkpoint_of_other_classes_is_refused(small_run: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(10):
            from PIL import Image

            Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 40), dtype=np.uint8)).save(
                tmp_path / "data" / name / f"{i}.png"
            )
    study = load_study(
        None, ["data.source=folder", f"data.root={tmp_path / 'data'}", f"model.checkpoint={small_run.path / 'model'}"]
    )
    with pytest.raises(MedsaliencyError, match=r"knows classes \['no-lesion'"):
        run_study(study, tmp_path / "run")
