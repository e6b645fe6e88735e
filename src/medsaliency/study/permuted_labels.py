"""The network that the check ``data_randomization`` compares with: trained on a study's images, their labels permuted.

Adebayo et al. 2018, arXiv:1810.03292, section 4, let it fit the permuted labels until it knows 95 % of them by heart.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medsaliency.evaluation.check import Check
from medsaliency.evaluation.checks import make_check
from medsaliency.evaluation.data_randomization import DataRandomization, network_for
from medsaliency.model import checkpoint
from medsaliency.model.classifier import Classifier
from medsaliency.model.training import Training, train
from medsaliency.model.zoo import build
from medsaliency.study.cells import digest
from medsaliency.study.config import Study
from medsaliency.types import Track, generator, silent

LONGER = 2
"""Times the study's epochs: labels without a rule take longer to learn than those with one."""
WATCHED = 500
"""Training images at most whose loss says which epoch is kept."""


def checks_of(study: Study, folder: str | None) -> dict[str, Check]:
    """The study's checks by name; data randomization takes the network in ``folder`` where no other was given."""
    checks = {name: make_check(name, parameters) for name, parameters in study.evaluate.checks.items()}
    for name, check in checks.items():
        if isinstance(check, DataRandomization) and (check.checkpoint is None or folder is not None):
            checks[name] = replace(check, checkpoint=folder)
    return checks


def permuted(labels: Tensor, seed: int, *names: str) -> Tensor:
    """The same labels (N,) in an order drawn for ``seed`` and ``names``."""
    return labels[torch.from_numpy(generator(seed, *names, "permuted labels").permutation(len(labels)))]


def recipe(study: Study) -> Training:
    """The study's training, without what keeps a network from learning by heart.

    No augmentation, label smoothing or class weights, :data:`LONGER` times as many epochs, and none left out.
    """
    how = study.recipe
    epochs = LONGER * how.epochs
    still = replace(how, flip=False, rotation=0.0, zoom=0.0, shift=0.0)
    return replace(still, label_smoothing=0.0, class_weights=False, epochs=epochs, patience=epochs)


def train_on_permuted_labels(
    study: Study,
    classifier: Classifier,
    check: DataRandomization,
    images: Tensor,
    labels: Tensor,
    folder: Path,
    track: Track = silent,
) -> None:
    """Train the classifier's architecture on permuted labels, from its first weights, and save it into ``folder``.

    The weights kept are those of the epoch with the lowest loss on the training images themselves, or a random
    :data:`WATCHED` of them. The share of them all that it then classifies as it was taught is saved with it, as the
    metric ``training_accuracy`` in [0, 1].

    Args:
        study: Its recipe and seeds.
        classifier: The study's, a softmax being put in place of other outputs; it stays as it is.
        check: Its seed, together with the study's of training, draws the permutation.
        images: (N, C, H, W), the study's training images in display range.
        labels: (N,) int64, theirs.
        folder: Must not exist yet; appears whole or not at all.
        track: Shows progress.

    Raises:
        MedsaliencyError: If the network cannot be built or trained.
    """
    module = build(
        classifier.name,
        classes=len(classifier.classes),
        channels=classifier.channels,
        size=study.data.size,
        seed=study.training_seed,
        pretrained=study.model.pretrained,
    )
    network = Classifier(
        module,
        classifier.classes,
        mean=classifier.mean.flatten().tolist(),
        std=classifier.std.flatten().tolist(),
        channels=classifier.channels,
        size=study.data.size,
        target_layer=classifier.known_target_layer,
        device=classifier.device,
        name=classifier.name,
    )
    names = ("data_randomization", str(check.seed))
    taught = permuted(labels, study.training_seed, *names)
    watched = torch.from_numpy(generator(study.training_seed, *names, "watched").permutation(len(images))[:WATCHED])
    name = "training on permuted labels"
    history = train(network, images, taught, images[watched], taught[watched], recipe(study), track, name)
    accuracy = float((network.logits(images).argmax(dim=1).cpu() == taught).float().mean())
    trained_on = {"labels": "permuted", "images": len(images), "epochs": len(history), "seed": study.training_seed}
    trained_on["permutation"] = check.seed
    checkpoint.save(
        network,
        folder,
        architecture=classifier.name,
        trained_on=trained_on,
        metrics={"training_accuracy": accuracy},
    )


def permutation_of(folder: str) -> int | None:
    """The seed of the check for which a network was trained; None where that is not known."""
    return checkpoint.training_of(folder).get("permutation")


def record(classifier: Classifier, folder: str) -> dict[str, Any]:
    """For provenance: how much of the permuted labels the network knows (None where unknown), and which one it is.

    Raises:
        MedsaliencyError: If it cannot be read or does not fit the classifier.
    """
    network = network_for(classifier, folder)
    return {
        "training_accuracy": checkpoint.metrics_of(folder).get("training_accuracy"),
        "weights": checkpoint.fingerprint(network.module),
        "preprocessing": prepared_as(network),
    }


def prepared_as(classifier: Classifier) -> str:
    """Key of what is done to images before a network, and to its logits after it: its weights do not tell."""
    of_pixels = [values.flatten().tolist() for values in (classifier.mean, classifier.std)]
    return digest([*of_pixels, classifier.output, classifier.channels, classifier.size, classifier.known_target_layer])
