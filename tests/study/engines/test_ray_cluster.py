"""On a cluster that was there before: two nodes on this machine."""

import importlib.util
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medsaliency.study.engines.local import Local
from medsaliency.study.work import Outcome, Setup, Task
from medsaliency.types import MedsaliencyError

if importlib.util.find_spec("ray") is None and not os.environ.get("CI"):
    pytest.skip("needs ray: pip install 'medsaliency[ray]'", allow_module_level=True)

from ray.cluster_utils import Cluster

from medsaliency.study.engines import ray as module
from medsaliency.study.engines.ray import Ray

NODE = {"object_store_memory": 100 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **NODE})
        yield cluster
        cluster.shutdown()


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_node_ends_and_another_comes_and_the_results_are_those_of_one_worker_here(
    cluster: Any, setup: Setup, explanations: list[Task], capfd: pytest.CaptureFixture[str]
) -> None:
    # Three times the tasks, so that some are left when a new node is there.
    tasks = [replace(task, number=1000 * turn + task.number) for turn in range(3) for task in explanations]
    expected: dict[int, Outcome] = {
        each.number: each for each in Local(1).run(setup, explanations, 9) if isinstance(each, Outcome)
    }
    node = cluster.add_node(num_cpus=2, **NODE)
    cluster.wait_for_nodes()
    engine = Ray(cluster.address, workers=3)
    capfd.readouterr()
    try:
        assert engine.workers(99) == 3
        found: dict[int, Outcome] = {}
        by: list[int] = []
        raylet = node.all_processes["raylet"][0].process.pid
        removed = False
        for each in engine.run(setup, tasks, len(tasks)):
            if isinstance(each, Outcome):
                assert each.number not in found
                found[each.number] = each
                by.append(each.worker)
                if not removed and parent(each.worker) == raylet:  # one of the two workers of that node
                    cluster.remove_node(node, allow_graceful=False)
                    removed = True
        assert removed
        assert sorted(found) == sorted(task.number for task in tasks)
        for number, outcome in found.items():
            own = expected[number % 1000]
            assert len(own.maps) == 4
            for name, values in own.maps.items():
                assert outcome.maps[name].tobytes() == values.tobytes(), (number, name)
            for name in ("scores", "curves", "draws"):
                assert outcome.tables[name].equals(own.tables[name]), (number, name)
        time.sleep(1)
        assert capfd.readouterr() == ("", "")

        deadline = time.monotonic() + 60
        while engine.workers(99) != 1:  # until the cluster knows that the node is gone
            assert time.monotonic() < deadline
            time.sleep(0.5)
        cluster.add_node(num_cpus=2, **NODE)
        cluster.wait_for_nodes()
        assert engine.workers(99) == 3
        short = [replace(task, cells=()) for task in tasks]
        seen: set[int] = set()
        while not seen - set(by):  # until there is a worker on it
            assert time.monotonic() < deadline + 120
            seen |= {each.worker for each in engine.run(setup, short, len(short)) if isinstance(each, Outcome)}
    finally:
        engine.close()


def test_closing_leaves_the_cluster_and_frees_its_cpus(cluster: Any, setup: Setup, predictions: list[Task]) -> None:
    for _ in range(2):
        engine = Ray(cluster.address, workers=1)
        done = [each for each in engine.run(setup, predictions[:2], 2) if isinstance(each, Outcome)]
        engine.close()
        assert sorted(each.number for each in done) == [0, 1]
    assert cluster.head_node.all_processes["raylet"][0].process.poll() is None


@pytest.mark.parametrize("address", ["localhost", "localhost:port", "http://localhost:80", "x:99999", ""])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(MedsaliencyError, match="expected auto, host:port or ray://host:port"):
        Ray(address)


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
@pytest.mark.parametrize("listens", [False, True])
def test_where_no_cluster_answers_one_line_says_so(
    address: str, listens: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "ANSWER", 3.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        address = address.format(other.getsockname()[1])
        begin = time.monotonic()
        with pytest.raises(MedsaliencyError) as error:
            Ray(address)
        assert time.monotonic() - begin < 10
    assert f"--address {address}: expected a Ray cluster, got " in str(error.value)
    assert ("no answer in 3 s" if listens else "ConnectionRefusedError") in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")
