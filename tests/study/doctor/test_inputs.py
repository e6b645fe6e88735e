from __future__ import annotations

import re
import weakref
from dataclasses import replace

import pytest
from torch import Tensor, nn

from medsaliency.data.dataset import Dataset
from medsaliency.model.classifier import Classifier
from medsaliency.study.doctor import examine
from medsaliency.study.doctor.inputs import _trial
from medsaliency.study.doctor.subject import subject


def given(healthy: Classifier, mean: float, std: float) -> Classifier:
    return Classifier(healthy.module, healthy.classes, mean=mean, std=std, size=healthy.size)


def inverted(dataset: Dataset) -> Dataset:
    return replace(dataset, read=lambda record: replace(dataset.read(record), pixels=1 - dataset.read(record).pixels))


def problems(classifier: Classifier, dataset: Dataset) -> set[str]:
    return {
        name
        for name, found in examine(classifier, dataset).findings.items()
        if any(finding.severity == "problem" for finding in found)
    }


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.0, 1.0), (0.5, 0.5), (0.0, 1 / 255), (0.5, 1 / 2048), (0.449, 0.226), (0.0, 255.0)],
    ids=["0..1", "-1..1", "0..255", "-1024..1024", "imagenet", "divided twice"],
)
def test_a_wrong_scale_is_found_by_batch_normalizations_and_the_right_one_named(
    healthy: Classifier, brains: Dataset, mean: float, std: float
) -> None:
    diagnosis = examine(given(healthy, mean, std), brains)
    (finding,) = diagnosis.findings["scaling"]
    # ImageNet's is so near to the right one that images might as well be of another scanner.
    assert finding.severity == ("note" if mean == 0.449 else "problem")
    assert not diagnosis.findings["photometry"]
    named = re.search(r"mean=(-?[\d.]+), std=([\d.]+), by the first batch normalization", finding.expected)
    assert named is not None
    # Trained with 0.25 and 0.2.
    assert float(named[1]) == pytest.approx(0.25, abs=0.05)
    assert float(named[2]) == pytest.approx(0.2, abs=0.03)
    assert f"mean={mean:.6g}, std={std:.6g}" in finding.got
    assert "set the mean and std" in finding.advice


def test_inverted_images_are_found_by_batch_normalizations(healthy: Classifier, brains: Dataset) -> None:
    diagnosis = examine(healthy, inverted(brains))
    (finding,) = diagnosis.findings["photometry"]
    assert finding.severity == "problem"
    assert "black and white exchanged, and the checkpoint's mean and std" in finding.expected
    assert "MONOCHROME1" in finding.advice
    assert not diagnosis.findings["scaling"]


def test_images_both_inverted_and_scaled_are_inverted_first(healthy: Classifier, brains: Dataset) -> None:
    assert "photometry" in problems(given(healthy, 0.5, 0.5), inverted(brains))


def test_other_brightness_and_contrast_as_of_another_scanner_are_no_finding(
    healthy: Classifier, brains: Dataset
) -> None:
    other = replace(
        brains, read=lambda record: replace(brains.read(record), pixels=0.95 * brains.read(record).pixels + 0.02)
    )
    findings = examine(healthy, other).findings
    assert not findings["scaling"]
    assert not findings["photometry"]


def test_a_network_barely_trained_says_nothing_about_its_scale(healthy: Classifier, brains: Dataset) -> None:
    from medsaliency.model.zoo import build

    fresh = build("small_cnn", classes=4)
    assert not problems(Classifier(fresh, brains.classes, size=48), brains)
    for part in fresh.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean += 3.0  # on the way somewhere, after a few steps
            part.num_batches_tracked += 10
    assert "scaling" not in problems(Classifier(fresh, brains.classes, size=48), brains)


def test_without_batch_normalizations_accuracy_tells_the_scale(network, examined) -> None:
    # Bright from 127.5 on: of [0, 1] every image is dark.
    diagnosis = examined(network(threshold=127.5))
    (finding,) = diagnosis.findings["scaling"]
    assert finding.severity == "problem"
    assert finding.expected.startswith("images scaled to [0, 255] (mean=0, std=0.00392157): 32 of 32 images right")
    assert finding.got == "mean=0, std=1: 16 of 32 images right"
    assert not diagnosis.findings["photometry"]
    assert not examined(network(threshold=127.5), std=1 / 255).problems()


def test_without_batch_normalizations_accuracy_tells_inverted_images(network, only, brightness) -> None:
    finding = only("photometry", network(), inverted(brightness))
    assert finding.severity == "problem"
    assert finding.expected.endswith("32 of 32 images right")
    assert finding.got == "images as they are read: 0 of 32 images right"


def test_a_few_images_more_are_no_evidence(network, examined, brightness) -> None:
    dark = {record.id for record in brightness.records if record.label == 0}
    some = set(sorted(dark)[:5])

    def read(record):
        raw = brightness.read(record)
        return replace(raw, pixels=raw.pixels + 0.6 if record.id in some else raw.pixels)

    findings = examined(network(), replace(brightness, read=read)).findings
    assert not findings["scaling"]
    assert not findings["photometry"]


def test_without_labels_that_correspond_nothing_is_said(network, examined) -> None:
    found = examined(network(threshold=127.5), output="sigmoid").findings
    assert not found["scaling"]
    assert not found["photometry"]


def test_images_are_prepared_when_they_are_needed_and_not_kept(brightness: Dataset, network) -> None:
    lent = subject(Classifier(network(), brightness.classes, size=16), brightness, size=None, fit="pad")
    kept: list[weakref.ref[Tensor]] = []

    def scale(images: Tensor) -> Tensor:
        scaled = images * 2
        kept.append(weakref.ref(scaled))
        return scaled

    trial = _trial(lent, "twice", scale, invert=True)
    right = trial.right()
    assert right is not None
    inverse = lent.run(2 * (1 - lent.images)).argmax(dim=1)
    assert right.tolist() == (inverse == lent.labels).tolist()
    assert len(kept) == 2
    assert all(each() is None for each in kept)
