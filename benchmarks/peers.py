"""The independent implementations, each called as its documentation shows users to."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cases import Case, Settings
from medsaliency.attribution import make_method
from medsaliency.types import FloatArray

Run = Callable[[Case, Settings, int], FloatArray]
CallModel = Callable[..., dict[str, np.ndarray]]


@dataclass(frozen=True)
class Peer:
    """Another implementation of a method.

    Args:
        name: Of the package, as it is installed.
        module: To import.
        call: How it is called, in words for the page.
        run: Explains the first n images of a case; signed maps (n, H, W), channels summed.
    """

    name: str
    module: str
    call: str
    run: Run

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return find_spec(self.module.partition(".")[0]) is not None

    @property
    def version(self) -> str:
        """Of the package."""
        return version(self.name)


class _OlderNumPy:
    """NumPy as PAIR's ``saliency`` knows it: ``quantile`` with ``interpolation``, and noise that can be repeated."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def quantile(self, values: np.ndarray, q: float, interpolation: str) -> np.ndarray:
        return np.quantile(values, q, method=interpolation)


@contextmanager
def pair(seed: int) -> Iterator[Any]:
    """PAIR's ``saliency.core``, which calls what NumPy has dropped."""
    import saliency.core as core
    from saliency.core import base, guided_ig

    older = _OlderNumPy(seed)
    before = base.np, guided_ig.np
    base.np = guided_ig.np = older
    try:
        yield core
    finally:
        base.np, guided_ig.np = before


def call_model(case: Case, index: int) -> CallModel:
    """What PAIR asks of a user: gradients of one image's class at a batch of its variants (n, H, W, C)."""
    target, device = case.targets[index], case.device

    def call(images: np.ndarray, call_model_args: object = None, expected_keys: object = None) -> dict[str, np.ndarray]:
        del call_model_args, expected_keys
        given = torch.tensor(np.moveaxis(images, -1, 1), dtype=torch.float32, device=device).requires_grad_()
        scores = case.plain(given)[:, target]
        (gradients,) = torch.autograd.grad(scores, given, grad_outputs=torch.ones_like(scores))
        return {"INPUT_OUTPUT_GRADIENTS": gradients.movedim(1, -1).cpu().numpy()}

    return call


def channels_last(case: Case, index: int) -> np.ndarray:
    """One image as PAIR takes it, (H, W, C)."""
    return case.images[index].movedim(0, -1).cpu().numpy()


def _pair(call: str, explain: Callable[[Any, np.ndarray, CallModel, Settings], np.ndarray]) -> Peer:
    def run(case: Case, settings: Settings, count: int) -> FloatArray:
        maps = []
        with pair(settings.seed) as core:
            for i in range(count):
                found = explain(core, channels_last(case, i), call_model(case, i), settings)
                maps.append(found.sum(axis=2) if found.ndim == 3 else found)
        return np.stack(maps).astype(np.float32)

    return Peer("saliency", "saliency.core", call, run)


def _xrai(core: Any, image: np.ndarray, call: CallModel, settings: Settings, algorithm: str) -> np.ndarray:
    ends = [np.zeros_like(image), np.ones_like(image)]
    how = core.XRAIParameters(algorithm=algorithm)
    return core.XRAI().GetMask(image, call, baselines=ends, extra_parameters=how, batch_size=settings.pair_batch_size)


def _grad_cam(name: str) -> Peer:
    def run(case: Case, settings: Settings, count: int) -> FloatArray:
        import pytorch_grad_cam as package
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        targets = [ClassifierOutputTarget(target) for target in case.targets[:count]]
        with getattr(package, name)(model=case.plain, target_layers=[case.plain_layer]) as cam:
            cam.batch_size = settings.batch_size
            with redirect_stderr(io.StringIO()):  # its progress bars
                return cam(input_tensor=case.images[:count], targets=targets)

    return Peer("grad-cam", "pytorch_grad_cam", f"`{name}` on the batch", run)


def _torchcam(name: str, *, masks: bool = False) -> Peer:
    def run(case: Case, settings: Settings, count: int) -> FloatArray:
        from torchcam import methods

        images, targets = case.images[:count], case.targets[:count]
        options = {"batch_size": settings.batch_size} if masks else {}
        with getattr(methods, name)(case.plain, case.plain_layer, **options) as cam:
            with torch.inference_mode(masks):
                scores = case.plain(images)
            (maps,) = cam(targets) if masks else cam(targets, scores)
        return _upsampled(maps, images).cpu().numpy()

    return Peer("torchcam", "torchcam.methods", f"`{name}` on the batch, its map of the layer's grid enlarged", run)


def _upsampled(maps: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(maps[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def _input_x_gradient(case: Case, settings: Settings, count: int) -> FloatArray:
    from captum.attr import InputXGradient

    del settings
    images = case.images[:count].clone().requires_grad_()
    values = InputXGradient(case.plain).attribute(images, target=case.targets[:count])
    return values.detach().sum(dim=1).cpu().numpy()


def _occlusion(case: Case, settings: Settings, count: int) -> FloatArray:
    from captum.attr import Occlusion

    ours = make_method("occlusion")
    images = case.images[:count]
    channels, height, width = images.shape[1:]
    window, step = ([round(share * side) for side in (height, width)] for share in (ours.window, ours.stride))
    values = Occlusion(case.plain).attribute(
        images,
        target=case.targets[:count],
        sliding_window_shapes=(channels, *window),
        strides=(channels, *step),
        baselines=ours.baseline,
        perturbations_per_eval=max(1, settings.batch_size // count),
    )
    return values[:, 0].cpu().numpy()  # a window covers all channels, so each has the same values


PEERS: dict[str, tuple[Peer, ...]] = {
    "gradient": (
        _pair(
            "`GradientSaliency().GetMask`", lambda core, image, call, _: core.GradientSaliency().GetMask(image, call)
        ),
    ),
    "smoothgrad": (
        _pair(
            "`GradientSaliency().GetSmoothedMask`, 25 samples, stdev_spread 0.15, magnitude=False",
            lambda core, image, call, _: core.GradientSaliency().GetSmoothedMask(
                image, call, nsamples=25, stdev_spread=0.15, magnitude=False
            ),
        ),
    ),
    "integrated_gradients": (
        _pair(
            "`IntegratedGradients().GetMask`, 25 steps from black",
            lambda core, image, call, settings: core.IntegratedGradients().GetMask(
                image, call, x_steps=25, x_baseline=np.zeros(image.shape), batch_size=settings.pair_batch_size
            ),
        ),
    ),
    "smooth_integrated_gradients": (
        _pair(
            "`IntegratedGradients().GetSmoothedMask`, 25 samples of 25 steps, magnitude=False",
            lambda core, image, call, settings: core.IntegratedGradients().GetSmoothedMask(
                image,
                call,
                nsamples=25,
                stdev_spread=0.15,
                magnitude=False,
                x_steps=25,
                x_baseline=np.zeros(image.shape),
                batch_size=settings.pair_batch_size,
            ),
        ),
    ),
    "guided_integrated_gradients": (
        _pair(
            "`GuidedIG().GetMask`, 25 steps, fraction 0.5, max_dist 1",
            lambda core, image, call, _: core.GuidedIG().GetMask(
                image, call, x_steps=25, x_baseline=np.zeros(image.shape), fraction=0.5, max_dist=1.0
            ),
        ),
    ),
    "blur_integrated_gradients": (
        _pair(
            "`BlurIG().GetMask`, 100 steps, max_sigma 50",
            lambda core, image, call, settings: core.BlurIG().GetMask(image, call, batch_size=settings.pair_batch_size),
        ),
    ),
    "smooth_blur_integrated_gradients": (
        _pair(
            "`BlurIG().GetSmoothedMask`, 25 samples of 100 steps, magnitude=False",
            lambda core, image, call, settings: core.BlurIG().GetSmoothedMask(
                image, call, nsamples=25, stdev_spread=0.15, magnitude=False, batch_size=settings.pair_batch_size
            ),
        ),
    ),
    "xrai": (
        _pair(
            "`XRAI().GetMask`, full, 100 steps from black and from white",
            lambda core, image, call, settings: _xrai(core, image, call, settings, "full"),
        ),
    ),
    "xrai_fast": (
        _pair(
            "`XRAI().GetMask`, fast, 100 steps from black and from white",
            lambda core, image, call, settings: _xrai(core, image, call, settings, "fast"),
        ),
    ),
    "grad_cam": (_grad_cam("GradCAM"), _torchcam("GradCAM")),
    "grad_cam_plus_plus": (_grad_cam("GradCAMPlusPlus"), _torchcam("GradCAMpp")),
    "score_cam": (_grad_cam("ScoreCAM"), _torchcam("ScoreCAM", masks=True)),
    "layer_cam": (_grad_cam("LayerCAM"), _torchcam("LayerCAM")),
    "x_grad_cam": (_grad_cam("XGradCAM"), _torchcam("XGradCAM")),
    "hires_cam": (_grad_cam("HiResCAM"),),
    "eigen_cam": (_grad_cam("EigenCAM"),),
    "ablation_cam": (_grad_cam("AblationCAM"),),
    "input_x_gradient": (Peer("captum", "captum.attr", "`InputXGradient` on the batch", _input_x_gradient),),
    "occlusion": (Peer("captum", "captum.attr", "`Occlusion` on the batch, our window and stride", _occlusion),),
}
"""For each method measured its peers; that of the least seconds counts."""
