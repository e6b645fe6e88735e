"""Which passes may run in bfloat16, and which must not."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from medsaliency.attribution import NEEDS_CAPTUM, PANEL, make_method
from medsaliency.model.execution import Execution
from medsaliency.model.probe import Probe

LOW_SCORES = {"score_cam", "rise"}
LOW_GRADIENTS = {
    *("smoothgrad", "smoothgrad_squared", "vargrad", "integrated_gradients", "smooth_integrated_gradients"),
    *("blur_integrated_gradients", "smooth_blur_integrated_gradients", "xrai"),
}
FEW = {
    "rise": {"masks": 3},
    "lime": {"samples": 4, "segments": 4},
    "kernel_shap": {"samples": 4, "segments": 4},
    "integrated_gradients": {"max_steps": 12},
}


def low_passes(name, execution, classifier, images, generators) -> bool:
    """Whether any pass of a method ran in bfloat16."""
    seen = []
    hook = classifier.module[0][0].register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    classifier.execution = execution
    make_method(name, FEW.get(name))(Probe(classifier, images[:1], [0]), generators(1))
    hook.remove()
    assert seen or name in ("random", "edge", "center_gaussian")
    return any(seen)


@pytest.mark.parametrize("name", [name for name in (*PANEL, *sorted(NEEDS_CAPTUM)) if name != "blurred"])
@pytest.mark.filterwarnings("ignore:Setting .*hooks", "ignore:Input Tensor", "ignore:Minimum element")
def test_low_precision_is_for_passes_of_which_a_mean_is_taken(name, classifier, images, generators) -> None:
    if name in NEEDS_CAPTUM and find_spec("captum") is None:
        pytest.skip("needs captum")
    for execution, allowed in (
        (Execution(precision="bfloat16"), LOW_SCORES),
        (Execution(gradient_precision="bfloat16"), LOW_GRADIENTS),
    ):
        assert low_passes(name, execution, classifier, images, generators) == (name in allowed)
