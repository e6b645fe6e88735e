"""Explaining image files with a checkpoint: a figure and the raw maps of each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from medsaliency.attribution import METHODS, PANEL, make_method, sharing
from medsaliency.attribution.method import Method
from medsaliency.data.images import fit, read_image, to_channels, to_native
from medsaliency.model import checkpoint as checkpoints
from medsaliency.model import tuning
from medsaliency.model.classifier import Classifier
from medsaliency.model.layers import Layer
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast, Logit, Probability, Target
from medsaliency.report.contents import Case
from medsaliency.report.notebook import case_figure
from medsaliency.study.reading import default_device
from medsaliency.study.store import write_bytes
from medsaliency.types import MedsaliencyError, Sample, Track, generator, nearest, silent


def explain_files(
    images: Sequence[Path],
    checkpoint: Path,
    output: Path,
    *,
    methods: Sequence[str] | None = None,
    target: str | None = None,
    against: str | None = None,
    probability: bool = False,
    target_layer: str | None = None,
    tune: bool = False,
    exact: bool = False,
    seed: int = 0,
    track: Track = silent,
) -> list[tuple[Path, Path, str]]:
    """Explain image files and write ``NAME.png`` (figure) and ``NAME.npz`` (maps on the native pixels) for each.

    Every file is read, and everything named is looked up, before anything is written. An ``.npz`` holds one (H, W)
    float32 array a method, on the image's own pixels, in the image's own orientation.

    Args:
        images: Files; their names without suffix must differ.
        checkpoint: Folder that ``medsaliency train`` made, or a run's folder, whose model is taken.
        output: Folder for the results; files of the same names in it are replaced.
        methods: Names; None for all that need no extra.
        target: Name of the class explained; None for the predicted one.
        against: Name of a class: explained is the difference of the target's logit and its.
        probability: Explain the target's probability and not its logit.
        target_layer: Layer that CAM methods read; None finds it.
        tune: Measure first how the model runs fastest here.
        exact: Whether tuning must stay with float32.
        seed: Of methods that draw.
        track: Shows progress.

    Returns:
        For each image the figure's path, the maps' path, and the prediction in words.

    Raises:
        MedsaliencyError: If a file, the checkpoint, or a name cannot be used.
    """
    names = [path.stem for path in images]
    if methods is not None and not methods:
        raise MedsaliencyError(f"explain: expected at least one method; known: {', '.join(METHODS)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MedsaliencyError(f"explain: two images are called {twice[0]!r}; results are named after them, rename one")
    for path in images:
        if (output / f"{path.stem}.png").resolve() == path.resolve():
            raise MedsaliencyError(f"explain: the figure of {path} would replace the image; choose another --output")
    classifier = checkpoints.load(checkpoint, device=default_device())
    for name in (target, against):
        if name is not None and name not in classifier.classes:
            raise MedsaliencyError(f"explain: unknown class {name!r}{nearest(name, classifier.classes)}")
    if against is not None and probability:
        raise MedsaliencyError("explain: expected a probability or a contrast to be explained, got both; name one")
    chosen = {name: make_method(name) for name in (methods if methods is not None else PANEL)}
    if target_layer is not None:
        classifier.use_layer(target_layer)
    samples = [_read(path, classifier) for path in images]
    if tune:
        tuning.tune(classifier, torch.from_numpy(samples[0].image)[None], exact=exact, cache=tuning.cache_folder())
    wanted = {sample.id: _target(sample, classifier, target, against, probability) for sample in samples}
    written = []
    for sample in track(samples, "explaining", len(samples)):
        case, maps = _explain(sample, classifier, chosen, wanted[sample.id], seed)
        figure, arrays = io.BytesIO(), io.BytesIO()
        case_figure(case, classifier.classes).savefig(figure, format="png", dpi=120)
        np.savez_compressed(arrays, allow_pickle=False, **maps)
        paths = output / f"{sample.id}.png", output / f"{sample.id}.npz"
        write_bytes(paths[0], figure.getvalue())
        write_bytes(paths[1], arrays.getvalue())
        best = int(case.probabilities.argmax())
        written.append((*paths, f"{classifier.classes[best]} ({case.probabilities[best]:.3f})"))
    return written


def describe_layers(image: Path, checkpoint: Path) -> list[Layer]:
    """Layers of a checkpoint's model that CAM methods could read, which is chosen, and why; traced with one image file.

    Raises:
        MedsaliencyError: If the file or the checkpoint cannot be used, or the model has no such layer.
    """
    classifier = checkpoints.load(checkpoint, device=default_device())
    return classifier.describe_layers(torch.from_numpy(_read(image, classifier).image)[None])


def _read(path: Path, classifier: Classifier) -> Sample:
    pixels = to_channels(read_image(path), classifier.channels, str(path))
    size = classifier.size
    if size is None:
        size = max(pixels.shape[1:])
    image, _, geometry = fit(pixels, None, size)
    return Sample(id=path.stem, image=image, label=None, patient=path.stem, lesion=None, geometry=geometry)


def _target(
    sample: Sample, classifier: Classifier, target: str | None, against: str | None, probability: bool
) -> Target:
    """What is explained of one image: the class named, or the predicted one."""
    if target is None:
        index = int(classifier.logits(torch.from_numpy(sample.image)[None]).argmax())
    else:
        index = classifier.classes.index(target)
    if against is not None and classifier.classes.index(against) == index:
        raise MedsaliencyError(
            f"explain: expected two classes to contrast, got {against!r} twice (image {sample.id!r}); name another "
            "--target or --against"
        )
    if against is not None:
        return Contrast(index, classifier.classes.index(against))
    return Probability(index) if probability else Logit(index)


def _explain(
    sample: Sample, classifier: Classifier, methods: dict[str, Method], target: Target, seed: int
) -> tuple[Case, dict[str, np.ndarray]]:
    """The figure's case on the model's grid, and the maps on native pixels."""
    probe = Probe(classifier, torch.from_numpy(sample.image)[None], [target])
    found = {
        name: method(probe, [generator(seed, sample.id, name)])[0].float().cpu().numpy()
        for name, method in sharing(methods).items()
    }
    maps = {name: found[name] for name in methods}
    case = Case(
        sample=sample.id,
        why="given",
        image=sample.image,
        lesion=None,
        label=None,
        target=int(probe.targets[0]),
        probabilities=probe.probabilities[0].cpu().numpy(),
        maps=maps,
    )
    return case, {name: to_native(saliency, sample.geometry) for name, saliency in maps.items()}
