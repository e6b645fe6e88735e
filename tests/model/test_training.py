from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from medsaliency.model import training
from medsaliency.model.classifier import Classifier
from medsaliency.model.small_cnn_3d import SmallCNN3D
from medsaliency.model.training import Epoch, Training, augment, train
from medsaliency.model.zoo import build
from medsaliency.types import MedsaliencyError

STILL = Training(flip=False, rotation=0, zoom=0, shift=0)


def task(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Class 1 has a bright upper half, class 0 a bright lower half."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = 0.3 * torch.rand(count, 1, 16, 16, generator=draw)
    images[labels == 1, :, :8] += 0.6
    images[labels == 0, :, 8:] += 0.6
    return images, labels


def small(seed: int = 0) -> Classifier:
    return Classifier(build("small_cnn", classes=2, seed=seed), ["lower", "upper"], mean=0.5, std=0.25)


def test_a_trivial_task_is_learned_in_a_few_steps() -> None:
    classifier = small()
    steps: list[str] = []

    def track(items, description, total=None):
        for item in items:
            steps.append(f"{description} of {total}")
            yield item

    history = train(classifier, *task(64, 0), *task(32, 1), Training(epochs=6, batch_size=16, patience=6), track)
    assert history[-1].validation_accuracy == 1
    assert history[-1].training_loss < history[0].training_loss
    assert steps == ["training of 24"] * 24
    images, labels = task(32, 2)
    assert torch.equal(classifier.logits(images).argmax(dim=1), labels)
    assert not classifier.module.training


def test_volumes_are_learned_from_too() -> None:
    def volumes(count: int, seed: int) -> tuple[Tensor, Tensor]:
        images, labels = task(count, seed)
        return images[:, :, None].repeat(1, 1, 8, 1, 1), labels

    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(SmallCNN3D(2), ["lower", "upper"], mean=0.5, std=0.25)
    history = train(classifier, *volumes(32, 0), *volumes(16, 1), Training(epochs=6, batch_size=8, patience=6))
    assert history[-1].validation_accuracy == 1


def test_a_volume_is_turned_in_the_plane_of_its_last_axes_and_shifted_along_all() -> None:
    volume = torch.rand(1, 1, 5, 9, 9, generator=torch.Generator().manual_seed(0))
    slices = volume[0].transpose(0, 1)  # each slice as an image
    how = replace(STILL, rotation=30, flip=True)
    turned = augment(volume, how, torch.Generator().manual_seed(1))
    for slice_, found in zip(slices, turned[0, 0], strict=True):
        expected = augment(slice_[None], how, torch.Generator().manual_seed(1))[0, 0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(turned, volume)
    bright = torch.zeros(64, 1, 9, 9, 9)
    bright[:, :, 4, 4, 4] = 1
    moved = augment(bright, replace(STILL, shift=0.3), torch.Generator().manual_seed(1))[:, 0]
    centers = [moved.sum(dim=tuple({1, 2, 3} - {axis})).argmax(dim=1) for axis in (1, 2, 3)]
    assert all(len(center.unique()) > 3 for center in centers)
    assert not torch.equal(centers[0], centers[1])
    assert not torch.equal(centers[0], centers[2])


def test_the_same_seed_trains_the_same_weights_bit_for_bit() -> None:
    def run(seed: int) -> tuple[list[Epoch], dict[str, Tensor]]:
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(784, 2))
        module.load_state_dict(start)
        classifier = Classifier(module, ["lower", "upper"])
        history = train(classifier, *task(32, 0), *task(16, 1), Training(epochs=2, batch_size=8, seed=seed))
        return history, module.state_dict()

    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(784, 2))
    start = module.state_dict()
    (history, weights), (again_history, again), (_, other) = run(0), run(0), run(1)
    assert history == again_history
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["4.weight"], other["4.weight"])


def test_the_global_random_state_is_untouched() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(small(), *task(16, 0), *task(8, 1), Training(epochs=1, batch_size=8))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_early_stopping_keeps_the_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.5, 0.4, 0.6, 0.45, 0.1])
    seen: list[Tensor] = []

    def validate(classifier: Classifier, images: Tensor, labels: Tensor) -> tuple[float, float]:
        seen.append(classifier.module.state_dict()["head.2.weight"].clone())
        return next(losses), 0.5

    monkeypatch.setattr(training, "_validate", validate)
    classifier = small()
    history = train(classifier, *task(16, 0), *task(8, 1), Training(epochs=5, batch_size=8, patience=2))
    assert [epoch.validation_loss for epoch in history] == [0.5, 0.4, 0.6, 0.45]
    assert torch.equal(classifier.module.state_dict()["head.2.weight"], seen[1])
    assert not torch.equal(seen[1], seen[3])


def test_waiting_begins_in_the_second_half(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.05, 0.05])
    monkeypatch.setattr(training, "_validate", lambda *_: (next(losses), 0.5))
    history = train(small(), *task(16, 0), *task(8, 1), Training(epochs=8, batch_size=8, patience=2))
    assert len(history) == 6


def test_a_loss_that_is_not_a_number_says_where() -> None:
    images, labels = task(16, 0)
    images[:, :, 0, 0] = math.nan
    with pytest.raises(MedsaliencyError, match=r"loss became nan at step 1; lower training.learning_rate"):
        train(small(), images, labels, *task(8, 1), Training(epochs=1, batch_size=8))


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match="at least 2 training and 1 validation images, got 1 and 8"):
        train(small(), *task(1, 0), *task(8, 1), Training())
    with pytest.raises(MedsaliencyError, match="got 8 and 0"):
        train(small(), *task(8, 0), *task(0, 1), Training())
    classifier = Classifier(build("small_cnn", classes=1), ["no", "yes"], output="single_logit")
    with pytest.raises(MedsaliencyError, match="expected a classifier with softmax output, got 'single_logit'"):
        train(classifier, *task(8, 0), *task(8, 1), Training())


@pytest.mark.parametrize(("epochs", "count"), [(1, 4), (1, 8), (1, 12), (1, 16), (3, 4), (2, 8)])
def test_few_steps_make_a_schedule_too(epochs: int, count: int) -> None:
    images, labels = torch.rand(count, 1, 16, 16), torch.arange(count) % 2
    made = small()
    history = train(made, images, labels, images, labels, Training(epochs=epochs, batch_size=4))
    assert len(history) == epochs


def test_fewer_images_than_a_batch_still_train() -> None:
    history = train(small(), *task(6, 0), *task(2, 1), Training(epochs=2, batch_size=32))
    assert len(history) == 2


@given(height=st.integers(8, 20), width=st.integers(8, 20), channels=st.integers(1, 3), seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_augmentation_without_limits_is_the_identity(height: int, width: int, channels: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(2, channels, height, width, generator=draw)
    torch.testing.assert_close(augment(images, STILL, draw), images, rtol=0, atol=1e-5)


def test_a_flip_mirrors_left_and_right_about_half_of_the_images() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(200, 1, 4, 4)
    out = augment(image, replace(STILL, flip=True), torch.Generator().manual_seed(0))
    mirrored = (out - image.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-4
    kept = (out - image).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert bool((mirrored ^ kept).all())
    assert 70 < int(mirrored.sum()) < 130


def test_augmentation_differs_by_image_and_stays_within_its_limits() -> None:
    image = torch.zeros(50, 1, 41, 41)
    image[:, :, 20, 20] = 1
    out = augment(image, replace(STILL, shift=0.1), torch.Generator().manual_seed(0))
    centers = torch.stack(
        [(out * torch.arange(41.0)[:, None]).sum(dim=(1, 2, 3)), (out * torch.arange(41.0)).sum(dim=(1, 2, 3))]
    ) / out.sum(dim=(1, 2, 3))
    assert float((centers - 20).abs().max()) <= 0.1 * 41 + 1e-3
    assert len(torch.unique(centers[0])) == 50


def test_rare_classes_weigh_more_and_the_mean_weight_is_one() -> None:
    labels = torch.tensor([0] * 9 + [1])
    weights = training._class_weights(labels, 3)
    assert float(weights[1] / weights[0]) == pytest.approx(3)
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert bool(torch.isfinite(weights).all())


@pytest.mark.parametrize(
    "parameters",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"patience": 0},
        {"learning_rate": 0},
        {"label_smoothing": 1},
        {"label_smoothing": -0.1},
        {"weight_decay": -1},
        {"rotation": -1},
        {"zoom": -0.1},
        {"zoom": 1.0},
        {"shift": -0.1},
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(MedsaliencyError, match="training: expected epochs, batch_size and patience >= 1"):
        Training(**parameters)
