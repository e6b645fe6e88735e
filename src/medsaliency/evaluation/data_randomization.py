"""Data randomization: Adebayo et al. 2018, arXiv:1810.03292, section 4.

Judged by the method's own baseline, as Arun et al. 2021, doi:10.1148/ryai.2021200267, judge parameter randomization.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache, partial

from torch import Tensor

from medsaliency.evaluation.check import Explain, compare, explain_again
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.evaluation.own_baseline import COMPARED, measures_of, own_baseline, with_margins
from medsaliency.model.checkpoint import load
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import Generators, Measure, MedsaliencyError


@dataclass(frozen=True)
class DataRandomization:
    """Whether a method's maps change when the labels that the model learned are taken away.

    An image's map is compared with its map by a network of the same architecture that was trained on randomly permuted
    labels. It has seen the same images and fitted as many labels, but nothing in an image goes with its label.
    Magnitudes are compared: a map whose sign alone turns has not changed.

    A margin is the method's baseline less the similarity, where the baseline is the mean similarity of its maps of
    different images of the batch, over all pairs or 50 at random. Above 0 it passes: the maps of one image by the two
    networks are then less alike than those of two images. Costs one explanation, and once the training of a network.

    Args:
        checkpoint: Folder of the network trained on permuted labels; None in a study, which trains it and keeps it.
            It is left out of the ``repr``, which provenance shows to readers elsewhere.
        seed: Of the pairs, and in a study of the permutation.
    """

    checkpoint: str | None = field(default=None, repr=False)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.checkpoint is not None and not isinstance(self.checkpoint, str):
            raise MedsaliencyError(
                "data_randomization: expected checkpoint as the path of a folder, got "
                f"{type(self.checkpoint).__name__}; give it as text"
            )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``permuted_ssim``, ``permuted_ssim_margin`` and likewise ``_spearman`` and ``_hog``."""
        return tuple(measures_of("permuted", "of a model trained on permuted labels"))

    def __call__(self, probe: Probe, explain: Explain, maps: Tensor, rngs: Generators) -> Scores:
        """Six scores an image; what is drawn hangs on ``seed``.

        Raises:
            MedsaliencyError: If there is no checkpoint, or its network does not fit: see :func:`network_for`.
        """
        del rngs
        check_maps("data_randomization", probe, maps)
        if self.checkpoint is None:
            raise MedsaliencyError(
                "data_randomization: expected the folder of a network trained on permuted labels, got none; give "
                "checkpoint=FOLDER, or ask for the check in a study, which trains the network itself"
            )
        other = probe.once(("data_randomization", self.checkpoint), partial(_probe_of, probe, self.checkpoint))
        own, again = maps.detach().float().cpu().abs(), explain_again("data_randomization", explain, other).abs()
        scores: Scores = {}
        for name, similarity in COMPARED.items():
            baseline = own_baseline("data_randomization", self.seed, similarity, own)
            scores |= with_margins(f"permuted_{name}", compare(similarity, own, again), baseline)
        return scores


def _probe_of(probe: Probe, folder: str) -> Probe:
    """The same images and targets before the other network; all methods share its passes."""
    return Probe(network_for(probe.classifier, folder), probe.images, probe.objects)


def network_for(classifier: Classifier, folder: str) -> Classifier:
    """The checkpoint in ``folder``, to run as ``classifier`` does: on its device, with its execution and target layer.

    It is read once for a classifier, whatever number of methods and batches ask for it.

    Raises:
        MedsaliencyError: If it cannot be read, has no such layer, or has other classes, channels or size.
    """
    network = _load(classifier, folder)
    network.execution = classifier.execution
    if classifier.known_target_layer is not None:
        network.use_layer(classifier.known_target_layer)
    return network


@lru_cache(maxsize=1)
def _load(classifier: Classifier, folder: str) -> Classifier:
    """Kept for this very classifier: by the time of another, the folder may hold another network."""
    network = load(folder, device=str(classifier.device))
    sizes = {network.size, classifier.size} - {None}
    if (network.classes, network.channels) != (classifier.classes, classifier.channels) or len(sizes) > 1:
        raise MedsaliencyError(
            f"{folder}: the network trained on permuted labels knows classes {list(network.classes)}, "
            f"{network.channels} channel(s) and size {network.size}, the model has {list(classifier.classes)}, "
            f"{classifier.channels} and {classifier.size}; train it on the model's own data"
        )
    return network
