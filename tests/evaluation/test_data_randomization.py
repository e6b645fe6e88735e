from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.gradient import Gradient
from medsaliency.evaluation import data_randomization
from medsaliency.evaluation.check import compare
from medsaliency.evaluation.data_randomization import DataRandomization, network_for
from medsaliency.evaluation.similarity import SIMILARITIES
from medsaliency.model.checkpoint import load, save
from medsaliency.model.classifier import Classifier
from medsaliency.model.execution import Execution
from medsaliency.model.probe import Probe
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError

SIZE = 32
NAMES = ["ssim", "spearman", "hog"]


def network(seed: int = 0, classes: str = "ab", channels: int = 1, size: int | None = SIZE) -> Classifier:
    module = build("small_cnn", classes=len(classes), channels=channels, seed=seed)
    return Classifier(module, list(classes), channels=channels, size=size, name="small_cnn")


def saved(folder: Path, classifier: Classifier) -> str:
    save(classifier, folder / "permuted", architecture="small_cnn")
    return str(folder / "permuted")


def probe_of(classifier: Classifier, images: int = 3) -> Probe:
    return Probe(classifier, torch.rand(images, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)))


def gradient(probe: Probe) -> Tensor:
    return Gradient()(probe, [])


def pixels(probe: Probe) -> Tensor:
    """A method that ignores the model."""
    return probe.images[:, 0]


def check(folder: str, probe: Probe, explain: Callable[[Probe], Tensor]):
    return DataRandomization(folder)(probe, explain, explain(probe), [])


def baseline(name: str, own: Tensor) -> float:
    """Over the three pairs of three images."""
    return float(np.mean([s.value for s in compare(SIMILARITIES[name], own[[0, 0, 1]], own[[1, 2, 2]])]))


def test_its_measures() -> None:
    measures = DataRandomization().measures
    assert [m.name for m in measures] == [f"permuted_{name}{end}" for name in NAMES for end in ("", "_margin")]
    assert [m.higher_is_better for m in measures] == [False, True] * 3


@pytest.mark.parametrize("explain", [gradient, pixels])
def test_where_the_labels_changed_nothing_no_method_passes(explain, tmp_path: Path) -> None:
    # The same weights, or a method that ignores them: similarity 1.
    classifier = network()
    probe = probe_of(classifier)
    other = classifier if explain is gradient else network(seed=1)
    scores = check(saved(tmp_path, other), probe, explain)
    for name in NAMES:
        assert [s.value for s in scores[f"permuted_{name}"]] == pytest.approx([1] * 3)
        expected = baseline(name, explain(probe).abs()) - 1
        assert expected < -0.01
        assert [s.value for s in scores[f"permuted_{name}_margin"]] == pytest.approx([expected] * 3)


def test_other_weights_give_what_a_direct_computation_gives(tmp_path: Path) -> None:
    other = network(seed=1)
    probe = probe_of(network())
    scores = check(saved(tmp_path, other), probe, gradient)
    assert list(scores) == [measure.name for measure in DataRandomization().measures]
    own, again = gradient(probe).abs(), gradient(Probe(other, probe.images, probe.objects)).abs()
    for name in NAMES:
        expected = [s.value for s in compare(SIMILARITIES[name], own, again)]
        assert max(expected) < 0.9
        margins = [baseline(name, own) - value for value in expected]
        assert [s.value for s in scores[f"permuted_{name}"]] == pytest.approx(expected, abs=1e-5)
        assert [s.value for s in scores[f"permuted_{name}_margin"]] == pytest.approx(margins, abs=1e-5)


def test_a_map_that_only_turns_its_sign_has_not_changed(tmp_path: Path) -> None:
    probe = probe_of(network())

    def turned(other: Probe) -> Tensor:
        return pixels(other) if other.classifier is probe.classifier else -pixels(other)

    scores = check(saved(tmp_path, network(seed=1)), probe, turned)
    assert [s.value for name in NAMES for s in scores[f"permuted_{name}"]] == pytest.approx([1] * 9)


def test_targets_layer_and_execution_are_those_of_the_model_explained(tmp_path: Path) -> None:
    other = network(seed=1)
    other.module.head[2].weight.data.neg_()
    classifier = network()
    classifier.use_layer("stage2")
    classifier.execution = Execution(2, "contiguous")
    probe = probe_of(classifier)
    seen = []

    def spy(changed: Probe) -> Tensor:
        seen.append(changed)
        return GradCAM(sign="signed")(changed, [])

    DataRandomization(saved(tmp_path, other))(probe, spy, pixels(probe), [])
    (changed,) = seen
    assert changed.objects == probe.objects
    # For this to mean something, the other network must predict another class.
    assert Probe(changed.classifier, probe.images).objects != probe.objects
    assert changed.classifier.known_target_layer == "stage2"
    assert changed.classifier.execution == classifier.execution


def test_a_network_is_read_once_for_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = saved(tmp_path, network(seed=1)), []

    def spy(path: str, **given: str) -> Classifier:
        read.append(path)
        return load(path, **given)

    monkeypatch.setattr(data_randomization, "load", spy)
    classifier = network()
    for explain in (gradient, pixels):
        for images in (2, 3):
            check(folder, probe_of(classifier, images), explain)
    assert read == [folder]
    # Another classifier may come with another network in the same folder.
    assert network_for(network(), folder) is not network_for(classifier, folder)
    assert read == [folder] * 3


def test_one_image_alone_has_no_margin(tmp_path: Path) -> None:
    scores = check(saved(tmp_path, network(seed=1)), probe_of(network(), images=1), gradient)
    assert scores["permuted_ssim"][0].reason == ""
    assert scores["permuted_ssim_margin"][0].reason == "one image only, so no other to compare with"


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"classes": "ba"}, r"classes \['b', 'a'\], 1 channel\(s\) and size 32"),
        ({"channels": 3}, r"3 channel\(s\) and size 32"),
        ({"size": 64}, "size 64"),
    ],
    ids=["classes", "channels", "size"],
)
def test_a_network_of_something_else_is_refused(other, found, tmp_path: Path) -> None:
    folder = saved(tmp_path, network(**other))
    with pytest.raises(MedsaliencyError, match=rf"{found}, the model has \['a', 'b'\], 1 and 32; train it"):
        check(folder, probe_of(network()), gradient)


def test_a_size_that_is_not_known_fits(tmp_path: Path) -> None:
    assert network_for(network(size=None), saved(tmp_path, network())).size == SIZE


def test_without_a_network_it_says_how_to_give_one(tmp_path: Path) -> None:
    probe = probe_of(network())
    with pytest.raises(MedsaliencyError, match=r"got none; give checkpoint=FOLDER, or ask for the check in a study"):
        DataRandomization()(probe, gradient, gradient(probe), [])
    with pytest.raises(MedsaliencyError, match="expected a checkpoint folder"):
        check(str(tmp_path / "nowhere"), probe, gradient)


def test_maps_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    probe = probe_of(network())
    found = DataRandomization(saved(tmp_path, network(seed=1)))
    with pytest.raises(MedsaliencyError, match=r"data_randomization: expected maps of shape \(3, 32, 32\)"):
        found(probe, pixels, torch.zeros(2, SIZE, SIZE), [])
    with pytest.raises(MedsaliencyError, match=r"got \(1, 32, 32\)"):
        found(probe, lambda _: torch.zeros(1, SIZE, SIZE), pixels(probe), [])


def test_what_it_says_of_itself_names_no_place() -> None:
    assert repr(DataRandomization("somewhere", seed=3)) == "DataRandomization(seed=3)"
    assert replace(DataRandomization(), checkpoint="somewhere") == DataRandomization("somewhere")
