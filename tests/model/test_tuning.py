from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model import tuning
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import PIXELS, Execution
from medsaliency.model.tuning import Tuning, cache_folder, tune
from medsaliency.types import MedsaliencyError

IMAGES = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
Cost = Callable[[int, bool, bool], float]
"""Seconds of a pass of so many images, in the contiguous format or not, in bfloat16 or not."""


class Log(list[tuple[int, bool, bool]]):
    """Passes, kept in one list whatever copies of the network make them."""

    now = 0.0

    def __deepcopy__(self, memo: object) -> Log:
        return self


class Timed(nn.Module):
    """A small network whose forward pass takes the time that ``cost`` says, by a clock of its own."""

    def __init__(self, cost: Cost, *, seed: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.head = nn.Linear(4 * 4, 2)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.cost = cost
        self.passes = Log()
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append((len(x), x.is_contiguous(), torch.is_autocast_enabled("cpu")))
        self.passes.now += self.cost(*self.passes[-1])
        return self.head(self.pool(self.conv(x).relu()).flatten(1))


class TimedVolumes(Timed):
    """The same of volumes."""

    def __init__(self, cost: Cost) -> None:
        super().__init__(cost)
        self.conv = nn.Conv3d(2, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool3d((1, 2, 2))


class ViewingVolumes(TimedVolumes):
    """Flattens its input with ``view``, which refuses channels-last memory."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.view(len(x), -1)[:, :2]


class Viewing(Timed):
    """Flattens with ``view``, which refuses channels-last memory."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        return self.head(self.pool(self.conv(x)).relu().view(len(x), -1))


def classifier_of(module: Timed, monkeypatch: pytest.MonkeyPatch, **arguments: int) -> Classifier:
    """A classifier in front of a clock that only its passes move."""
    monkeypatch.setattr(tuning, "time", SimpleNamespace(perf_counter=lambda: module.passes.now))
    return Classifier(module, ["a", "b"], channels=2, **arguments)


def steady(images: int, contiguous: bool, low: bool) -> float:
    """The same for every image, whatever the setting."""
    return float(images)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (steady, Execution()),
        (lambda n, contiguous, low: n * (0.5 if contiguous else 1), Execution(memory_format="contiguous")),
        (lambda n, contiguous, low: n * (0.91 if contiguous else 1), Execution()),
        (lambda n, contiguous, low: n * (2 if n > 8 else 1), Execution(batch_size=8)),
        (lambda n, contiguous, low: n * (1.1 if n > 8 else 1), Execution()),
        (lambda n, contiguous, low: n * n * (0.5 if contiguous else 1), Execution(4, "contiguous")),
    ],
    ids=["all alike", "format", "format within a tenth", "size", "size within a tenth", "both"],
)
def test_only_a_clearly_faster_setting_replaces_the_current_one(
    cost: Cost, expected: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = classifier_of(Timed(cost), monkeypatch)
    found = tune(classifier, IMAGES, exact=True)
    assert found.execution == classifier.execution == expected
    assert found.spearman == {"gradients": None, "scores": None}


@pytest.mark.parametrize("size", [4, 16, 64])
def test_the_current_size_is_what_others_must_beat(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = classifier_of(Timed(steady), monkeypatch, batch_size=size)
    assert tune(classifier, IMAGES, exact=True).execution.batch_size == size
    overhead = classifier_of(Timed(lambda n, *_: 8.0 + n), monkeypatch, batch_size=size)
    assert tune(overhead, IMAGES, exact=True).execution.batch_size == max(size, 32)


def test_seconds_are_an_images_in_passes_full_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Timed(lambda n, *_: 8.0 + n)
    found = tune(classifier_of(module, monkeypatch), IMAGES, exact=True)
    assert found.seconds == {
        "channels_last, float32, 8 images": pytest.approx(2.0),
        "contiguous, float32, 8 images": pytest.approx(2.0),
        "channels_last, float32, 32 images": pytest.approx(1.25),
        "channels_last, float32, 16 images": pytest.approx(1.5),
        "channels_last, float32, 4 images": pytest.approx(3.0),
    }
    # After five of one or two images, to see that they fit the module, and what can be folded, three passes of each
    # setting, the first of which warms up.
    assert [n for n, *_ in module.passes[:5]] == [1, 1, 1, 2, 2]
    assert sorted(n for n, *_ in module.passes[5:]) == [4] * 3 + [8] * 6 + [16] * 3 + [32] * 3


def test_large_images_are_tried_in_sizes_that_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIXELS, "cpu", 700)  # ten of these images
    module = Timed(steady)
    assert tune(classifier_of(module, monkeypatch), IMAGES, exact=True).execution.batch_size == 10
    assert {n for n, *_ in module.passes[5:]} == {4, 8, 10}


def test_a_module_that_needs_the_contiguous_format_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Viewing(steady)
    found = tune(classifier_of(module, monkeypatch), IMAGES, exact=True)
    assert found.execution.memory_format == "contiguous"
    assert all(label.startswith("contiguous") for label in found.seconds)


@pytest.mark.parametrize(("share", "expected"), [(0.5, "channels_last"), (0.95, "contiguous"), (2.0, "contiguous")])
def test_of_volumes_channels_last_is_tried_and_must_be_clearly_faster(
    share: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = torch.rand(2, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    classifier = classifier_of(TimedVolumes(lambda n, contiguous, low: n * (1 if contiguous else share)), monkeypatch)
    found = tune(classifier, volumes, exact=True)
    assert found.execution.memory_format == classifier.execution.memory_format == expected
    assert {label.split(",")[0] for label in found.seconds} == {"channels_last", "contiguous"}


def test_a_module_of_volumes_that_needs_the_contiguous_format_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = torch.rand(2, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    found = tune(classifier_of(ViewingVolumes(steady), monkeypatch), volumes, exact=True)
    assert all(label.startswith("contiguous") for label in found.seconds)


@pytest.mark.usefixtures("native")
def test_bfloat16_is_judged_on_volumes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = torch.rand(2, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    found = tune(classifier_of(TimedVolumes(halved), monkeypatch), volumes)
    assert all(spearman is not None and 0.5 < spearman <= 1 for spearman in found.spearman.values())


def halved(images: int, contiguous: bool, low: bool) -> float:
    """Half the time in bfloat16."""
    return images * (0.5 if low else 1.0)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that declares bfloat16."""
    monkeypatch.setattr(tuning, "bfloat16_pays", lambda device: True)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("spearman", "precision"), [(1.0, "bfloat16"), (0.999, "bfloat16"), (0.9989, "float32"), (float("nan"), "float32")]
)
@pytest.mark.parametrize("kind", ["scores", "gradients"])
def test_bfloat16_is_taken_only_where_ranks_are_kept(
    spearman: float, precision: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {tuning.KINDS[kind]: spearman}
    monkeypatch.setattr(tuning, "_correlation", lambda *arguments: measured.get(arguments[-1], 0.5))
    classifier = classifier_of(Timed(halved), monkeypatch)
    found = tune(classifier, IMAGES)
    field = {"scores": "precision", "gradients": "gradient_precision"}[kind]
    assert found.execution == Execution(**{field: precision})  # type: ignore[arg-type]
    assert found.spearman.pop(kind) == pytest.approx(spearman, nan_ok=True)
    assert list(found.spearman.values()) == [0.5]
    assert found.seconds["channels_last, bfloat16, 32 images"] == 0.5
    assert found.seconds["scores, channels_last, bfloat16, 32 images"] == 0.5


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("exact", [True, False])
def test_bfloat16_is_not_compared_where_ruled_out_or_not_faster(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Timed(halved if exact else steady)
    found = tune(classifier_of(module, monkeypatch), IMAGES, exact=exact)
    assert found.execution == Execution()
    assert found.spearman == {"gradients": None, "scores": None}
    assert found.exact is exact
    assert any(low for *_, low in module.passes) is not exact  # ruled out, it does not run at all


def test_bfloat16_is_not_tried_where_the_hardware_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "bfloat16_pays", lambda device: False)
    module = Timed(halved)
    assert tune(classifier_of(module, monkeypatch), IMAGES).execution == Execution()
    assert not any(low for *_, low in module.passes)


@pytest.mark.parametrize("name", tuning.KINDS)
def test_the_correlation_is_that_of_both_precisions(name: str) -> None:
    classifier = Classifier(Timed(steady), ["a", "b"], channels=2)
    kind = tuning.KINDS[name]
    full, low = Execution(), kind.lowered(Execution())
    assert tuning._correlation(classifier, IMAGES, full, full, kind) == pytest.approx(1)
    found = tuning._correlation(classifier, IMAGES, full, low, kind)
    assert 0.5 < found < 1
    # Behind these weights every score is the same and every gradient zero: there are no ranks to compare.
    with torch.no_grad():
        classifier.module.head.weight.zero_()
    with pytest.warns(RuntimeWarning, match="constant"):
        assert not tuning._correlation(classifier, IMAGES, full, low, kind) >= 0


def test_bfloat16_is_for_passes_in_bulk_only() -> None:
    module = Timed(steady)
    classifier = Classifier(module, ["a", "b"], channels=2, target_layer="conv")
    plain = (classifier.logits(IMAGES), *classifier.scores_and_gradients(IMAGES, [0, 1, 0]))
    activations = classifier.features(IMAGES, [0, 1, 0]).activations
    classifier.execution = Execution(precision="bfloat16", gradient_precision="bfloat16")
    module.passes.clear()
    assert torch.equal(classifier.logits(IMAGES), plain[0])
    classifier.probabilities(IMAGES)
    classifier.backward(IMAGES, [0, 1, 0], to_layer=True)
    classifier.features(IMAGES, [0, 1, 0])
    classifier.scores_from_layer(IMAGES[:1], activations, 0)
    classifier.scores(IMAGES, [0, 1, 0], precise=True)
    assert len(module.passes) >= 6
    assert not any(low for *_, low in module.passes)
    module.passes.clear()
    scores, gradients = classifier.scores_and_gradients(IMAGES, [0, 1, 0])
    classifier.scores(IMAGES, [0, 1, 0])
    assert [low for *_, low in module.passes] == [True, True]
    assert scores.dtype == gradients.dtype == torch.float32
    assert not torch.equal(gradients, plain[2])
    assert float((gradients - plain[2]).norm() / plain[2].norm()) < 0.2
    module.passes.clear()
    classifier.execution = Execution(precision="bfloat16")
    classifier.scores(IMAGES, [0, 1, 0])
    classifier.scores_and_gradients(IMAGES, [0, 1, 0])
    assert [low for *_, low in module.passes] == [True, False]


def test_the_clock_of_the_machine_will_do() -> None:
    classifier = Classifier(Timed(steady), ["a", "b"], channels=2)
    found = tune(classifier, IMAGES)
    assert all(0 < seconds < 1 for seconds in found.seconds.values())
    assert classifier.execution == found.execution
    assert json.loads(json.dumps(found.to_dict()))["execution"]["batch_size"] == found.execution.batch_size


@pytest.mark.parametrize("passes", [1, 2, 9])
def test_the_setting_is_as_it_was_where_something_raises(passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(*_: object) -> float:
        if len(module.passes) >= passes:
            raise ValueError("broken on purpose")
        return 1.0

    module = Timed(cost)
    classifier = classifier_of(module, monkeypatch, batch_size=4)
    before = classifier.execution
    with pytest.raises(ValueError, match="broken on purpose"):
        tune(classifier, IMAGES)
    assert classifier.execution == before


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"expected images of shape \(N, 2, H, W\)"):
        tune(Classifier(Timed(steady), ["a", "b"], channels=2), IMAGES[:, :1])


def test_what_was_found_is_found_again_without_a_pass(tmp_path: Path) -> None:
    first = tune(Classifier(Timed(steady), ["a", "b"], channels=2), IMAGES, cache=tmp_path / "new")
    module = Timed(steady)
    classifier = Classifier(module, ["a", "b"], channels=2)
    again = tune(classifier, IMAGES[:1], cache=tmp_path / "new")
    assert again == first
    assert isinstance(again, Tuning)
    assert classifier.execution == first.execution
    assert module.passes == []
    assert len(list((tmp_path / "new").iterdir())) == 1  # no unfinished file beside it


def test_weights_size_exactness_and_the_current_setting_have_their_own(tmp_path: Path) -> None:
    def files(seed: int = 1, side: int = 8, exact: bool = False, batch_size: int = 32) -> int:
        classifier = Classifier(Timed(steady, seed=seed), ["a", "b"], channels=2, batch_size=batch_size)
        tune(classifier, IMAGES[:, :, :side], exact=exact, cache=tmp_path)
        return len(list(tmp_path.iterdir()))

    counts = [files(), files(), files(seed=2), files(side=6), files(exact=True), files(batch_size=4)]
    assert counts == [1, 1, 2, 3, 4, 5]


def test_a_torn_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = classifier_of(Timed(steady), monkeypatch)
    first = tune(classifier, IMAGES, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text('{"execution": {"batch')
    assert tune(classifier, IMAGES, cache=tmp_path) == first
    assert json.loads(file.read_text())["seconds"] == first.seconds


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    classifier = Classifier(Timed(steady), ["a", "b"], channels=2)
    assert tune(classifier, IMAGES, cache=tmp_path / "file" / "tuning").execution == classifier.execution


def test_the_place_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("MEDSALIENCY_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "tuning"
    monkeypatch.delenv("MEDSALIENCY_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "medsaliency" / "tuning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "medsaliency" / "tuning"
