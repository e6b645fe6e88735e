from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medsaliency.report.checklists.claim import claim
from medsaliency.report.checklists.item import Item
from medsaliency.report.contents import Contents


def items(contents: Contents) -> Mapping[int, Item]:
    return {int(item.number): item for item in claim(contents).items}


def recorded(contents: Contents, **changes: Any) -> Contents:
    return replace(contents, provenance={**contents.provenance, **changes})


def test_items_say_the_study_s_own_numbers(informed: Contents) -> None:
    found = items(informed)
    for number, words in {
        7: ("brain-mri", "da7a"),
        9: ("128 × 128", "1 channel"),
        10: ("60 of 100 evaluation images", "seed 5"),
        12: ("1,008 of 3,840 scores",),
        19: ("No named patient is in two splits.", "validation 15%", "2,421 images of 803 patients"),
        22: ("resnet18", "11,178,051", "layer4"),
        23: ("medsaliency 0.1.0", "torch 2.9.0", "no GPU"),
        24: ("Random weights", "seed 17"),
        25: ("AdamW", "epochs 15", "learning rate 0.002"),
        26: ("epoch, of 15 at most", "lowest loss"),
        29: ("95% intervals", "2,000 draws", "10,000 permutations", "0.05"),
        31: ("6 methods", "8 measures", "Random and Edge"),
        32: ("100 evaluation images of 41 patients",),
        35: ("Training 2,421 images of 803 patients", "evaluation 100 images of 41 patients"),
        36: ("glioma 1,120", "pituitary 31"),
        37: ("0.906 [0.841, 0.952]",),
        38: ("glioma 0.981 [0.955, 0.997]",),
        39: ("9 of 100 evaluation images", "glioma taken for meningioma (4)"),
        42: ("medsaliency study study.yaml",),
        43: ("code c0de", "weights 3e16"),
    }.items():
        for word in words:
            assert word in found[number].known, (number, word, found[number].known)


def test_what_no_table_can_know_is_a_gap(informed: Contents) -> None:
    found = items(informed)
    for number in (2, 3, 4, 5, 8, 11, 13, 14, 15, 16, 17, 18, 21, 33, 34, 40, 41, 44):
        assert found[number].status == "gap", number


def test_a_class_without_auroc_leaves_the_item_open(informed: Contents) -> None:
    item = items(informed)[38]
    assert item.status == "partly"
    assert "pituitary" in item.missing
    assert "pituitary" not in item.known
    known = {name: {"value": 0.9, "low": 0.8, "high": 0.95} for name in informed.classes}
    assert items(replace(informed, performance={**informed.performance, "auroc": known}))[38].status == "filled"
    lost = {name: {"value": math.nan, "low": math.nan, "high": math.nan} for name in informed.classes}
    assert items(replace(informed, performance={**informed.performance, "auroc": lost}))[38].status == "gap"


def test_a_given_model_s_training_is_a_gap(informed: Contents) -> None:
    found = items(recorded(informed, training="taken as given"))
    assert [found[n].status for n in (24, 25, 26, 32)] == ["gap"] * 4
    assert "standardized by the training images" not in found[9].known


def test_splits_of_unknown_patients_are_not_called_apart(informed: Contents) -> None:
    data = {**informed.provenance["data"], "patients_known": False}
    item = items(recorded(informed, data=data))[20]
    assert item.status == "partly"
    assert "disjoint by image alone" in item.known
    assert "803" not in item.known, "without names, patients were not counted"
    assert items(informed)[20].status == "filled"


def test_simulated_images_need_no_ethics_and_no_readers(informed: Contents) -> None:
    made = replace(informed, config={**informed.config, "data": {"source": "sandbox"}})
    found = items(made)
    for number in (5, 8, 11, 13, 14, 15, 16, 17, 18, 34):
        assert found[number].status == "not applicable", number
        assert "simulat" in found[number].unneeded.lower()
    assert found[7].status == "filled"
    assert found[33].status == "gap"


def test_errors_follow_the_confusion_matrix(informed: Contents) -> None:
    right = {**informed.performance, "confusion": [[45, 0, 0], [0, 24, 0], [0, 0, 31]]}
    assert "None of 100 evaluation images" in items(replace(informed, performance=right))[39].known
