from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import PIXELS, Execution, bfloat16_pays, over_micro_batches
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


class Owner:
    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.device = torch.device("cpu")


def out_of_memory() -> RuntimeError:
    return torch.OutOfMemoryError("CUDA out of memory")


def no_allocation() -> RuntimeError:
    return RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory")


def runs_up_to(most: int, error: Callable[[], RuntimeError], sizes: list[int]) -> Callable[[slice], list[int]]:
    """Works on slices of at most ``most``, and notes every size that it was asked for."""

    def run(part: slice) -> list[int]:
        sizes.append(part.stop - part.start)
        if sizes[-1] > most:
            raise error()
        return list(range(part.start, part.stop))

    return run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size of at least 1, got 0"),
        ({"memory_format": "channels_first"}, "expected a memory_format of"),
        ({"precision": "float16"}, "a precision of"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        Execution(**changes)  # type: ignore[arg-type]


def test_the_memory_format_is_torchs() -> None:
    assert Execution().format(4) == torch.channels_last
    assert Execution().format(5) == torch.channels_last_3d
    assert [Execution(memory_format="contiguous").format(axes) for axes in (4, 5)] == [torch.contiguous_format] * 2


def test_weights_are_arranged_each_by_its_own_number_of_axes() -> None:
    module = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.Flatten(1, 2), nn.Conv2d(4, 4, 3), nn.Linear(4, 2))
    before = {name: values.clone() for name, values in module.state_dict().items()}
    Execution().arrange(module)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert module[3].weight.is_contiguous(memory_format=torch.channels_last)
    Execution(memory_format="contiguous").arrange(module)
    assert all(values.is_contiguous() for values in module.parameters())
    assert all(torch.equal(values, before[name]) for name, values in module.state_dict().items())


def test_micro_batches_cover_all_in_order() -> None:
    sizes: list[int] = []
    found = over_micro_batches(Owner(4), 10, 64, runs_up_to(100, out_of_memory, sizes))
    assert list(chain(*found)) == list(range(10))
    assert sizes == [4, 3, 3]  # as even as they can be


@pytest.mark.parametrize("error", [out_of_memory, no_allocation])
def test_a_micro_batch_halves_where_memory_runs_out_and_nothing_is_lost(error: Callable[[], RuntimeError]) -> None:
    sizes: list[int] = []
    owner = Owner(16)
    found = over_micro_batches(owner, 11, 64, runs_up_to(3, error, sizes))
    assert list(chain(*found)) == list(range(11))
    assert sizes[:3] == [11, 4, 2]
    assert owner.batch_size == 2
    sizes.clear()
    over_micro_batches(owner, 4, 64, runs_up_to(3, error, sizes))
    assert sizes == [2, 2]  # what was learned is kept


@pytest.mark.parametrize("error", [out_of_memory, no_allocation])
def test_memory_that_does_not_suffice_for_one_image_is_said(error: Callable[[], RuntimeError]) -> None:
    with pytest.raises(MedsaliencyError, match="memory does not suffice for one image of 4,096 pixels"):
        over_micro_batches(Owner(4), 3, 64 * 64, runs_up_to(0, error, []))


def test_other_errors_are_raised_at_once() -> None:
    sizes: list[int] = []
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        over_micro_batches(Owner(4), 3, 64, runs_up_to(0, lambda: RuntimeError("shapes cannot be multiplied"), sizes))
    assert sizes == [3]


@pytest.mark.parametrize(("side", "size"), [(512, 2), (224, 10), (1024, 1), (64, 64)])
def test_large_images_come_in_small_micro_batches(side: int, size: int) -> None:
    sizes: list[int] = []
    over_micro_batches(Owner(64), 640, side * side, runs_up_to(64, out_of_memory, sizes))
    assert max(sizes) == size
    assert size == 1 or size * side * side <= PIXELS["cpu"]


@pytest.mark.parametrize(("sides", "size"), [((64, 64, 64), 2), ((20, 64, 64), 6), ((80, 96, 96), 1)])
def test_volumes_count_with_all_their_voxels(sides: tuple[int, ...], size: int) -> None:
    passes: list[int] = []
    module = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(1, 2))
    module.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    classifier = Classifier(module, ["a", "b"])
    volumes = torch.zeros(1, 1, *sides).expand(6, *(-1,) * 4)
    classifier.logits(volumes)
    assert max(passes) == size
    assert Probe(classifier, volumes).together == size


class Small(nn.Module):
    """A machine on which three images at once are too many."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2:
            raise no_allocation()
        return self.conv(x).relu().mean(dim=(2, 3))


def test_a_classifier_gets_by_with_little_memory() -> None:
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    module = Small()
    classifier = Classifier(module, ["a", "b"], target_layer="conv")
    found = classifier.backward(images, [0, 1, 0, 1, 0, 1, 0], to_layer=True)
    assert classifier.batch_size == 1  # seven were too many, then three
    for i in range(7):
        alone = classifier.backward(images[i : i + 1], [i % 2], to_layer=True)
        torch.testing.assert_close(found.logits[i : i + 1], alone.logits)
        assert found.input_gradients is not None
        assert alone.input_gradients is not None
        torch.testing.assert_close(found.input_gradients[i : i + 1], alone.input_gradients)


def test_bfloat16_pays_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported in (True, False):
        monkeypatch.setattr("medsaliency.model.execution._cpu_has_bfloat16", lambda s=supported: s)
        assert bfloat16_pays(torch.device("cpu")) is supported
    assert not bfloat16_pays(torch.device("meta"))
