"""Attribution methods, one a file. To add one, write its file and a line in ``METHODS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medsaliency.attribution.ablation_cam import AblationCAM
from medsaliency.attribution.attention_rollout import AttentionRollout
from medsaliency.attribution.blur_integrated_gradients import BlurIntegratedGradients
from medsaliency.attribution.blurred import Blurred
from medsaliency.attribution.center_gaussian import CenterGaussian
from medsaliency.attribution.deep_lift import DeepLIFT
from medsaliency.attribution.edge import Edge
from medsaliency.attribution.eigen_cam import EigenCAM
from medsaliency.attribution.grad_cam import GradCAM
from medsaliency.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from medsaliency.attribution.gradient import Gradient
from medsaliency.attribution.gradient_shap import GradientSHAP
from medsaliency.attribution.guided_backprop import GuidedBackprop
from medsaliency.attribution.guided_grad_cam import GuidedGradCAM
from medsaliency.attribution.guided_integrated_gradients import GuidedIntegratedGradients
from medsaliency.attribution.hires_cam import HiResCAM
from medsaliency.attribution.input_x_gradient import InputXGradient
from medsaliency.attribution.integrated_gradients import IntegratedGradients
from medsaliency.attribution.kernel_shap import KernelSHAP
from medsaliency.attribution.layer_cam import LayerCAM
from medsaliency.attribution.lime import LIME
from medsaliency.attribution.method import Method
from medsaliency.attribution.occlusion import Occlusion
from medsaliency.attribution.random_map import RandomMap
from medsaliency.attribution.rise import RISE
from medsaliency.attribution.score_cam import ScoreCAM
from medsaliency.attribution.smooth_blur_integrated_gradients import SmoothBlurIntegratedGradients
from medsaliency.attribution.smooth_integrated_gradients import SmoothIntegratedGradients
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.attribution.smoothgrad_squared import SmoothGradSquared
from medsaliency.attribution.vargrad import VarGrad
from medsaliency.attribution.x_grad_cam import XGradCAM
from medsaliency.attribution.xrai import XRAI
from medsaliency.types import make

METHODS: dict[str, Callable[..., Method]] = {
    "gradient": Gradient,
    "input_x_gradient": InputXGradient,
    "smoothgrad": SmoothGrad,
    "smoothgrad_squared": SmoothGradSquared,
    "vargrad": VarGrad,
    "integrated_gradients": IntegratedGradients,
    "smooth_integrated_gradients": SmoothIntegratedGradients,
    "guided_integrated_gradients": GuidedIntegratedGradients,
    "blur_integrated_gradients": BlurIntegratedGradients,
    "smooth_blur_integrated_gradients": SmoothBlurIntegratedGradients,
    "grad_cam": GradCAM,
    "grad_cam_plus_plus": GradCAMPlusPlus,
    "layer_cam": LayerCAM,
    "x_grad_cam": XGradCAM,
    "hires_cam": HiResCAM,
    "eigen_cam": EigenCAM,
    "score_cam": ScoreCAM,
    "ablation_cam": AblationCAM,
    "attention_rollout": AttentionRollout,
    "rise": RISE,
    "occlusion": Occlusion,
    "xrai": XRAI,
    "deep_lift": DeepLIFT,
    "gradient_shap": GradientSHAP,
    "guided_backprop": GuidedBackprop,
    "guided_grad_cam": GuidedGradCAM,
    "lime": LIME,
    "kernel_shap": KernelSHAP,
    "random": RandomMap,
    "edge": Edge,
    "center_gaussian": CenterGaussian,
    "blurred": Blurred,
}

CONTROLS = frozenset({"random", "edge", "center_gaussian", "blurred"})
"""Maps that explain nothing of their own, against which the others are measured."""

NEEDS_CAPTUM = frozenset({"deep_lift", "gradient_shap", "guided_backprop", "guided_grad_cam", "lime", "kernel_shap"})
"""Methods that run only with the extra ``captum``."""

NEEDS_ATTENTION = frozenset({"attention_rollout"})
"""Methods that run only on vision transformers with attention between all patches."""

PANEL = tuple(name for name in METHODS if name not in NEEDS_CAPTUM | NEEDS_ATTENTION)
"""Methods that need no extra and run on every network: what runs where none are named."""


def make_method(name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """Build a method by name with its hyper-parameters.

    Raises:
        MedsaliencyError: If the name or a parameter is unknown; the nearest known one is named.
    """
    return make("method", METHODS, name, parameters)


def sharing(methods: Mapping[str, Method]) -> dict[str, Method]:
    """The same methods in the order in which they share most: those that read input gradients come first.

    One pass then gives a :class:`~medsaliency.model.probe.Probe` both the gradients and the features of CAM methods.
    """
    first = {name: m for name, m in methods.items() if getattr(m, "reads_input_gradients", False)}
    return {**first, **methods}
