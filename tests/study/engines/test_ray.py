"""On a cluster of this machine that the engine starts."""

import importlib
import importlib.util
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from medsaliency.model.execution import Execution
from medsaliency.study.config import Study
from medsaliency.study.engines import AHEAD, TRIES, Found
from medsaliency.study.engines.local import Local
from medsaliency.study.estimate import Step
from medsaliency.study.pipeline import run_study
from medsaliency.study.work import Explanation, Lost, Outcome, Setup, Task
from medsaliency.types import MedsaliencyError

if importlib.util.find_spec("ray") is None and not os.environ.get("CI"):
    pytest.skip("needs ray: pip install 'medsaliency[ray]'", allow_module_level=True)

import ray

from medsaliency.study.engines.ray import Ray

WORKERS = 2


class Does:
    """Calls something where it is unpickled, which is in the worker."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.known = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.known


@pytest.fixture(scope="module")
def engine() -> Iterator[Ray]:
    engine = Ray(workers=WORKERS)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def expected(setup: Setup, explanations: list[Task]) -> dict[int, Outcome]:
    return outcomes(Local(1).run(setup, explanations, len(explanations)))


@pytest.fixture
def quick(explanations: list[Task]) -> Callable[[int, object], Explanation]:
    """A task without any part, that may do something to its worker."""

    def make(number: int, what: object = None) -> Explanation:
        first = explanations[number % len(explanations)]
        assert isinstance(first, Explanation)
        return replace(first, number=number, cells=(), maps={"unused": what})  # type: ignore[dict-item]

    return make


def outcomes(found: Iterator[Found]) -> dict[int, Outcome]:
    return {each.number: each for each in found if isinstance(each, Outcome)}


def assert_same(found: dict[int, Outcome], expected: dict[int, Outcome]) -> None:
    assert sorted(found) == sorted(expected)
    for number, own in expected.items():
        other = found[number]
        for arrays, others in ((own.maps, other.maps), (own.images, other.images)):
            assert list(others) == list(arrays)
            for name, values in arrays.items():
                assert (others[name].dtype, others[name].shape) == (values.dtype, values.shape)
                assert others[name].tobytes() == values.tobytes(), (number, name)
        for name in set(own.tables) - {"timings"}:
            assert other.tables[name].equals(own.tables[name]), (number, name)


def test_maps_and_scores_are_those_of_one_worker_here(
    engine: Ray, setup: Setup, explanations: list[Task], expected: dict[int, Outcome]
) -> None:
    count = len(explanations)
    assert engine.workers(count) == WORKERS
    assert engine.workers(1) == 1
    found = list(engine.run(setup, explanations, count))
    assert_same(outcomes(iter(found)), expected)
    assert len(expected[0].maps) == 4
    assert len(expected[0].tables["scores"]) > 0
    steps: list[Step] = []
    for each in found:  # every outcome comes after its own steps
        if isinstance(each, Outcome):
            assert tuple(steps) == each.steps
            steps = []
        else:
            assert isinstance(each, Step)
            steps.append(each)
    values = next(each for each in found if isinstance(each, Outcome)).maps["gradient"]
    values += 0  # it can be written to, as that of any other engine


def test_predictions_are_those_of_one_worker_here(engine: Ray, setup: Setup, predictions: list[Task]) -> None:
    count = len(predictions)
    here = outcomes(Local(1).run(setup, predictions, count))
    assert len(here[0].tables["predictions"]) > 0
    assert_same(outcomes(engine.run(setup, predictions, count)), here)


def test_what_a_killed_worker_had_is_done_again_and_nothing_is_printed(
    engine: Ray,
    setup: Setup,
    explanations: list[Task],
    expected: dict[int, Outcome],
    capfd: pytest.CaptureFixture[str],
) -> None:
    found: dict[int, Outcome] = {}
    killed = None
    for each in engine.run(setup, explanations, len(explanations)):
        if isinstance(each, Outcome):
            found[each.number] = each
            if killed is None:
                killed = each.worker
                os.kill(killed, signal.SIGKILL)
    assert_same(found, expected)
    with pytest.raises(ProcessLookupError):
        os.kill(killed or 0, 0)
    time.sleep(1)  # what Ray has to say of it comes late
    assert capfd.readouterr() == ("", "")


def test_a_task_that_ends_its_worker_every_time_is_lost_and_the_others_are_done(
    engine: Ray, setup: Setup, quick: Callable[..., Explanation]
) -> None:
    tasks = [quick(number, Does(os._exit, 3) if number == 2 else None) for number in range(8)]
    found = list(engine.run(setup, tasks, len(tasks)))
    assert sorted(outcomes(iter(found))) == [0, 1, 3, 4, 5, 6, 7]
    [lost] = [each for each in found if isinstance(each, Lost)]
    assert lost.task is tasks[2]
    assert lost.reason.startswith(f"the worker ended {TRIES} times")
    assert "\n" not in lost.reason


def test_tasks_are_taken_as_they_are_needed_in_the_thread_that_runs(
    engine: Ray, setup: Setup, quick: Callable[..., Explanation]
) -> None:
    taken = []

    def source() -> Iterator[Task]:
        for number in range(12):
            assert threading.current_thread() is threading.main_thread()
            taken.append(number)
            yield quick(number)

    done = 0
    for each in engine.run(setup, source(), 12):
        if isinstance(each, Outcome):
            done += 1
            assert len(taken) - done < AHEAD * WORKERS
    assert done == 12


def test_use_of_the_object_store_does_not_grow_with_the_number_of_tasks(
    engine: Ray, setup: Setup, quick: Callable[..., Explanation]
) -> None:
    size = 2**22

    def used() -> float:
        name = "object_store_memory"
        return ray.cluster_resources()[name] - ray.available_resources().get(name, 0)

    def source() -> Iterator[Task]:
        for number in range(200):
            yield quick(number, np.zeros(size, np.uint8))

    most, done = 0.0, 0
    for each in engine.run(setup, source(), 200):
        if isinstance(each, Outcome):
            done += 1
            if done % 10 == 0:
                most = max(most, used())
    assert done == 200
    assert size <= most <= 3 * AHEAD * WORKERS * size  # of 200 times the size that went through it


def test_an_error_of_the_user_comes_out_as_it_is_and_a_fault_with_its_traceback(
    engine: Ray, setup: Setup, quick: Callable[..., Explanation]
) -> None:
    with pytest.raises(MedsaliencyError) as ours:
        list(engine.run(setup, [quick(0), quick(1, Does(Execution, 0))], 2))
    assert str(ours.value) == "classifier: expected a batch_size of at least 1, got 0"
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*ValueError: invalid literal") as fault:
        list(engine.run(setup, [quick(0), quick(1, Does(int, "x"))], 2))
    assert not isinstance(fault.value, MedsaliencyError)
    assert sorted(outcomes(engine.run(setup, [quick(0), quick(1)], 2))) == [0, 1]  # its workers go on


def test_strict_stops_at_the_first_failure_with_the_line_of_the_local_engine(
    engine: Ray, setup: Setup, explanations: list[Task]
) -> None:
    first = explanations[0]
    assert isinstance(first, Explanation)
    changed = replace(first, digests=("of another image", *first.digests[1:]))
    strict = replace(setup, strict=True)
    with pytest.raises(MedsaliencyError, match="the image changed while the study ran") as here:
        list(Local(1).run(strict, [changed], 1))
    with pytest.raises(MedsaliencyError) as there:
        list(engine.run(strict, [changed], 1))
    assert str(there.value) == str(here.value)


def test_a_checkpoint_that_cannot_be_used_ends_it_with_its_own_line(engine: Ray, setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    wrong = replace(setup, model=str(tmp_path / "model"))
    with pytest.raises(MedsaliencyError, match="expected a checkpoint folder"):
        list(engine.run(wrong, [], 1))


def test_a_study_for_a_gpu_is_refused_where_the_cluster_has_none(engine: Ray, setup: Setup) -> None:
    study = setup.study.model_copy(update={"device": "cuda"})
    with pytest.raises(MedsaliencyError, match="device cuda: expected a GPU, the Ray cluster has none"):
        list(engine.run(replace(setup, study=study), [], 1))


def test_a_whole_study_has_the_files_of_one_done_here(engine: Ray, study: Study, setup: Setup, tmp_path: Path) -> None:
    assert isinstance(setup.model, str)
    whole = study.model_copy(
        update={
            "model": study.model.model_copy(update={"checkpoint": setup.model}),
            "explain": study.explain.model_copy(update={"images": 8, "batch_size": 3, "tune": False}),
        }
    )
    stores = [
        run_study(whole, tmp_path / name, engine=made)
        for name, made in (("one", Local(1)), ("two", Local(2)), ("ray", engine))
    ]
    first = stores[0].path
    arrays = zarr.open_group(first / "maps.zarr", mode="r")
    names = sorted(name for name, _ in arrays.members(max_depth=None))
    assert any("gradient" in name for name in names)
    for other in (store.path for store in stores[1:]):
        for table in ("scores", "curves", "predictions"):
            own = pd.read_parquet(first / f"{table}.parquet")
            assert len(own) > 0
            pd.testing.assert_frame_equal(
                pd.read_parquet(other / f"{table}.parquet").drop(columns="seconds", errors="ignore"),
                own.drop(columns="seconds", errors="ignore"),
                check_exact=True,
            )
        others = zarr.open_group(other / "maps.zarr", mode="r")
        assert sorted(name for name, _ in others.members(max_depth=None)) == names
        for name in names:
            if isinstance(arrays[name], zarr.Array):
                assert others[name][:].tobytes() == arrays[name][:].tobytes(), name


SLOW = """
import pickle, sys, time
from dataclasses import replace
from medsaliency.study.engines.ray import Ray

class Sleeps:
    def __reduce__(self):
        return time.sleep, (600,)

setup, task = pickle.load(open(sys.argv[1], "rb"))
engine = Ray(workers=1)
try:
    slow = [replace(task, number=1 + i, cells=(), maps={"unused": Sleeps()}) for i in range(4)]
    for found in engine.run(setup, [replace(task, cells=()), *slow], 5):
        print(found.worker, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
finally:
    engine.close()
print("closed", flush=True)
"""


def left() -> set[Path]:
    return {path for folder in ("/tmp", tempfile.gettempdir()) for path in Path(folder).glob("medsaliency-ray-*")}


def test_ctrl_c_ends_it_in_five_seconds_and_nothing_is_left(
    setup: Setup, explanations: list[Task], tmp_path: Path
) -> None:
    before = left()
    (tmp_path / "given").write_bytes(pickle.dumps((setup, explanations[0])))
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "given")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all its processes
    begin = time.monotonic()
    told = [process.stdout.readline(), process.stdout.readline()]
    assert time.monotonic() - begin < 5
    assert told == ["interrupted\n", "closed\n"]
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert left() == before


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "medsaliency.study.engines.ray")
    with pytest.raises(MedsaliencyError, match=r'pip install "medsaliency\[ray\]"'):
        importlib.import_module("medsaliency.study.engines.ray")
