"""A report in which everything that is text from outside is given, and what elements its page has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.report.contents import COLUMNS, Case, Contents, Inference, Strip
from medsaliency.types import Measure

METHODS, METRICS, IMAGES, SIDE = ("gradient", "grad_cam", "random"), ("aic_entropy", "lesion_auprc"), 4, 8


def contents(texts: Sequence[str]) -> Contents:
    """A small study whose title, classes, images, patients, folders, settings and reasons are these texts, in turn."""
    text, other, third = (texts[place % len(texts)] for place in range(3))
    classes = (f"{text}0", f"{other}1")
    scores = _scores(other)
    reason = [("lesion_auprc", label, text, 1, 2) for label in range(2)]
    performance = {
        "images": IMAGES,
        "patients": IMAGES,
        "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95},
        "auroc": {name: {"value": 0.9, "low": 0.8, "high": 0.97} for name in classes},
        "confusion": [[2, 0], [1, 1]],
    }
    return Contents(
        title=text,
        config={
            "seed": 5,
            "data": {"root": text, "source": "manifest"},
            "methods": list(METHODS),
            f"{other}0": [third],
        },
        provenance=_provenance(third, classes),
        classes=classes,
        measures={name: Measure(name, True, (0.0, 1.0), "What it measures.", "information") for name in METRICS},
        controls=frozenset({"random"}),
        performance=performance,
        scores=scores,
        summary=_summary(),
        exclusions=pd.DataFrame(reason, columns=["metric", "label", "reason", "images", "of"]),
        curves=_curves(),
        seconds=pd.DataFrame(
            [("method", name, IMAGES, 1.0, math.nan) for name in METHODS],
            columns=["kind", "name", "images", "seconds", "peak_bytes"],
        ),
        cases=[_case(other, number) for number in range(2)],
        inference=_inference(third),
    )


def _provenance(text: str, classes: tuple[str, ...]) -> dict[str, object]:
    counts = dict.fromkeys(classes, 2)
    return {
        "medsaliency": "0.1.0",
        "machine": text,
        "methods": dict.fromkeys(METHODS, text),
        "metrics": dict.fromkeys(METRICS, text),
        "data": {"name": text, "classes": list(classes), "counts": {"train": counts, "test": counts}},
        "model": {"architecture": text, "parameters": 10, "target_layer": text, "input_size": [SIDE, SIDE]},
        "seconds": {"explain": 1.0},
        "seed": 5,
    }


def _scores(text: str) -> pd.DataFrame:
    rows = [
        {
            "sample": f"{text}{image}", "patient": f"{text}{image}", "label": image % 2, "target": image % 2,
            "method": method, "metric": metric, "value": math.nan if image == 3 else 0.2 * image + 0.1 * place,
            "reason": text if image == 3 else "",
        }
        for image in range(IMAGES)
        for place, method in enumerate(METHODS)
        for metric in METRICS
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _summary() -> pd.DataFrame:
    rows = [(method, metric, 3, 1, 0.5, 0.4, 0.6) for method in METHODS for metric in METRICS]
    return pd.DataFrame(rows, columns=["method", "metric", "images", "undefined", "mean", "low", "high"])


def _curves() -> pd.DataFrame:
    x = [0.0, 0.5, 1.0]
    line = {"images": 3, "x": x, "mean": x, "median": x, "low": x, "high": x, "auc_mean": 0.5, "auc_median": 0.5}
    return pd.DataFrame([{"method": method, "metric": "aic_entropy", **line} for method in METHODS])


def _case(text: str, number: int) -> Case:
    ramp = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    odds = np.array([0.75, 0.25], np.float32)
    steps = np.stack([ramp, ramp])[:, None]
    return Case(
        sample=f"{text}{number}",
        why=text,
        image=ramp[None],
        lesion=ramp > 0.5,
        label=number,
        target=0,
        probabilities=odds,
        maps={name: ramp * (place + 1) / 3 for place, name in enumerate(METHODS)},
        calibrated=odds,
        strips=[Strip("grad_cam", text, (0.1, 0.3), (0.4, 0.7), steps)],
        plane=text,
    )


def _inference(text: str) -> Inference:
    rows = {
        "trust": [
            (m, "repeatable", "not shown", "spearman", 0.3, 0.2, 0.4, 0.0, 0.01, text, text) for m in METHODS[:2]
        ],
        "reliability": [(name, "seed", 3, 4, 0.9, 0.8, 0.95, text) for name in METRICS],
        "concordance": [("all", 2, 3, 0.5, 0.02, text)],
    }
    tables = {name: pd.DataFrame(part, columns=COLUMNS[name].split()) for name, part in rows.items()}
    measured = {"value": 0.9, "low": 0.8, "high": 0.97}
    shortcut = {
        "class": f"{text}0", "images": 4, "area": 0.01, "accuracy_with": measured, "accuracy_without": measured,
        "drop": {"value": 0.1, "low": 0.0, "high": 0.2},
    }  # fmt: skip
    return Inference(**tables, shortcut=shortcut)


class _Markup(HTMLParser):
    """The elements of a page, and the names of their attributes; of addresses and handlers the values too."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        acting = [(key, value) for key, value in attrs if key.startswith("on") or key == "style"]
        links = [(key, (value or "")[:11]) for key, value in attrs if key in ("href", "src", "xlink:href", "action")]
        self.found.append([tag, [key for key, _ in attrs], acting, links])

    def handle_endtag(self, tag: str) -> None:
        """Note the end of one."""
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:  # noqa: ARG002
        """A comment could hide what follows it."""
        self.found.append("comment")

    def handle_decl(self, decl: str) -> None:  # noqa: ARG002
        """Likewise a declaration."""
        self.found.append("declaration")

    def unknown_decl(self, data: str) -> None:  # noqa: ARG002
        """Likewise a section of characters."""
        self.found.append("section")

    def handle_pi(self, data: str) -> None:  # noqa: ARG002
        """Likewise an instruction."""
        self.found.append("instruction")


def structure(page: str) -> list[Any]:
    """The elements and attributes of a page in their order, without texts."""
    return _Markup(page).found
