from __future__ import annotations

import pytest

from medsaliency.report.checklists.item import Checklist, Item, begun, enough, of_section, open_item, unneeded


@pytest.mark.parametrize(
    ("item", "status"),
    [
        (enough(1, "a", "known", "ask"), "filled"),
        (enough(1, "a", "", "ask"), "gap"),
        (begun(1, "a", "known", "ask"), "partly"),
        (begun(1, "a", "", "ask"), "gap"),
        (begun(1, "a", "known", ""), "filled"),
        (open_item(1, "a", "ask"), "gap"),
        (unneeded(1, "a", "why"), "not applicable"),
        (Item("1", "", "a"), "gap"),
    ],
)
def test_the_status_follows_from_what_is_known(item: Item, status: str) -> None:
    assert item.status == status


def test_a_gap_keeps_what_a_human_must_add_and_a_filled_item_asks_nothing() -> None:
    assert enough(1, "a", "", "ask").missing == "ask"
    assert enough(1, "a", "known", "ask").missing == ""


def test_counts_are_by_status() -> None:
    items = of_section("Data", enough(1, "a", "known", "ask"), open_item(2, "b", "ask"), open_item(3, "c", "ask"))
    own = Checklist("title", "source", items)
    assert (own.count("filled"), own.count("gap"), own.count("partly")) == (1, 2, 0)
    assert {item.section for item in items} == {"Data"}
