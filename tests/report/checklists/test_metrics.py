from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from medsaliency.report.checklists.item import Item
from medsaliency.report.checklists.metrics import metrics
from medsaliency.report.contents import Contents

CATEGORIES = {
    "Study design": 3,
    "Imaging data": 4,
    "Segmentation": 3,
    "Image processing and feature extraction": 3,
    "Feature processing": 4,
    "Preparation for modeling": 2,
    "Metrics and comparison": 6,
    "Testing": 2,
    "Open science": 3,
}


def items(contents: Contents) -> Mapping[int, Item]:
    return {int(item.number): item for item in metrics(contents).items}


def test_thirty_items_stand_in_nine_categories(informed: Contents) -> None:
    assert Counter(item.section for item in metrics(informed).items) == CATEGORIES


def test_items_say_the_study_s_own_numbers(informed: Contents) -> None:
    found = items(informed)
    for number, words in {
        11: ("128 × 128",),
        13: ("resnet18", "128 × 128"),
        17: ("repeatability", "60 images"),
        18: ("803 patients",),
        19: ("meningioma", "0.950 [0.900, 0.980]", "0.610 [0.500, 0.700]"),
        20: ("macro F1", "Lesion AUPRC"),
        21: ("2,000 draws",),
        22: ("0.061 [0.030, 0.102]", "80 validation images", "0.032 [0.020, 0.070]"),
        23: ("1 channel",),
        26: ("41 patients",),
        28: ("list of images da7a", "explained images 1a9e"),
        29: ("code c0de",),
        30: ("weights 3e16",),
    }.items():
        for word in words:
            assert word in found[number].known, (number, word, found[number].known)
    assert [found[n].status for n in (18, 20, 21, 22, 26)] == ["filled"] * 5


def test_items_of_hand_made_features_do_not_apply_to_a_network(informed: Contents) -> None:
    assert [items(informed)[n].status for n in (12, 14, 15, 16)] == ["not applicable"] * 4


def test_masks_are_asked_for_where_maps_were_scored_against_them(informed: Contents, without_lesions: Contents) -> None:
    assert [items(informed)[n].status for n in (8, 9, 10)] == ["gap"] * 3
    assert [items(without_lesions)[n].status for n in (8, 9, 10)] == ["not applicable"] * 3
    made = replace(informed, config={**informed.config, "data": {"source": "sandbox"}})
    assert [items(made)[n].status for n in (3, 4, 8, 9, 10)] == ["not applicable"] * 5


def test_color_images_are_not_called_of_one_kind(informed: Contents) -> None:
    known = {**informed.provenance, "model": {**informed.provenance["model"], "channels": 3}}
    assert items(replace(informed, provenance=known))[23].status == "gap"


def test_no_marker_no_word_of_confounders(informed: Contents) -> None:
    bare = replace(informed, inference=replace(informed.inference, shortcut={}))
    assert items(bare)[19].status == "gap"
