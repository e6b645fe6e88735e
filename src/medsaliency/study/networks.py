"""What a run keeps of other runs whose networks were trained anew: whether maps and scores repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medsaliency.report.contents import COLUMNS
from medsaliency.study.agreement import Run, compare_runs, open_runs, shared_images, shared_methods
from medsaliency.study.inference import NETWORKS, RETRAINED
from medsaliency.study.store import Store
from medsaliency.types import Track, silent


def keep_networks(store: Store, others: Sequence[Path], track: Track = silent) -> None:
    """Compare a run with others of the same images, and keep the tables that the trust card and the report read.

    Args:
        store: The run that keeps them.
        others: Folders of runs with networks of other seeds (repeatability) or architectures (reproducibility).
        track: Shows progress.

    Raises:
        MedsaliencyError: If the runs cannot be compared; see :func:`~medsaliency.study.agreement.open_runs`.
    """
    runs = open_runs([store.path, *others])
    table = compare_runs(runs, track).rename(columns={"mean": "value", "between_images": "two_images"})
    store.write_table(NETWORKS, table[COLUMNS["networks"].split()])
    store.write_table(RETRAINED, _retrained(runs))


def _retrained(runs: Sequence[Run]) -> pd.DataFrame:
    """Scores of the shared images and methods, run after run; images whose explained class differs are left out."""
    alike = [image for image in shared_images(runs) if len({run.explained[image] for run in runs}) == 1]
    parts = []
    for number, run in enumerate(runs):
        scores = Store.open(run.path).read_table("scores.parquet")
        own = scores[scores["sample"].isin(alike) & scores["method"].isin(shared_methods(runs))]
        parts.append(own.assign(repeat=number)[["sample", "patient", "method", "metric", "repeat", "value"]])
    return pd.concat(parts, ignore_index=True)
