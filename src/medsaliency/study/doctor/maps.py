"""Whether there is something to explain with: gradients, a living target layer, and maps that show anything."""

from __future__ import annotations

import torch
from torch import Tensor

from medsaliency.attribution import make_method
from medsaliency.model.execution import serving
from medsaliency.model.grids import pixels
from medsaliency.model.probe import Probe
from medsaliency.study.doctor.finding import Finding, Severity
from medsaliency.study.doctor.subject import Subject, lacks_memory
from medsaliency.types import MedsaliencyError, generator

OF_GRADIENTS = ("gradient", "input_x_gradient")
OF_THE_LAYER = ("grad_cam", "hires_cam", "eigen_cam")
"""Methods whose maps are made: those of a single pass."""
DEAD = 0.9
"""Share of feature maps that are zero in every image, from which on there is a note."""


def gradients(subject: Subject) -> list[Finding]:
    """No gradient comes back to the image."""
    expected = "a gradient of the logits by the image"
    inputs = subject.classifier.prepare(subject.few[:1]).detach().requires_grad_()
    found = None
    with serving(subject.module), torch.enable_grad():
        try:
            outputs = subject.call(inputs)
            if isinstance(outputs, Tensor) and outputs.requires_grad:
                (found,) = torch.autograd.grad(outputs.float().sum(), [inputs], allow_unused=True)
        except MedsaliencyError as error:  # of a module that has none and says so, as one of ONNX does
            return [Finding("note", subject.name, expected, "none", str(error))]
        except RuntimeError as error:
            if lacks_memory(error):
                raise MedsaliencyError(
                    f"doctor: memory does not suffice for a backward pass of one image of {pixels(inputs):,} pixels; "
                    "give smaller images, or use methods without gradients (occlusion, rise)"
                ) from error
            advice = "set inplace=False in the layer that changes what the backward pass needs; forward it does no harm"
            got = f"an error in the backward pass: {' '.join(str(error).split())[:160]}"
            return [Finding("problem", subject.name, expected, got, advice)]
    if found is not None:
        return []
    severity: Severity = "note" if next(subject.module.parameters(), None) is None else "problem"
    advice = "look for detach(), no_grad() or NumPy on the way, or use methods without gradients (occlusion, rise)"
    return [Finding(severity, subject.name, expected, "none", advice)]


def target_layer(subject: Subject) -> list[Finding]:
    """There is no layer that CAM methods could read, or it is dead: zero, the same everywhere, or without gradient."""
    try:
        layer = subject.classifier.target_layer(subject.few)
        features = Probe(subject.classifier, subject.few).features
    except MedsaliencyError as error:
        if lacks_memory(error):
            raise
        advice = "name a target_layer, or leave CAM methods out"
        return [Finding("note", "target layer", "feature maps on a grid", str(error), advice)]
    where, advice = f"target layer {layer!r}", "name another target_layer; `explain --describe-layers` lists them"
    activations, slopes = features.activations.flatten(2), features.gradients.flatten(2)
    if not activations.any():
        return [Finding("problem", where, "activations", f"zero everywhere in {len(activations)} images", advice)]
    if bool((activations == activations[..., :1]).all()):
        got = f"the same at every position in {len(activations)} images"
        return [Finding("problem", where, "activations that differ by position", got, advice)]
    if not slopes.any():
        got = f"a gradient of zero everywhere in {len(slopes)} images"
        return [Finding("problem", where, "a gradient of the prediction", got, advice)]
    dead = int((~activations.transpose(0, 1).flatten(1).any(dim=1)).sum())
    if dead >= DEAD * activations.shape[1]:
        got = f"{dead} of {activations.shape[1]} that are zero in every image"
        return [Finding("note", where, "feature maps that are active", got, advice)]
    return []


def maps(subject: Subject) -> list[Finding]:
    """Methods of a single pass give NaN, or maps of one value."""
    probe = Probe(subject.classifier, subject.few)
    names = OF_GRADIENTS + (() if target_layer(subject) else OF_THE_LAYER)
    rngs = [generator(0, str(i), "doctor") for i in range(len(probe))]
    found = [_look(name, make_method(name)(probe, rngs)) for name in names]
    return [finding for finding in found if finding is not None]


def _look(name: str, maps: Tensor) -> Finding | None:
    flat = maps.flatten(1)
    broken = int((~torch.isfinite(flat)).any(dim=1).sum())
    if broken:
        advice = "look for a root or a logarithm of zero, or a division by it, whose slope is infinite"
        got = f"NaN or infinity in {broken} of {len(flat)}"
        return Finding("problem", f"maps of {name}", "finite values", got, advice)
    blank = int((flat == flat[:, :1]).all(dim=1).sum())
    if blank < len(flat):
        return None  # one that is blank may be right: nothing in that image speaks for the class
    got = f"one value in all {blank}"
    if name == "grad_cam":
        advice = "nothing in these images speaks for the class predicted, in its sense: see sign='signed', or hires_cam"
        return Finding("note", f"maps of {name}", "maps that show something", got, advice)
    advice = "see that the prediction is not saturated, and that nothing on the way rounds or clips"
    return Finding("problem", f"maps of {name}", "maps that show something", got, advice)
