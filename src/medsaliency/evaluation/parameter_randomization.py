"""Parameter randomization: Adebayo et al. 2018, arXiv:1810.03292, section 3.

Judged by the method's own baseline, as Arun et al. 2021, doi:10.1148/ryai.2021200267.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from torch import Tensor

from medsaliency.evaluation.check import Explain, compare, explain_again, mean_score
from medsaliency.evaluation.metric import Scores, check_maps
from medsaliency.evaluation.own_baseline import COMPARED, measures_of, own_baseline, with_margins
from medsaliency.model.probe import Probe
from medsaliency.model.randomization import randomized, stages
from medsaliency.types import Curve, Generators, Measure, MedsaliencyError, Score

KINDS = {"cascading": "of a wholly randomized model", "independent": "of models with one stage randomized"}


@dataclass(frozen=True)
class ParameterRandomization:
    """Whether a method's maps change when what the model has learned is taken away.

    The layers with parameters are divided into ``steps`` stages. Cascading randomization draws them anew from the
    output to the input, each stage on top of those before it; its value is the similarity, at the end, of an image's
    map and its map from the randomized model, and its curve the way there. Independent randomization draws one stage
    anew and leaves the others; its value is the mean over stages. All compare magnitudes: a map whose sign alone turns
    has not changed.

    A margin is the method's baseline less the similarity, where the baseline is the mean similarity of its maps of
    different images of the batch, over all pairs or 50 at random. Above 0 it passes: the maps of one image by the
    trained and by a random model are then less alike than those of two images. Costs ``2 * steps - 1`` explanations,
    each of a model that is new and shares nothing with the others.

    Args:
        steps: Stages, at least 1.
        seed: Of the random weights, which are the same for all images and methods, and of the pairs.

    Raises:
        MedsaliencyError: If ``steps`` is out of its range.
    """

    steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise MedsaliencyError(f"parameter_randomization: expected steps of 1 or more, got {self.steps}")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``cascading_ssim``, ``cascading_ssim_margin`` and likewise ``_spearman``, ``_hog`` and ``independent_``."""
        return tuple(measure for kind, model in KINDS.items() for measure in measures_of(kind, model))

    def __call__(self, probe: Probe, explain: Explain, maps: Tensor, rngs: Generators) -> Scores:
        """Twelve scores an image; what is drawn hangs on ``seed``."""
        del rngs
        check_maps("parameter_randomization", probe, maps)
        groups = stages(probe.classifier.module, self.steps)
        if not groups:
            nothing = [Score.undefined("the model has no parameters")] * len(probe)
            return {measure.name: nothing for measure in self.measures}
        own = maps.detach().float().cpu().abs()
        cascading = [self._maps(probe, explain, chain(*groups[: i + 1])) for i in range(len(groups))]
        independent = [cascading[0], *(self._maps(probe, explain, group) for group in groups[1:])]
        scores: Scores = {}
        for name, similarity in COMPARED.items():
            baseline = own_baseline("parameter_randomization", self.seed, similarity, own)
            way = [compare(similarity, own, again) for again in cascading]
            single = [compare(similarity, own, again) for again in independent]
            for kind, found in (
                ("cascading", [_end(steps) for steps in zip(*way, strict=True)]),
                ("independent", [mean_score(steps) for steps in zip(*single, strict=True)]),
            ):
                scores |= with_margins(f"{kind}_{name}", found, baseline)
        return {measure.name: scores[measure.name] for measure in self.measures}

    def _maps(self, probe: Probe, explain: Explain, layers: Iterable[str]) -> Tensor:
        """Magnitudes of the method's maps (N, H, W) by the model with these layers randomized, of the same targets."""
        other = Probe(randomized(probe.classifier, layers, self.seed), probe.images, probe.objects)
        return explain_again("parameter_randomization", explain, other).abs()


def _end(steps: Sequence[Score]) -> Score:
    """The last score of a cascade, with the way there where all of it is defined."""
    if any(score.reason for score in steps):
        return steps[-1]
    shares = tuple(i / len(steps) for i in range(len(steps) + 1))
    return replace(steps[-1], curve=Curve(shares, (1.0, *(score.value for score in steps))))
