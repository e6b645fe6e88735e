"""What the model says of a split is asked again for those batches alone whose files changed, or of which one failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from medsaliency.data.dataset import EVALUATION, Record
from medsaliency.study.config import Study
from medsaliency.study.failures import Failure, as_rows, failure_table
from medsaliency.study.log import Log
from medsaliency.study.predicting import BATCH, stamp
from medsaliency.study.stages import Run, ask_again, predicted
from medsaliency.study.store import Store
from medsaliency.study.work import Lost, Outcome, Prediction, Setup, Task
from medsaliency.types import silent

COUNT = 2 * BATCH + 5


class Asked:
    """An engine that notes which batches it is given, answers the last one first, and cannot read some images."""

    name = "noting"

    def __init__(self, unread: Iterable[str] = (), lost: int | None = None) -> None:
        self.unread, self.lost = set(unread), lost
        self.batches: list[list[str]] = []

    def workers(self, tasks: int) -> int:
        return min(1, tasks)

    def device(self, _: Study) -> str:
        return "cpu"

    def run(self, _: Setup, tasks: Iterable[Task], count: int) -> Iterator[Outcome | Lost]:
        given = list(tasks)
        assert len(given) == count
        for task in reversed(given):
            assert isinstance(task, Prediction)
            self.batches.append([record.id for record in task.records])
            if task.number == self.lost:
                yield Lost(task, "its worker ended")
                continue
            read = [record for record in task.records if record.id not in self.unread]
            predictions = pd.DataFrame({"sample": [r.id for r in read], "p_0": [float(len(r.id)) for r in read]})
            images = pd.DataFrame({"sample": [r.id for r in read], "stamp": [stamp(r) for r in read]})
            failed = [r.id for r in task.records if r.id in self.unread]
            failures = failure_table([Failure("predicting", name, "image", "", "", "torn") for name in failed])
            yield Outcome(task.number, {"predictions": predictions, "images": images, "failures": failures})

    def close(self) -> None: ...


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    found = []
    for i in range(COUNT):
        path = tmp_path / f"{i:03d}.png"
        path.write_bytes(bytes([i]))
        found.append(Record(f"image-{i:03d}", 0, f"p{i}", EVALUATION, path))
    return found


@pytest.fixture
def ask(tmp_path: Path, records: list[Record]) -> Iterator[object]:
    (tmp_path / "run").mkdir()
    study = Study()
    with Log(tmp_path / "run" / "log.jsonl") as log:

        def ask(engine: Asked, basis: str = "basis") -> dict[str, pd.DataFrame]:
            run = Run(study, Store(tmp_path / "run"), engine, log, silent)
            return predicted(run, Setup(study, "model"), 1, records, EVALUATION, "predicting", basis)

        yield ask


def test_answers_are_in_the_order_of_the_images_and_are_not_asked_for_twice(ask, records: list[Record]) -> None:
    first = Asked()
    found = ask(first)
    assert [len(batch) for batch in first.batches] == [5, BATCH, BATCH]
    assert found["predictions"]["sample"].tolist() == [record.id for record in records]
    again = Asked()
    kept = ask(again)
    assert again.batches == []
    for kind, table in found.items():
        pd.testing.assert_frame_equal(kept[kind], table)


def test_a_file_that_changed_and_one_that_failed_bring_their_batches_alone(ask, records: list[Record]) -> None:
    torn = records[40].id
    found = ask(Asked([torn]))
    assert [failure.sample for failure in as_rows(found["failures"])] == [torn]
    path = records[-1].image
    assert path is not None
    path.write_bytes(b"another")
    again = Asked()
    found = ask(again)
    assert [batch[0] for batch in again.batches] == [records[2 * BATCH].id, records[BATCH].id]
    assert found["failures"].empty, "what failed and is well now is forgotten"
    assert found["predictions"]["sample"].tolist() == [record.id for record in records]


def test_a_lost_batch_is_told_of_each_image_and_the_others_are_there(ask, records: list[Record]) -> None:
    found = ask(Asked(lost=1))
    failures = as_rows(found["failures"])
    assert [failure.sample for failure in failures] == [record.id for record in records[BATCH : 2 * BATCH]]
    assert {(failure.kind, failure.reason) for failure in failures} == {("worker", "its worker ended")}
    others = [*records[:BATCH], *records[2 * BATCH :]]
    assert found["predictions"]["sample"].tolist() == [record.id for record in others]


def test_another_model_or_a_damaged_table_is_asked_again(ask, tmp_path: Path) -> None:
    ask(Asked())
    other = Asked()
    ask(other, "another basis")
    assert len(other.batches) == 3
    table = tmp_path / "run" / "predictions" / f"{EVALUATION}-images.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    damaged = Asked()
    ask(damaged, "another basis")
    assert len(damaged.batches) == 3


def test_an_image_that_was_another_when_it_was_explained_is_asked_again(ask, tmp_path: Path, records) -> None:
    ask(Asked())
    ask_again(Store(tmp_path / "run"), EVALUATION, [records[BATCH + 1].id])
    again = Asked()
    ask(again)
    assert [batch[0] for batch in again.batches] == [records[BATCH].id]
    last = Asked()
    ask(last)
    assert last.batches == []
