"""What each method would give with no limit on its passes, computed in the plainest way: what errors are measured by.

Everything runs the plain module, in float32 and without a line of ours: sums over many points of a path or many noisy
copies, and the papers' formulas for the maps of a layer. Many passes make them expensive, so they are kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from cases import Case, Settings
from errors import Limit, of_samples
from medsaliency.attribution import make_method
from medsaliency.types import FloatArray, generator
from peers import CallModel, call_model, channels_last, pair
from store import Arrays, file_of, kept

Make = Callable[["Asked"], Tensor | FloatArray | Limit]
CHUNK = 16
"""Images in a pass."""
NOISE, MAX_SIGMA = 0.15, 50.0
"""Of the smoothed methods as a share of the image's range, and of Blur IG in pixels: the paper's and PAIR's default."""
POSITIONS = 4
"""Points of each noisy copy's own path, one at random in each of as many equal parts."""
ROUNDING, REPEATS = 1e-6, 3
"""Noise on gradients that stands for other rounding, as a share of their root mean square, and how often PAIR's Guided
IG runs with it. Not as a share of each: a small gradient is a sum of large terms, and rounded like these."""


@dataclass(frozen=True)
class Asked:
    """One image of a case, and how to run the plain module on others in its place."""

    case: Case
    settings: Settings
    index: int
    cache: Path

    @property
    def image(self) -> Tensor:
        """(C, H, W)."""
        return self.case.images[self.index]

    def gradients(self, points: Tensor) -> Iterator[Tensor]:
        """Gradient (C, H, W) of the image's class at each of (P, C, H, W)."""
        for part in points.split(CHUNK):
            given = part.detach().requires_grad_()
            yield from torch.autograd.grad(self._logit(given).sum(), given)[0]

    def scores(self, points: Tensor) -> Tensor:
        """Logit (P,) of the image's class at each of (P, C, H, W)."""
        with torch.no_grad():
            return torch.cat([self._logit(part) for part in points.split(CHUNK)])

    def features(self) -> tuple[Tensor, Tensor]:
        """The target layer's activations and gradients, both (K, h, w)."""
        kept: list[Tensor] = []
        handle = self.case.plain_layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        try:
            score = self._logit(self.image[None]).sum()
        finally:
            handle.remove()
        (gradients,) = torch.autograd.grad(score, kept)
        return kept[0].detach()[0], gradients[0]

    def noisy(self) -> Iterator[tuple[Tensor, np.random.Generator]]:
        """Copies of the image with Gaussian noise, and the generator they come from."""
        rng = generator(self.settings.seed, "reference", self.case.ids[self.index])
        spread = NOISE * float(self.image.max() - self.image.min())
        for _ in range(self.settings.reference_samples):
            drawn = torch.from_numpy(rng.standard_normal(tuple(self.image.shape), dtype=np.float32))
            yield self.image + spread * drawn.to(self.image.device), rng

    def at_image_size(self, cam: Tensor) -> Tensor:
        """A map (h, w) of the layer at the image's size."""
        return F.interpolate(cam[None, None], self.image.shape[1:], mode="bilinear", align_corners=False)[0, 0]

    def _logit(self, images: Tensor) -> Tensor:
        return self.case.plain(images)[:, self.case.targets[self.index]]


Path_ = Callable[[float], Tensor]
"""From 0, the baseline, to 1, the image."""


def along(asked: Asked, path: Path_, steps: int, rng: np.random.Generator | None = None) -> Tensor:
    """Integral of the gradient along a path, (C, H, W).

    In each of ``steps`` equal parts the gradient in the middle, or at random given ``rng``, times the step taken.
    """
    within = np.full(steps, 0.5) if rng is None else rng.random(steps)
    total = torch.zeros_like(asked.image)
    for start in range(0, steps, CHUNK):
        part = range(start, min(start + CHUNK, steps))
        ends = [path(k / steps) for k in (*part, part[-1] + 1)]
        points = torch.stack([path((k + within[k]) / steps) for k in part])
        for gradient, before, after in zip(asked.gradients(points), ends, ends[1:], strict=False):
            total += gradient * (after - before)
    return total


def straight(image: Tensor, baseline: float = 0.0) -> Path_:
    """From an image of one value, black by default."""
    return lambda t: baseline + t * (image - baseline)


def blurred(image: Tensor) -> Path_:
    """From the image blurred, closely spaced where it is sharp, since that is where it changes."""

    def at(t: float) -> Tensor:
        sigma = MAX_SIGMA * (1 - t) ** 2
        soft = ndimage.gaussian_filter(image.cpu().numpy(), (0, sigma, sigma), mode="constant") if sigma else image
        return torch.as_tensor(soft, device=image.device)

    return at


def _gradient(asked: Asked) -> Tensor:
    return next(asked.gradients(asked.image[None])).sum(dim=0)


def _input_x_gradient(asked: Asked) -> Tensor:
    return (next(asked.gradients(asked.image[None])) * asked.image).sum(dim=0)


def _smoothgrad(asked: Asked) -> Limit:
    copies = torch.stack([copy for copy, _ in asked.noisy()])
    return of_samples(np.stack([gradient.sum(dim=0).cpu().numpy() for gradient in asked.gradients(copies)]))


def _smoothed(kind: Callable[[Tensor], Path_]) -> Make:
    def make(asked: Asked) -> Limit:
        # Each copy has points of its own, so that the copies' maps are independent in those as well.
        maps = [along(asked, kind(copy), POSITIONS, rng).sum(dim=0).cpu().numpy() for copy, rng in asked.noisy()]
        return of_samples(np.stack(maps))

    return make


def _blurred(asked: Asked) -> Tensor:
    return along(asked, blurred(asked.image), asked.settings.reference_steps).sum(dim=0)


def integral(asked: Asked, baseline: float) -> FloatArray:
    """Integrated gradients (C, H, W) from an image of one value, kept for all methods that need them."""
    steps = asked.settings.reference_steps
    file = file_of(asked.cache, asked.case, asked.index, f"integral_from_{baseline:g}", {"reference_steps": steps})

    def make() -> Arrays:
        return {"values": along(asked, straight(asked.image, baseline), steps).cpu().numpy()}

    return kept(file, make)["values"]


def _integrated(asked: Asked) -> FloatArray:
    return integral(asked, 0.0).sum(axis=0)


def _xrai(algorithm: str) -> Make:
    def make(asked: Asked) -> FloatArray:
        attribution = (integral(asked, 0.0) + integral(asked, 1.0)) / 2
        with pair(asked.settings.seed) as core:
            return core.XRAI().GetMask(
                channels_last(asked.case, asked.index),
                None,
                base_attribution=np.moveaxis(attribution, 0, -1),
                extra_parameters=core.XRAIParameters(algorithm=algorithm),
            )

    return make


def _guided(asked: Asked) -> Limit:
    """PAIR's map, and what it is instead where gradients are rounded otherwise."""
    image, call = channels_last(asked.case, asked.index), call_model(asked.case, asked.index)
    rngs = [generator(asked.settings.seed, "rounding", asked.case.ids[asked.index], str(k)) for k in range(REPEATS)]
    start = np.zeros(image.shape)
    with pair(asked.settings.seed) as core:
        maps = [
            core.GuidedIG().GetMask(image, each, x_steps=25, x_baseline=start, fraction=0.5, max_dist=1.0).sum(axis=2)
            for each in (call, *(_rounded_otherwise(call, rng) for rng in rngs))
        ]
    return Limit(maps[0], repeated=np.stack(maps[1:]))


def _rounded_otherwise(call: CallModel, rng: np.random.Generator) -> CallModel:
    def shaken(*given: object, **options: object) -> dict[str, np.ndarray]:
        found = call(*given, **options)
        return {
            key: values + ROUNDING * np.sqrt(np.square(values).mean()) * rng.standard_normal(values.shape)
            for key, values in found.items()
        }

    return shaken


def _cam(weigh: Callable[[Tensor, Tensor], Tensor]) -> Make:
    """The positive part of the sum over feature maps, each times what ``weigh`` gives of (activations, gradients)."""

    def make(asked: Asked) -> Tensor:
        activations, gradients = asked.features()
        return asked.at_image_size((weigh(activations, gradients) * activations).sum(dim=0).relu())

    return make


def _mean(values: Tensor) -> Tensor:
    return values.mean(dim=(1, 2), keepdim=True)


def _total(values: Tensor) -> Tensor:
    return values.sum(dim=(1, 2), keepdim=True)


def _plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    below = 2 * gradients**2 + _total(activations) * gradients**3
    return _total(torch.where(below != 0, gradients**2 / below, 0.0) * gradients.relu())


def _x_grad(activations: Tensor, gradients: Tensor) -> Tensor:
    mass = _total(activations)
    return torch.where(mass != 0, _total(gradients * activations) / mass, 0.0)


def _score_cam(asked: Asked) -> Tensor:
    activations, _ = asked.features()
    scores = []
    for feature in activations:
        mask = asked.at_image_size(feature)
        reach = mask.max() - mask.min()
        mask = (mask - mask.min()) / reach if reach > 0 else torch.zeros_like(mask)
        scores.append(asked.scores((mask * asked.image)[None]))
    weights = torch.cat(scores).softmax(dim=0)
    return asked.at_image_size((weights[:, None, None] * activations).sum(dim=0).relu())


def _ablation_cam(asked: Asked) -> Tensor:
    activations, _ = asked.features()
    (whole,) = asked.scores(asked.image[None])
    weights = []
    for k in range(len(activations)):
        without = activations.clone()
        without[k] = 0
        handle = asked.case.plain_layer.register_forward_hook(lambda *_, put_out=without: put_out[None].clone())
        try:
            weights.append((whole - asked.scores(asked.image[None])[0]) / whole.abs())
        finally:
            handle.remove()
    return asked.at_image_size((torch.stack(weights)[:, None, None] * activations).sum(dim=0).relu())


def _eigen_cam(asked: Asked) -> Tensor:
    activations, _ = asked.features()
    _, values, vectors = torch.linalg.svd(activations.flatten(1), full_matrices=False)
    cam = values[0] * vectors[0]
    cam = cam * cam[cam.abs().argmax()].sign()
    return asked.at_image_size(cam.reshape(activations.shape[1:]).relu())


def _occlusion(asked: Asked) -> Tensor:
    method, (_, height, width) = make_method("occlusion"), asked.image.shape
    falls, covers = torch.zeros(2, height, width, device=asked.image.device)
    whole = asked.scores(asked.image[None])[0]
    side, step = (round(share * height) for share in (method.window, method.stride))
    for top in range(0, height - side + step, step):
        for left in range(0, width - side + step, step):
            covered = asked.image.clone()
            covered[:, top : top + side, left : left + side] = 0
            falls[top : top + side, left : left + side] += whole - asked.scores(covered[None])[0]
            covers[top : top + side, left : left + side] += 1
    return falls / covers


@dataclass(frozen=True)
class Reference:
    """How a method's limit is computed.

    Args:
        text: For the page.
        make: Computes it.
        scaled: Whether maps are compared after scaling each to [0, 1], for methods whose values carry no unit.
        uses: Settings that it depends on.
    """

    text: str
    make: Make
    scaled: bool = False
    uses: tuple[str, ...] = ()


STEPS, SAMPLES = ("reference_steps",), ("reference_samples", "seed")
FORMULA = "the paper's formula, one image at a time"
REFERENCES: dict[str, Reference] = {
    "gradient": Reference("autograd, one image at a time", _gradient),
    "input_x_gradient": Reference("autograd, one image at a time", _input_x_gradient),
    "smoothgrad": Reference("mean of {reference_samples} other noisy copies", _smoothgrad, uses=SAMPLES),
    "integrated_gradients": Reference("midpoint sum, {reference_steps} steps", _integrated, uses=STEPS),
    "smooth_integrated_gradients": Reference(
        f"{{reference_samples}} other noisy copies, {POSITIONS} random points of each path",
        _smoothed(straight),
        uses=SAMPLES,
    ),
    "guided_integrated_gradients": Reference(
        "PAIR's, 25 steps: with more of them its path becomes another and does not settle. The peer's error is how far "
        f"its map is from itself, the median of {REPEATS} runs with noise on its gradients, {ROUNDING:g} of their "
        "root mean square",
        _guided,
        uses=("seed",),
    ),
    "blur_integrated_gradients": Reference(
        "midpoint sum, {reference_steps} steps closest where the image is sharp", _blurred, uses=STEPS
    ),
    "smooth_blur_integrated_gradients": Reference(
        f"{{reference_samples}} other noisy copies, {POSITIONS} random points of each path",
        _smoothed(blurred),
        uses=SAMPLES,
    ),
    "xrai": Reference("PAIR's regions of midpoint sums, {reference_steps} steps", _xrai("full"), True, STEPS),
    "xrai_fast": Reference("PAIR's regions of midpoint sums, {reference_steps} steps", _xrai("fast"), True, STEPS),
    "grad_cam": Reference(FORMULA, _cam(lambda _, gradients: _mean(gradients)), True),
    "grad_cam_plus_plus": Reference(FORMULA, _cam(_plus_plus), True),
    "layer_cam": Reference(FORMULA, _cam(lambda _, gradients: gradients.relu()), True),
    "x_grad_cam": Reference(FORMULA, _cam(_x_grad), True),
    "hires_cam": Reference(FORMULA, _cam(lambda _, gradients: gradients), True),
    "eigen_cam": Reference("the paper's singular vector, its maps not centered as the peer's are", _eigen_cam, True),
    "score_cam": Reference(FORMULA, _score_cam, True),
    "ablation_cam": Reference("one feature map at a time, through the whole network", _ablation_cam, True),
    "occlusion": Reference("one window at a time", _occlusion),
}


def limit_of(method: str, case: Case, settings: Settings, index: int, cache: Path) -> Limit:
    """The reference of one image, from the cache or made now."""
    reference = REFERENCES[method]

    def make() -> Arrays:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            found = reference.make(Asked(case, settings, index, cache))
        limit = (
            found if isinstance(found, Limit) else Limit(found.cpu().numpy() if isinstance(found, Tensor) else found)
        )
        return {
            "values": np.asarray(limit.values, dtype=np.float32),
            "variance": np.array(limit.variance),
            "repeated": np.asarray(limit.repeated, dtype=np.float32),
        }

    used = {name: getattr(settings, name) for name in reference.uses}
    found = kept(file_of(cache, case, index, method, used), make)
    return Limit(found["values"], float(found["variance"]), found["repeated"])
