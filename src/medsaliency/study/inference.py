"""From a run's scores to what they allow to be said: the tables of ``report.contents.Inference``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from medsaliency.attribution import CONTROLS
from medsaliency.report.contents import COLUMNS, Inference, nothing
from medsaliency.report.verdicts import BLURRED
from medsaliency.statistics.calibration import calibration
from medsaliency.statistics.controls import against_controls
from medsaliency.statistics.friedman import friedman
from medsaliency.statistics.metric_agreement import concordance, metric_agreement
from medsaliency.statistics.mixed_model import mixed_model
from medsaliency.statistics.pairwise import pairwise
from medsaliency.statistics.reliability import reliability
from medsaliency.statistics.shortcut import shortcut, shortcut_shares
from medsaliency.statistics.steps import steps
from medsaliency.statistics.trust import trust_card
from medsaliency.study.config import Study
from medsaliency.study.map_agreement import method_agreement
from medsaliency.study.shortcut import MARKER, marker_shares, planted
from medsaliency.study.store import Store
from medsaliency.types import Measure

NETWORKS, RETRAINED = "networks.parquet", "retrained.parquet"
"""What ``medsaliency report RUN --with OTHER`` keeps of runs whose networks were trained anew."""


def write_inference(
    store: Store, study: Study, scores: pd.DataFrame, measures: Mapping[str, Measure], source_of_blurred: str | None
) -> None:
    """Make every table from a run's own.

    Args:
        store: The run.
        study: Its configuration.
        scores: Of its metrics and checks.
        measures: What they mean.
        source_of_blurred: The method whose very maps the control ``blurred`` blurs, or None.
    """
    how = study.statistics
    bootstrap: dict[str, Any] = {"seed": study.seed, "draws": how.draws, "level": how.level}
    tested: dict[str, Any] = {**bootstrap, "alpha": how.alpha, "power": how.power}
    classes = store.read_json("provenance.json")["data"]["classes"]
    # A check has its own yardstick: that a random map never moves is no merit.
    checks = [name for name, measure in measures.items() if measure.family in ("randomization", "stability")]
    judged = scores[~scores["metric"].isin(checks)]
    explained = judged[~judged["method"].isin(CONTROLS)]
    found: dict[str, pd.DataFrame] = {}
    # Controls have a test of their own, with many random maps: a second verdict on them could only contradict it.
    methods = [name for name in study.explain.methods if name not in CONTROLS]
    found["friedman"], found["ranks"] = friedman(judged, measures, methods=methods, alpha=how.alpha)
    found["pairwise"] = pairwise(judged, measures, methods=methods, **tested)
    found["against_controls"] = _against_controls(store, study, judged, measures, source_of_blurred, tested)
    covariates = _covariates(store)
    found["mixed_terms"], found["mixed_coefficients"] = mixed_model(
        explained, covariates, how.mixed_models, classes=classes, level=how.level
    )
    found["metric_agreement"] = metric_agreement(explained, measures, **bootstrap)
    found["concordance"] = concordance(explained, measures, seed=study.seed)
    patients = dict(zip(scores["sample"], scores["patient"], strict=True))
    found["method_agreement"] = method_agreement(store, list(study.explain.methods), patients, **bootstrap)
    found["reliability"] = _reliability(store, bootstrap)
    found["networks"] = store.read_table(NETWORKS) if store.has(NETWORKS) else nothing("networks")
    found["trust"] = trust_card(
        methods,
        scores=scores,
        measures=measures,
        against_controls=found["against_controls"],
        networks=found["networks"],
        timings=store.read_table("timings.parquet"),
        thresholds=study.thresholds,
        **bootstrap,
    )
    cascading = [name for name in checks if name.startswith("cascading_")]
    following = [name for name, measure in measures.items() if measure.family == "faithfulness"]
    for name, of in (("stages", cascading), ("steps", following)):
        # Curves are the largest table: only those that are used are read.
        found[name] = steps(store.read_table("curves.parquet", [("metric", "in", of or [""])]), of, **bootstrap)
    found["shortcut_shares"] = nothing("shortcut_shares")
    if (label := planted(study)) is not None:
        shares = marker_shares(store, list(study.explain.methods))
        found["shortcut_shares"] = shortcut_shares(shares.assign(patient=shares["sample"].map(patients)), **bootstrap)
        told = shortcut(store.read_table(MARKER), classes.index(label), label, shares["area"].mean(), **bootstrap)
        store.write_json("statistics/shortcut.json", told)
    for name, table in found.items():
        store.write_table(f"statistics/{name}.parquet", table[COLUMNS[name].split()])
    validation, evaluation = (store.read_table(f"{name}.parquet") for name in ("validation", "predictions"))
    fitted = calibration(validation, evaluation, classes, **bootstrap)
    store.write_json("statistics/calibration.json", fitted)


def read_inference(store: Store) -> Inference:
    """What :func:`write_inference` made."""
    found: dict[str, Any] = {name: store.read_table(f"statistics/{name}.parquet") for name in COLUMNS}
    for name in ("calibration", "shortcut"):
        if store.has(f"statistics/{name}.json"):
            found[name] = store.read_json(f"statistics/{name}.json")
    return Inference(**found)


def _against_controls(
    store: Store,
    study: Study,
    judged: pd.DataFrame,
    measures: Mapping[str, Measure],
    source_of_blurred: str | None,
    tested: Mapping[str, Any],
) -> pd.DataFrame:
    """Every method against every control, but the blurred maps of a method against that method alone."""
    draws = store.read_table("draws.parquet")
    how = {**tested, "permutations": study.statistics.permutations}
    controls = [name for name in study.explain.methods if name in CONTROLS and name != BLURRED]
    parts = [against_controls(judged[judged["method"] != BLURRED], draws, measures, controls, **how)]
    if source_of_blurred is not None:
        both = judged[judged["method"].isin([BLURRED, source_of_blurred])]
        parts.append(against_controls(both, draws[:0], measures, [BLURRED], **how))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _covariates(store: Store) -> pd.DataFrame:
    """What scores may depend on, one row an explained image; see :func:`statistics.mixed_model.mixed_model`."""
    maps = store.maps()
    names = maps.samples
    predictions = store.read_table("predictions.parquet").set_index("sample").loc[names]
    # The lesions of one shard at a time: what is kept of each is two numbers.
    lesions = (lesion for start, stop in maps.shards() for lesion in maps.lesions(start, stop))
    sizes, places = zip(*map(_size_and_place, lesions), strict=True)
    return pd.DataFrame(
        {
            "sample": names,
            "confidence": predictions.filter(regex=r"^p_\d+$").max(axis=1).to_numpy(dtype=np.float64),
            "correct": (predictions["label"] == predictions["predicted"]).to_numpy(),
            "lesion_size": sizes,
            "lesion_place": places,
        }
    )


def _size_and_place(mask: np.ndarray | None) -> tuple[float, float]:
    """A lesion's share of the image and its distance from the center; NaN without one."""
    return (np.nan, np.nan) if mask is None or not mask.any() else (float(mask.mean()), _from_center(mask))


def _from_center(mask: np.ndarray) -> float:
    """The distance of a mask's centroid from the image's center, as a share of half the diagonal."""
    center = (np.array(mask.shape) - 1) / 2
    return float(np.linalg.norm(np.argwhere(mask).mean(axis=0) - center) / np.linalg.norm(center))


def _reliability(store: Store, bootstrap: Mapping[str, Any]) -> pd.DataFrame:
    """Of scores repeated with other choices of the metrics, and of those of networks trained anew, where there are."""
    parts = []
    repeats = store.read_table("repeats.parquet")
    if len(repeats):
        parts.append(reliability(repeats, source="seed", **bootstrap))
    if store.has(RETRAINED):
        parts.append(reliability(store.read_table(RETRAINED), source="retrained", **bootstrap))
    return pd.concat(parts, ignore_index=True) if parts else nothing("reliability")
