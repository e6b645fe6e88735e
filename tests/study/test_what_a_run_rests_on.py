"""What a kept part rests on has to be what it was: else it is made anew, or the run is refused, but never believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsaliency import cli
from medsaliency.data.dataset import EVALUATION, TRAINING, VALIDATION, Dataset, Record
from medsaliency.model import checkpoint
from medsaliency.report.contents import nothing
from medsaliency.study import classifier as training
from medsaliency.study import pipeline, usage
from medsaliency.study.classifier import LEFT_OUT
from medsaliency.study.config import load_study
from medsaliency.study.engines import Found
from medsaliency.study.engines.local import Local
from medsaliency.study.ledger import seal, sealed
from medsaliency.study.log import read
from medsaliency.study.permuted_labels import permutation_of
from medsaliency.study.pipeline import run_study
from medsaliency.study.predicting import read_each, stamp
from medsaliency.study.reading import load_data
from medsaliency.study.store import Store
from medsaliency.study.verify import verify
from medsaliency.study.work import Explanation, Lost, Packed, Setup, Task
from medsaliency.types import MedsaliencyError

BASE = (
    "data.size=32",
    "data.options={training: 24, evaluation: 12}",
    "training.epochs=1",
    "explain.images=4",
    "explain.batch_size=2",
    "explain.methods=[gradient, edge, random]",
    "evaluate.metrics=[gini, lesion_auprc]",
    "evaluate.random_draws=2",
    "statistics.draws=100",
    "statistics.permutations=100",
    "report.cases=2",
)
Run = Callable[..., Store]


class Losing(Local):
    """Loses the tasks that it is told of, as if every worker had ended over them."""

    def __init__(self, lost: Callable[[Task], bool]) -> None:
        super().__init__(1)
        self.lost = lost

    def run(self, setup: Setup, tasks: Iterable[Task], count: int) -> Iterator[Found]:
        given = list(tasks)
        kept = [task for task in given if not self.lost(task)]
        yield from (Lost(task, "its worker ended twice") for task in given if self.lost(task))
        yield from super().run(setup, kept, len(kept))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    study = load_study(None, BASE)
    training.train_model(study, load_data(study), folder)
    return folder


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Run:
    own = tmp_path / "model"
    shutil.copytree(model, own)

    def run(*changes: str, name: str = "run", engine: Local | None = None, strict: bool = False) -> Store:
        study = load_study(None, [*BASE, f"model.checkpoint={own}", *changes])
        return run_study(study, tmp_path / name, engine=engine, strict=strict)

    return run


def shards(store: Store) -> list[int]:
    """How many parts were computed of each shard since the last start."""
    events = list(read(store.path / "log.jsonl"))
    last = max(place for place, event in enumerate(events) if event["event"] == "start")
    return [event["computed"] for event in events[last:] if event["event"] == "shard"]


def test_a_stamp_tells_of_boxes_and_of_voxels_in_a_file_of_their_own(tmp_path: Path) -> None:
    header, voxels = tmp_path / "a.mhd", tmp_path / "other.raw"
    voxels.write_bytes(bytes(4))
    header.write_text(
        "ObjectType = Image\nNDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = other.raw\n"
    )
    record = Record("a", 0, "a", image=header)
    before = stamp(record)
    voxels.write_bytes(bytes(5))
    assert stamp(record) != before
    assert stamp(replace(record, boxes=((0, 0, 1, 1),))) != stamp(record)
    voxels.unlink()
    assert stamp(record), "that the voxels are gone is told when the image is read"


def test_other_preprocessing_of_the_same_weights_is_refused(run: Run, tmp_path: Path) -> None:
    run()
    path = tmp_path / "model" / "model.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "mean": [0.123]}))
    with pytest.raises(MedsaliencyError, match="begun with another preprocessing; choose another --output"):
        run()


def test_another_kind_of_device_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(Local, "device", lambda *_: "cuda")
    with pytest.raises(MedsaliencyError, match="begun with another device"):
        run()


def test_a_run_that_was_made_on_a_device_that_is_not_here_is_reported(run: Run) -> None:
    store = run()
    text = (store.path / "study.yaml").read_text()
    assert "device: null" in text
    (store.path / "study.yaml").write_text(text.replace("device: null", "device: cuda:7"))
    pipeline.results.write_statistics(store)
    with pytest.raises(MedsaliencyError, match="cannot be used here"):
        load_study(store.path / "study.yaml")


@pytest.mark.parametrize("strict", [False, True])
def test_a_lost_shard_takes_nothing_from_what_was_there(run: Run, strict: bool) -> None:
    store = run()
    before = store.read_table("scores.parquet")
    more = "explain.methods=[gradient, edge, random, center_gaussian]"
    losing = Losing(lambda task: isinstance(task, Explanation))
    if strict:
        with pytest.raises(MedsaliencyError, match="its worker ended twice"):
            run(more, engine=losing, strict=True)
        return
    run(more, engine=losing)
    scores = store.read_table("scores.parquet")
    pd.testing.assert_frame_equal(scores[scores["method"] != "center_gaussian"].reset_index(drop=True), before)
    assert scores.loc[scores["method"] == "center_gaussian", "value"].isna().all()
    assert set(store.read_table("failures.parquet")["kind"]) == {"worker"}
    assert np.isnan(store.maps().map("center_gaussian", 0)).all()
    run(more)
    assert shards(store) == [1 + 2] * 2, "the method that was lost, and its two metrics"
    whole = run(more, name="fresh")
    pd.testing.assert_frame_equal(store.read_table("scores.parquet"), whole.read_table("scores.parquet"))


def test_a_study_of_which_every_shard_is_lost_ends_and_can_be_done_again(run: Run) -> None:
    store = run(engine=Losing(lambda task: isinstance(task, Explanation)))
    assert store.read_table("scores.parquet")["value"].isna().all()
    assert (store.path / "report.html").is_file()
    run()
    assert store.read_table("failures.parquet").empty
    assert (store.path / "scores.parquet").read_bytes() == (run(name="fresh").path / "scores.parquet").read_bytes()


@pytest.mark.parametrize("split", [VALIDATION, EVALUATION])
def test_a_split_of_which_every_batch_is_lost_is_asked_again(run: Run, split: str) -> None:
    def of_split(task: Task) -> bool:
        return not isinstance(task, Explanation) and task.records[0].split == split

    if split == EVALUATION:
        with pytest.raises(MedsaliencyError, match="expected evaluation images, got none"):
            run(engine=Losing(of_split))
    else:
        store = run(engine=Losing(of_split))
        assert set(store.read_table("failures.parquet")["stage"]) == {"calibrating"}
    assert run().read_table("failures.parquet").empty


def test_how_the_model_runs_is_measured_again_where_another_exactness_is_asked_for(run: Run) -> None:
    store = run("explain.exact=false")
    assert store.read_json("tuning.json")["exact"] is False
    run("explain.exact=true")
    assert store.read_json("tuning.json")["exact"] is True
    run("explain.tune=false")
    assert not store.has("tuning.json")


def test_labels_that_are_permuted_otherwise_train_another_network(run: Run) -> None:
    check = "evaluate.checks={{data_randomization: {{seed: {}}}}}"
    store = run(check.format(0))
    assert permutation_of(str(store.path / "permuted")) == 0
    first = store.read_json("provenance.json")
    run(check.format(1))
    assert permutation_of(str(store.path / "permuted")) == 1
    assert store.read_json("provenance.json") != first
    fresh = run(check.format(1), name="fresh")
    pd.testing.assert_frame_equal(store.read_table("scores.parquet"), fresh.read_table("scores.parquet"))


@pytest.mark.parametrize("name", ["maps.zarr/maps/edge/zarr.json", "maps.zarr/image/zarr.json", "maps.zarr/zarr.json"])
def test_a_description_that_is_gone_is_made_again(run: Run, name: str) -> None:
    store = run()
    (store.path / name).unlink()
    assert not verify(store.path).whole
    run()
    assert verify(store.path).whole
    assert (store.path / "scores.parquet").read_bytes() == (run(name="fresh").path / "scores.parquet").read_bytes()


@pytest.mark.parametrize("name", ["tuning.json", "permuted/model.json", "networks.parquet"])
def test_what_a_run_would_go_on_with_is_not_believed_when_damaged(run: Run, name: str) -> None:
    check = "evaluate.checks={data_randomization: {}}"
    store = run(check)
    if name == "networks.parquet":
        store.write_table(name, nothing("networks"))
        seal(store)
    before = (store.path / "scores.parquet").read_bytes()
    (store.path / name).write_bytes((store.path / name).read_bytes()[:-9])
    run(check)
    damaged = [event["file"] for event in read(store.path / "log.jsonl") if event["event"] == "damaged"]
    assert damaged == [name]
    assert verify(store.path).whole
    assert (store.path / "scores.parquet").read_bytes() == before


def cli_report(store: Store, *more: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["medsaliency", "report", str(store.path), *(more or ("--no-figures",))])
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def test_a_report_does_not_say_that_a_run_is_whole_that_is_not(run: Run) -> None:
    store = run()
    assert cli_report(store) == 0
    assert verify(store.path).whole
    with pytest.MonkeyPatch.context() as patch:

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(pipeline.results, "gather", stop)
        with pytest.raises(pipeline.Stopped):
            run("explain.target=label")
    assert sealed(store) is None
    assert cli_report(store) == 0
    assert not verify(store.path).whole


def test_a_report_that_fails_leaves_a_finished_run_finished(run: Run, tmp_path: Path) -> None:
    store = run()
    assert cli_report(store, "--with", str(tmp_path / "nowhere")) == 2
    assert verify(store.path).whole


def test_a_damaged_figure_is_not_taken_for_whole(run: Run) -> None:
    store = run()
    assert cli_report(store, "--figures") == 0
    figure = sorted((store.path / "figures").glob("*.svg"))[0]
    whole = figure.read_bytes()
    figure.write_bytes(whole[:-1])
    run()
    assert verify(store.path).whole
    assert not figure.exists()
    assert cli_report(store, "--figures") == 0
    assert figure.exists()


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_damaged_images_whose_worker_is_lost_are_still_damaged(run: Run, how: str) -> None:
    store = run()
    image = store.path / "maps.zarr" / "image" / "c" / "1" / "0" / "0" / "0"
    whole = image.read_bytes()
    image.write_bytes(whole[:-1]) if how == "cut" else image.unlink()
    run(engine=Losing(lambda task: isinstance(task, Explanation)))
    run()
    assert image.read_bytes() == whole
    assert verify(store.path).whole


def test_maps_of_other_settings_are_not_taken_for_those_that_a_lost_worker_did_not_make(run: Run) -> None:
    def losing() -> Losing:
        return Losing(lambda task: isinstance(task, Explanation))

    store = run()
    assert np.isfinite(store.maps().map("gradient", 0)).all()
    run("explain.methods={gradient: {sign: absolute}, edge: {}, random: {}}", engine=losing())
    assert np.isnan(store.maps().map("gradient", 0)).all()
    assert np.isfinite(store.maps().map("edge", 0)).all()
    run("explain.target=label", engine=losing())
    assert np.isnan(store.maps().map("edge", 0)).all()


def test_what_failed_of_a_method_is_forgotten_with_it(run: Run) -> None:
    store = run()
    losing = Losing(lambda task: isinstance(task, Explanation))
    run("explain.methods=[gradient, edge, random, center_gaussian]", engine=losing)
    assert len(store.read_table("failures.parquet"))
    run()
    assert store.read_table("failures.parquet").empty
    assert shards(store) == []


def test_an_image_that_the_permuted_network_was_not_taught_is_told_every_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = Dataset.sample

    def broken(dataset: Dataset, record: Record, *given: object) -> object:
        if record.id == dataset.of(TRAINING)[0].id:
            raise OSError("torn")
        return sample(dataset, record, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Dataset, "sample", broken)
    for _ in range(2):
        failures = run("evaluate.checks={data_randomization: {}}").read_table("failures.parquet")
        assert failures[["stage", "kind"]].to_numpy().tolist() == [["training", "image"]]


def test_a_study_where_the_system_does_not_tell_of_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "STATUS", Path("nowhere"))
    timings = run().read_table("timings.parquet")
    assert timings["peak_bytes"].isna().all()
    assert (timings["images"] > 0).all()


def test_a_report_is_not_made_from_damaged_scores(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    store = run()
    table = store.read_table("scores.parquet")
    store.write_table("scores.parquet", table.assign(value=0.5))
    assert cli_report(store) == 2
    assert "scores.parquet: expected it as it was written" in capsys.readouterr().err
    assert not verify(store.path).whole


def test_a_checkpoint_that_is_a_file_is_sent_with_what_belongs_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    (tmp_path / "here" / "net.data").write_bytes(b"weights")
    monkeypatch.setattr(checkpoint, "files_beside", lambda path, _: [path.parent.resolve() / "net.data"])
    (tmp_path / "here" / "net.onnx").write_bytes(b"")
    (tmp_path / "here" / "net.json").write_text("{}")
    (tmp_path / "here" / "else.json").write_text("{}")
    packed = Packed.of(str(tmp_path / "link" / "net.onnx"))
    place = Path(packed.unpack(tmp_path / "there"))
    assert place.name == "net.onnx"
    assert sorted(path.name for path in place.parent.iterdir()) == ["net.data", "net.json", "net.onnx"]


def test_what_failed_in_a_training_that_was_cut_short_is_not_told_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(None, BASE)
    sample = Dataset.sample

    def broken(dataset: Dataset, record: Record, *given: object) -> object:
        if record.split == TRAINING and record.id == dataset.of(TRAINING)[0].id:
            raise OSError("torn")
        return sample(dataset, record, *given)  # type: ignore[arg-type]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as torn:
        torn.setattr(Dataset, "sample", broken)
        torn.setattr(training, "train", stop)
        with pytest.raises(pipeline.Stopped):
            run_study(study, tmp_path / "run")
    assert (tmp_path / "run" / LEFT_OUT["model"]).is_file()
    for _ in range(2):
        assert run_study(study, tmp_path / "run").read_table("failures.parquet").empty


def test_reading_ends_between_images_where_nobody_waits() -> None:
    study = load_study(None, BASE)
    dataset = load_data(study)
    asked = iter([False, False, True])
    samples, unread = read_each(study, dataset, dataset.of(EVALUATION), lambda: next(asked))
    assert (len(samples), unread) == (2, {})
