"""What a study explains: which of the evaluation images, and what of each."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from medsaliency.data.dataset import Record
from medsaliency.model.targets import Contrast, Logit, Probability, Target
from medsaliency.study.config import Study
from medsaliency.types import generator


def select(records: Sequence[Record], images: int, seed: int) -> list[Record]:
    """Choose images to explain, the same number of each class as far as it has them, seeded by their ids.

    Of more images, the first are the same: a study that grows keeps those it has.

    Returns:
        At most ``images`` records, in the order in which they were drawn.
    """
    queues: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda r: generator(seed, r.id, "select").random()):
        queues.setdefault(record.label, []).append(record)
    chosen: list[Record] = []
    turn = 0
    while len(chosen) < min(images, len(records)):
        chosen += [queue[turn] for _, queue in sorted(queues.items()) if turn < len(queue)]
        turn += 1
    return chosen[:images]


def targets_of(study: Study, records: Sequence[Record], predictions: pd.DataFrame) -> list[Target]:
    """What a study explains of each image, as target objects."""
    rows = predictions.set_index("sample")
    probabilities = rows[[name for name in rows if str(name).startswith("p_")]]
    targets: list[Target] = []
    for record in records:
        by_label = study.explain.target == "label"
        index = int(record.label if by_label else rows["predicted"][record.id])
        if study.explain.score == "contrast":
            others = probabilities.loc[record.id].to_numpy(copy=True)
            others[index] = -1
            targets.append(Contrast(index, int(others.argmax())))
        else:
            targets.append(Logit(index) if study.explain.score == "logit" else Probability(index))
    return targets
