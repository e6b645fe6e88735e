"""How the machines of a cluster are shared among workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from medsaliency.study.engines.local import BYTES, ON_A_GPU

Node = Mapping[str, float]
"""What a machine has, by Ray's names: CPU, GPU and memory (bytes). What is not named is not there."""


@dataclass(frozen=True)
class Share:
    """What one worker has of its machine.

    Args:
        cpus: Cores, and threads of a pass on a CPU.
        gpus: Part of a GPU.
        memory: Bytes that are set aside for it.
    """

    cpus: int
    gpus: float = 0
    memory: int = 0

    def __str__(self) -> str:
        return f"{self.cpus} CPUs" + (f" and {self.gpus:g} GPU" if self.gpus else "")

    def room(self, nodes: Sequence[Node]) -> int:
        """How many such workers the machines have room for."""
        needs = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return sum(min(int(node.get(kind, 0) / needed) for kind, needed in needs.items() if needed) for node in nodes)


def share(nodes: Sequence[Node], *, gpus: bool, limit: int | None) -> Share:
    """What one worker has, where as many work as the machines have room for.

    Args:
        nodes: The machines.
        gpus: Whether workers are on GPUs, :data:`~medsaliency.study.engines.local.ON_A_GPU` on each, or one on each
            core.
        limit: Most workers, which then have the cores of all to share; None to let cores, GPUs and memory decide.
    """
    memory = BYTES if limit is None else 0
    least = Share(0, 1 / ON_A_GPU, memory) if gpus else Share(1, 0, memory)
    wanted = max(1, least.room(nodes) if limit is None else min(limit, least.room(nodes)))
    while (more := replace(least, cpus=least.cpus + 1)).room(nodes) >= wanted:
        least = more
    return least
