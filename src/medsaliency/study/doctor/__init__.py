"""A preflight: what would spoil the explanations of a model and its data, found in seconds.

To add a check, write a function from a :class:`Subject` to findings and a line in ``CHECKS``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path

import torch

from medsaliency.data import SOURCES, kind_of, open_source
from medsaliency.data.dataset import Dataset
from medsaliency.data.geometry import Fit, Size
from medsaliency.model.checkpoint import load
from medsaliency.model.classifier import Classifier
from medsaliency.study.doctor.finding import Diagnosis, Finding
from medsaliency.study.doctor.inputs import photometry, scaling
from medsaliency.study.doctor.maps import gradients, maps, target_layer
from medsaliency.study.doctor.outputs import constant, names_of_classes, number_of_classes, runs
from medsaliency.study.doctor.structure import in_place, modes, repeatable, reused, runs_of_target_layer, weights
from medsaliency.study.doctor.subject import Subject, borrowed, subject
from medsaliency.study.reading import default_device, load_data
from medsaliency.types import Track, silent

Check = Callable[[Subject], list[Finding]]

CHECKS: dict[str, Check] = {
    "weights": weights,
    "runs": runs,
    "number_of_classes": number_of_classes,
    "names_of_classes": names_of_classes,
    "modes": modes,
    "repeatable": repeatable,
    "constant": constant,
    "scaling": scaling,
    "photometry": photometry,
    "in_place": in_place,
    "reused": reused,
    "runs_of_target_layer": runs_of_target_layer,
    "gradients": gradients,
    "target_layer": target_layer,
    "maps": maps,
}
"""Every check, in the order in which they are made."""

STOPS = {
    "weights": tuple(CHECKS)[1:],
    "runs": tuple(CHECKS)[2:],
    "number_of_classes": tuple(CHECKS)[3:],
    "runs_of_target_layer": ("target_layer", "maps"),
    "gradients": ("target_layer", "maps"),
}
"""Checks whose findings stand in the way of others."""


def examine(
    classifier: Classifier,
    dataset: Dataset,
    *,
    images: int = 32,
    size: Size | None = None,
    fit: Fit = "pad",
    track: Track = silent,
) -> Diagnosis:
    """Make every check of a classifier with a few images of a data set.

    Args:
        classifier: As it would be explained; it is left as it is.
        dataset: With a few images of each class.
        images: About how many are read in all.
        size: Of the model's grid where the classifier does not know it; None for 224 pixels a side.
        fit: How images are brought to its proportions.
        track: Shows progress.

    Raises:
        MedsaliencyError: If an image cannot be read, or memory does not suffice for one. What is wrong with the model
            is a finding, not an error.
    """
    findings: dict[str, tuple[Finding, ...]] = {}
    skipped: dict[str, str] = {}
    # A module that draws does so from torch's global generator: it is left as it was.
    with torch.random.fork_rng(), borrowed(classifier) as lent:
        own = subject(lent, dataset, images=images, size=size, fit=fit)
        for name, check in track(CHECKS.items(), "checking", len(CHECKS)):
            if name in skipped:
                continue
            findings[name] = tuple(check(own))
            if findings[name]:
                skipped |= {later: name for later in STOPS.get(name, ()) if later not in skipped}
    return Diagnosis(classifier.name, dataset.name, len(own.images), findings, skipped)


def examine_files(checkpoint: Path, data: Path | None, config: Path | None = None, track: Track = silent) -> Diagnosis:
    """Open a checkpoint and data, and examine them.

    Args:
        checkpoint: What :func:`medsaliency.model.checkpoint.load` opens.
        data: What :func:`medsaliency.data.open_source` opens; with ``config`` it takes the place of the study's
            ``data.root``, and None keeps that.
        config: A study, whose source, options, size and fit are used; without one, files are read as the checkpoint
            says that its own were, as far as the source takes such options.
        track: Shows progress.

    Raises:
        MedsaliencyError: If one of them cannot be opened.
    """
    classifier = load(checkpoint, device=default_device())
    if config is None:
        from medsaliency.study.files import reading_of

        reading, fit = reading_of(checkpoint, None, None)
        kind = None if data is None else kind_of(data)
        known: Collection[str] = () if kind is None else inspect.signature(SOURCES[kind]).parameters
        options = {field.name: getattr(reading, field.name) for field in fields(reading) if field.name in known}
        return examine(classifier, open_source(data, kind, **options), fit=fit, track=track)
    from medsaliency.study.config import load_study

    study = load_study(config, (), **{"data.root": None if data is None else str(data.resolve())})
    return examine(classifier, load_data(study), size=study.data.size, fit=study.data.fit, track=track)
