"""Explaining image files with a checkpoint: a figure, the raw maps of each, and what they are of."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from medsaliency.attribution import METHODS, PANEL, make_method, sharing
from medsaliency.attribution.method import Method
from medsaliency.data import open_source
from medsaliency.data.dataset import Record, prepare
from medsaliency.data.formats import SUFFIXES, format_of, read_record
from medsaliency.data.geometry import Fit, to_dict, to_native
from medsaliency.data.reading import Planes, Reading, Window
from medsaliency.model import checkpoint as checkpoints
from medsaliency.model import tuning
from medsaliency.model.classifier import Classifier
from medsaliency.model.layers import Layer
from medsaliency.model.probe import Probe
from medsaliency.model.targets import Contrast, Logit, Probability, Target
from medsaliency.report.contents import Case
from medsaliency.report.notebook import case_figure
from medsaliency.report.slices import cut
from medsaliency.study.reading import default_device
from medsaliency.study.store import plain, write_bytes, write_text
from medsaliency.types import MedsaliencyError, Sample, Track, generator, nearest, silent


@dataclass(frozen=True)
class Explained:
    """What was written of one image: its figure, its maps, what they are of, and the prediction in words."""

    figure: Path
    maps: Path
    about: Path
    prediction: str


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
    window: Window | None = None,
    plane: int | None = None,
    planes: Planes | None = None,
    track: Track = silent,
) -> list[Explained]:
    """Explain image files and write ``NAME.png`` (figure), ``NAME.npz`` (maps) and ``NAME.json`` for each.

    Every file is read, and everything named is looked up, before anything is written. An ``.npz`` holds one float32
    array a method on the file's own pixels, (H, W) or those of the volume, in the file's own orientation. The
    ``.json`` says what they are of: the file, the way back to it, the prediction, the methods and the model.

    Args:
        images: Files of any known format, or folders of DICOM files; their names without suffix must differ. A file of
            several slices or frames gives one result for each that is asked for, named with its number.
        checkpoint: What :func:`medsaliency.model.checkpoint.load` takes. Files are read as it says that its own were.
        output: Folder for the results; files of the same names in it are replaced.
        methods: Names; None for all that need no extra.
        target: Name of the class explained; None for the predicted one.
        against: Name of a class: explained is the difference of the target's logit and its.
        probability: Explain the target's probability and not its logit.
        target_layer: Layer that CAM methods read; None finds it.
        tune: Measure first how the model runs fastest here.
        exact: Whether tuning must stay with float32.
        seed: Of methods that draw.
        window: (center, width) in the file's units that becomes [0, 1]; None takes the checkpoint's, or the file's.
        plane: Number, from 0, of the slice or frame.
        planes: Which slices or frames, where no number is given; None takes the checkpoint's.
        track: Shows progress.

    Raises:
        MedsaliencyError: If a file, the checkpoint, or a name cannot be used.
    """
    classifier, chosen = what_is_asked(checkpoint, methods, target, against, probability, target_layer)
    reading, fit = reading_of(checkpoint, window, planes)
    found = [record for path in images for record in _records(path, reading, plane)]
    names = [name for name, _ in found]
    # Some file systems tell neither capitals nor Unicode's two forms of a letter apart.
    alike = [unicodedata.normalize("NFC", name).casefold() for name in names]
    twice = sorted({name for name, same in zip(names, alike, strict=True) if alike.count(same) > 1})
    if twice:
        raise MedsaliencyError(f"explain: two images are called {twice[0]!r}; results are named after them, rename one")
    for name, record in found:
        if record.image is not None and (output / f"{name}.png").resolve() == record.image.resolve():
            raise MedsaliencyError(
                f"explain: the figure of {record.image} would replace the image; choose another --output"
            )
    samples = [_prepare(record, name, classifier, reading, fit) for name, record in found]
    if tune:
        tuning.tune(classifier, torch.from_numpy(samples[0].image)[None], exact=exact, cache=tuning.cache_folder())
    wanted = {sample.id: _target(sample, classifier, target, against, probability) for sample in samples}
    model = {"architecture": classifier.name, "weights": checkpoints.fingerprint(classifier.module)}
    written = []
    for sample, (_, record) in zip(track(samples, "explaining", len(samples)), found, strict=True):
        case, maps = _explain(sample, classifier, chosen, wanted[sample.id], seed)
        figure, arrays = io.BytesIO(), io.BytesIO()
        case_figure(cut(case), classifier.classes).savefig(figure, format="png", dpi=120)
        # Without allow_pickle, which numpy before 2.2 took for the name of an array; none of these is pickled.
        np.savez_compressed(arrays, **cast("dict[str, Any]", maps))
        about = {
            "sample": sample.id,
            "source": str(record.image.resolve()) if record.image is not None else None,
            "parts": [str(part.resolve()) for part in record.parts],
            "sha256": record.digests(),
            "plane": record.plane,
            "reading": asdict(reading),
            "geometry": to_dict(sample.geometry),
            "classes": list(classifier.classes),
            "probabilities": case.probabilities.tolist(),
            "target": case.target,
            "explains": repr(wanted[sample.id]),
            "methods": {name: repr(method) for name, method in chosen.items()},
            "model": model,
            "medsaliency": version("medsaliency"),
        }
        best = int(case.probabilities.argmax())
        words = f"{classifier.classes[best]} ({case.probabilities[best]:.3f})"
        figure_path, maps_path, about_path = (output / f"{sample.id}.{suffix}" for suffix in ("png", "npz", "json"))
        one = Explained(figure_path, maps_path, about_path, words)
        write_bytes(one.figure, figure.getvalue())
        write_bytes(one.maps, arrays.getvalue())
        write_text(one.about, json.dumps(plain(about), indent=2, allow_nan=False) + "\n")
        written.append(one)
    return written


def what_is_asked(
    checkpoint: Path,
    methods: Sequence[str] | None = None,
    target: str | None = None,
    against: str | None = None,
    probability: bool = False,
    target_layer: str | None = None,
) -> tuple[Classifier, dict[str, Method]]:
    """The model and the methods of a call of :func:`explain_files`, before an image is read, or fetched.

    Raises:
        MedsaliencyError: If the checkpoint or a name cannot be used.
    """
    if methods is not None and not methods:
        raise MedsaliencyError(f"explain: expected at least one method; known: {', '.join(METHODS)}")
    classifier = checkpoints.load(checkpoint, device=default_device())
    for name in (target, against):
        if name is not None and name not in classifier.classes:
            raise MedsaliencyError(f"explain: unknown class {name!r}{nearest(name, classifier.classes)}")
    if against is not None and probability:
        raise MedsaliencyError("explain: expected a probability or a contrast to be explained, got both; name one")
    chosen = {name: make_method(name) for name in (methods if methods is not None else PANEL)}
    if target_layer is not None:
        classifier.use_layer(target_layer)
    return classifier, chosen


def describe_layers(image: Path, checkpoint: Path) -> list[Layer]:
    """Layers of a checkpoint's model that CAM methods could read, which is chosen, and why; traced with one image file.

    Raises:
        MedsaliencyError: If the file or the checkpoint cannot be used, or the model has no such layer.
    """
    classifier = checkpoints.load(checkpoint, device=default_device())
    reading, fit = reading_of(checkpoint, None, "middle")
    name, record = _records(image, reading, None)[0]
    sample = _prepare(record, name, classifier, reading, fit)
    return classifier.describe_layers(torch.from_numpy(sample.image)[None])


def reading_of(checkpoint: Path, window: Window | None, planes: Planes | None) -> tuple[Reading, Fit]:
    """How the checkpoint's images were read, with what is asked for here in its place."""
    known = checkpoints.reading_of(checkpoint)
    own: dict[str, Any] = {field.name: known[field.name] for field in fields(Reading) if field.name in known}
    if own.get("window") is not None:
        own["window"] = tuple(own["window"])
    reading = Reading(**own)
    if window is not None:
        reading = replace(reading, window=window)
    if planes is not None and not reading.volume:
        reading = replace(reading, planes=planes)
    return reading, known.get("fit", "pad")


def _records(path: Path, reading: Reading, plane: int | None) -> list[tuple[str, Record]]:
    """What is explained of one path, with the names of its results."""
    if path.is_dir():
        if plane is not None:
            raise MedsaliencyError(
                f"{path}: expected a file with --plane, got a folder; name its file, or use --planes"
            )
        own = {"window": reading.window, "planes": reading.planes, "volume": reading.volume}
        return [
            (_name(record.id.replace("/", "-"), record.plane), record)
            for record in open_source(path, "dicom", **own).records
        ]
    name = _name(path.name, None)
    record = Record(str(path), 0, name, image=path)
    if not path.is_file():  # said when it is read, as of any other file
        return [(name, record)]
    stack = format_of(path).stack(path, str(path), reading)
    if stack is None and plane is None:
        return [(name, record)]
    if plane is not None:
        return [(_name(path.name, plane), replace(record, plane=plane))]
    assert stack is not None  # noqa: S101  # else it was returned above
    if reading.planes not in ("all", "middle"):
        raise MedsaliencyError(
            f"{path}: expected one image, got a file of {stack.count} slices or frames; give --plane with a number "
            f"from 0 to {stack.count - 1}, or --planes middle or all"
        )
    numbers = range(stack.count) if reading.planes == "all" else [stack.count // 2]
    return [(_name(path.name, number), replace(record, plane=number)) for number in numbers]


def _name(file: str, plane: int | None) -> str:
    """What results of a file are called: as it, without a known suffix (names of DICOM files have points), numbered."""
    plain = file.partition("#")[0]
    suffix = max((known for known in SUFFIXES if plain.lower().endswith(known)), key=len, default="")
    return plain.removesuffix(plain[len(plain) - len(suffix) :]) + ("" if plane is None else f"-{plane}")


def _prepare(record: Record, name: str, classifier: Classifier, reading: Reading, fit: Fit) -> Sample:
    """Read an image and bring it to the model's grid; without one, to its own longest side."""
    raw = read_record(record, reading)
    size = classifier.size if classifier.size is not None else max(raw.pixels.shape[1:])
    return replace(prepare(record, raw, size, classifier.channels, fit), id=name, label=None)


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
