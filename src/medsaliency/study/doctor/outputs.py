"""Whether the module runs, and puts out what its classes and the data set need."""

from __future__ import annotations

import torch

from medsaliency.study.doctor.finding import Finding, Severity
from medsaliency.study.doctor.subject import Subject, lacks_memory
from medsaliency.types import MedsaliencyError

CONSTANT = 1e-5
"""Largest difference of outputs between images, relative to the largest output or 1, that counts as none."""


def runs(subject: Subject) -> list[Finding]:
    """The module raises an error, or puts out what no classifier does."""
    try:
        outputs = subject.outputs
    except MedsaliencyError as error:
        if lacks_memory(error):
            raise
        advice = "check channels and size of the checkpoint, and that the module returns logits"
        return [Finding("problem", subject.name, "logits (N, K)", str(error), advice)]
    where, advice = f"output of {subject.name}", "let the module return one row of logits an image"
    if outputs.ndim != 2 or len(outputs) != len(subject.images):
        return [Finding("problem", where, f"logits ({len(subject.images)}, K)", str(tuple(outputs.shape)), advice)]
    bad = int((~torch.isfinite(outputs)).any(dim=1).sum())
    if bad:
        advice = "check weights, and that images are in the range the model was trained on"
        return [Finding("problem", where, "finite logits", f"NaN or infinity for {bad} of {len(outputs)}", advice)]
    return []


def number_of_classes(subject: Subject) -> list[Finding]:
    """The module has more or fewer outputs than classes are named."""
    classifier = subject.classifier
    width, wanted = subject.outputs.shape[1], 1 if classifier.output == "single_logit" else len(classifier.classes)
    if width == wanted:
        return []
    return [
        Finding(
            "problem",
            f"output of {subject.name}",
            f"{wanted} logit(s) for classes {', '.join(classifier.classes)} and output {classifier.output!r}",
            f"{width}",
            "name as many classes as the model has outputs, in their order",
        )
    ]


def names_of_classes(subject: Subject) -> list[Finding]:
    """The data set has other classes than the model, or in another order, so that labels mean something else."""
    own, data = subject.classifier.classes, subject.data_classes
    if own == data:
        return []
    severity: Severity = "problem"
    advice = "give the model's classes in the order of its outputs, and the data set's names for them"
    if set(own) == set(data):
        expected = "the same order as the data set's"
    elif subject.classifier.output == "sigmoid":
        severity, expected = "note", "the data set's"
        advice = "independent classes may be others; those of the data set are not compared with them"
    elif len(own) != len(data):
        expected = f"the {len(data)} of the data set"
    else:
        severity, expected = "note", "the data set's names"
        advice = "they are taken to be the same in that order; see that they are"
    expected = f"{expected} ({', '.join(data)})"
    return [Finding(severity, "classes of the model", expected, ", ".join(own), advice)]


def constant(subject: Subject) -> list[Finding]:
    """The outputs are the same, or name the same class, whatever the image."""
    outputs = subject.outputs
    if len(outputs) < 2:
        return []
    spread = float((outputs.amax(dim=0) - outputs.amin(dim=0)).max())
    if spread <= CONSTANT * max(1.0, float(outputs.abs().max())):
        advice = "check that the weights were loaded and that images differ; there is nothing to explain"
        got = f"the same for all {len(outputs)}, up to {spread:.1g}"
        return [Finding("problem", f"output of {subject.name}", "logits that depend on the image", got, advice)]
    single = subject.classifier.output == "single_logit"
    predicted = (outputs.flatten() > 0).long() if single else outputs.argmax(dim=1)
    if subject.classifier.output == "sigmoid" or len(subject.labels.unique()) < 2 or len(predicted.unique()) > 1:
        return []
    name = subject.classifier.classes[int(predicted[0])]
    got, advice = f"{name!r} for all {len(outputs)}", "measure its accuracy, and see whether images are prepared right"
    return [Finding("note", f"predictions of {subject.name}", "more than one class", got, advice)]
