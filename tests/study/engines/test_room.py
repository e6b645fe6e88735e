import pytest

from medsaliency.study.engines.local import BYTES, ON_A_GPU
from medsaliency.study.engines.room import Share, share

ROOMY = 1000 * BYTES


def test_one_worker_a_core() -> None:
    nodes = [{"CPU": 4, "memory": ROOMY}, {"CPU": 2, "memory": ROOMY}]
    each = share(nodes, gpus=False, limit=None)
    assert each == Share(1, 0, BYTES)
    assert each.room(nodes) == 6


def test_memory_decides_where_it_is_short_and_the_workers_share_the_cores() -> None:
    nodes = [{"CPU": 8, "memory": 2.5 * BYTES}]
    each = share(nodes, gpus=False, limit=None)
    assert (each.cpus, each.room(nodes)) == (4, 2)


@pytest.mark.parametrize(("limit", "cpus"), [(1, 8), (2, 8), (3, 4), (4, 4), (5, 2), (16, 1), (99, 1)])
def test_fewer_workers_share_all_cores_of_both_machines(limit: int, cpus: int) -> None:
    nodes = [{"CPU": 8}, {"CPU": 8}]
    assert share(nodes, gpus=False, limit=limit) == Share(cpus)


def test_where_there_are_gpus_workers_are_on_them_alone() -> None:
    nodes = [{"CPU": 16, "GPU": 2, "memory": ROOMY}, {"CPU": 64, "memory": ROOMY}]
    each = share(nodes, gpus=True, limit=None)
    assert each == Share(4, 1 / ON_A_GPU, BYTES)
    assert each.room(nodes) == 2 * ON_A_GPU


def test_a_gpu_of_a_machine_with_too_few_cores_is_used_all_the_same() -> None:
    nodes = [{"CPU": 1, "GPU": 1, "memory": ROOMY}]
    each = share(nodes, gpus=True, limit=None)
    assert (each.cpus, each.room(nodes)) == (0, ON_A_GPU)


def test_without_a_machine_there_is_no_room() -> None:
    each = share([], gpus=False, limit=None)
    assert (each.cpus, each.room([]), each.room([{"object_store_memory": 1.0}])) == (1, 0, 0)


def test_it_says_what_a_worker_needs() -> None:
    assert (str(Share(2)), str(Share(3, 0.5))) == ("2 CPUs", "3 CPUs and 0.5 GPU")
