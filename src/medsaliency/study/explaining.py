"""One shard of a study: a few images explained by every method and scored by every metric."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from medsaliency.attribution import make_method, sharing
from medsaliency.data.dataset import Record
from medsaliency.evaluation import make_metric
from medsaliency.evaluation.metric import Scores
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast, Logit, Probability, Target
from medsaliency.study.config import Study
from medsaliency.study.permuted_labels import checks_of
from medsaliency.study.store import Store
from medsaliency.types import Sample, Score, generator


def select(records: Sequence[Record], images: int, seed: int) -> list[Record]:
    """Choose images to explain, the same number of each class as far as it has them, seeded by their ids.

    Returns:
        At most ``images`` records, ordered by id.
    """
    queues: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda r: generator(seed, r.id, "select").random()):
        queues.setdefault(record.label, []).append(record)
    chosen: list[Record] = []
    turn = 0
    while len(chosen) < min(images, len(records)):
        chosen += [queue[turn] for _, queue in sorted(queues.items()) if turn < len(queue)]
        turn += 1
    return sorted(chosen[:images], key=lambda record: record.id)


def steps_of_a_shard(study: Study) -> int:
    """Methods, and metrics and checks times methods."""
    return len(study.explain.methods) * (1 + len(study.evaluate.metrics) + len(study.evaluate.checks))


def explain_shard(
    study: Study,
    classifier: Classifier,
    explained: Sequence[Sample],
    start: int,
    predictions: pd.DataFrame,
    store: Store,
) -> Iterator[str]:
    """Explain, score and check the images from ``start`` on, as many as a batch holds; nothing if that was done before.

    Maps go into ``maps.zarr``; then scores, curves and seconds as one shard, whose presence says that it is done.

    Yields:
        The name of each of the :func:`steps_of_a_shard` when it is done.
    """
    name = f"shards/{start:06d}"
    if store.has(f"{name}-scores.parquet"):
        yield from ["done before"] * steps_of_a_shard(study)
        return
    samples = explained[start : start + study.explain.batch_size]
    probe = Probe(
        classifier,
        torch.from_numpy(np.stack([s.image for s in samples])),
        targets_of(study, samples, predictions),
        [None if s.native_lesion is None else torch.from_numpy(s.native_lesion) for s in samples],
        geometries=[s.geometry for s in samples],
    )
    rows: list[dict[str, Any]] = []
    seconds: list[dict[str, Any]] = []
    maps = {}
    methods = {key: make_method(key, parameters) for key, parameters in study.explain.methods.items()}
    for key, explain in sharing(methods).items():
        begin = time.perf_counter()
        rngs = [generator(study.seed, s.id, key) for s in samples]
        maps[key] = explain(probe, rngs).float().cpu()
        seconds.append(_took("method", key, begin, len(samples)))
        yield key
    maps = {key: maps[key] for key in methods}
    for metric, parameters in study.evaluate.metrics.items():
        for method, saliency in maps.items():
            begin = time.perf_counter()
            # The same stream for every method: all meet the same start pixels.
            rngs = [generator(study.seed, s.id, metric) for s in samples]
            rows += _rows(samples, probe, method, make_metric(metric, parameters)(probe, saliency, rngs))
            seconds.append(_took("metric", metric, begin, len(samples)))
            yield metric
    for check, run in checks_of(study, store).items():
        for method, saliency in maps.items():
            begin = time.perf_counter()

            def again(other: Probe, method: str = method) -> Tensor:
                return methods[method](other, [generator(study.seed, s.id, method) for s in samples])

            rngs = [generator(study.seed, s.id, check) for s in samples]
            rows += _rows(samples, probe, method, run(probe, again, saliency, rngs))
            seconds.append(_took("check", check, begin, len(samples)))
            yield check
    _keep_maps(store, explained, samples, start, {name: part.numpy() for name, part in maps.items()})
    table = pd.DataFrame(rows)
    curves = table[table["x"].notna()][["sample", "patient", "method", "metric", "x", "y"]]
    store.write_table(f"{name}-curves.parquet", curves)
    store.write_table(f"{name}-timings.parquet", pd.DataFrame(seconds))
    store.write_table(f"{name}-scores.parquet", table.drop(columns=["x", "y"]))


def targets_of(study: Study, samples: Sequence[Sample], predictions: pd.DataFrame) -> list[Target]:
    """What a study explains of each image, as target objects."""
    rows = predictions.set_index("sample")
    probabilities = rows[[name for name in rows if str(name).startswith("p_")]]
    targets: list[Target] = []
    for sample in samples:
        by_label = study.explain.target == "label" and sample.label is not None
        index = int(sample.label if by_label else rows["predicted"][sample.id])  # type: ignore[arg-type]
        if study.explain.score == "contrast":
            others = probabilities.loc[sample.id].to_numpy(copy=True)
            others[index] = -1
            targets.append(Contrast(index, int(others.argmax())))
        else:
            targets.append(Logit(index) if study.explain.score == "logit" else Probability(index))
    return targets


def _rows(samples: Sequence[Sample], probe: Probe, method: str, scores: Scores) -> list[dict[str, Any]]:
    return [
        _row(sample, target, method, measure, score)
        for measure, own in scores.items()
        for sample, target, score in zip(samples, probe.targets.tolist(), own, strict=True)
    ]


def _row(sample: Sample, target: int, method: str, measure: str, score: Score) -> dict[str, Any]:
    return {
        "sample": sample.id,
        "patient": sample.patient,
        "label": sample.label,
        "target": target,
        "method": method,
        "metric": measure,
        "value": score.value,
        "reason": score.reason,
        "x": list(score.curve.x) if score.curve else None,
        "y": list(score.curve.y) if score.curve else None,
    }


def _took(kind: str, name: str, begin: float, images: int) -> dict[str, Any]:
    return {"kind": kind, "name": name, "images": images, "seconds": time.perf_counter() - begin}


def _keep_maps(
    store: Store, explained: Sequence[Sample], samples: Sequence[Sample], start: int, maps: dict[str, np.ndarray]
) -> None:
    """Put a shard's images, lesions and maps at their place in ``maps.zarr``, one chunk an image."""
    group = store.maps("a")
    height, width = explained[0].image.shape[1:]
    count = len(explained)
    group.attrs["samples"] = [sample.id for sample in explained]
    parts = {
        "image": np.stack([s.image for s in samples]),
        "lesion": np.stack([np.zeros((height, width), bool) if s.lesion is None else s.lesion for s in samples]),
        "has_lesion": np.array([s.lesion is not None for s in samples]),
        **{f"maps/{name}": part for name, part in maps.items()},
    }
    for name, part in parts.items():
        array = group.require_array(
            name, shape=(count, *part.shape[1:]), chunks=(1, *part.shape[1:]), dtype=part.dtype, exact=True
        )
        array[start : start + len(samples)] = part
