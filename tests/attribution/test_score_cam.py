from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from medsaliency.attribution.score_cam import ScoreCAM, _rounds, masked_scores
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.types import MedsaliencyError


def test_a_network_worked_out_by_hand(by_hand, by_hand_image, generators) -> None:
    # Masks: A0 spans 0 to 1 already; A1 / 0.5 = [[0, 0], [1, 0.5]]; A2 is constant and shows the black image.
    # x * A0 = [[1, 0.25], [0, 0.0625]]: mean A0 = 0.328125, mean A1 = (0.25 + 0.5 + 0.4375) / 4 = 0.296875,
    #   z0 = 4 * 0.328125 - 2 * 0.296875 = 0.71875, z1 = -0.328125 + 3 * 0.296875 = 0.5625.
    # x * A1 / 0.5 = [[0, 0], [0, 0.125]]: mean A0 = 0.03125, mean A1 = (0.5 + 0.5 + 0.5 + 0.375) / 4 = 0.46875,
    #   z0 = 0.125 - 0.9375 = -0.8125, z1 = -0.03125 + 1.40625 = 1.375.
    # Black: A0 = 0, A1 = 0.5, z0 = -1, z1 = 1.5.
    logits = [(0.71875, -0.8125, -1.0), (0.5625, 1.375, 1.5)]
    maps = ScoreCAM()(Probe(by_hand, by_hand_image.repeat(2, 1, 1, 1), [0, 1]), generators(2))
    a0, a1 = by_hand_image[0, 0], torch.tensor([[0.0, 0.0], [0.5, 0.25]])
    for target, of_the_masked in enumerate(logits):
        shares = [math.exp(logit) for logit in of_the_masked]
        w0, w1, w2 = (share / sum(shares) for share in shares)
        torch.testing.assert_close(maps[target], w0 * a0 + w1 * a1 + w2 * 0.3)


def test_a_mask_is_scaled_from_its_lowest_value(by_hand, generators) -> None:
    # A0 = x spans 0.5 to 1, so its mask is [[1, 0], [0, 0.5]]; A1 = 0 and A2 are constant and show the black image.
    # x * mask = [[1, 0], [0, 0.375]]: mean A0 = 0.34375, mean A1 = (0.5 + 0.5 + 0.125) / 4 = 0.28125, z0 = 0.8125.
    x = torch.tensor([[1.0, 0.5], [0.5, 0.75]])
    maps = ScoreCAM()(Probe(by_hand, x[None, None], [0]), generators(1))
    shares = [math.exp(0.8125), math.exp(-1), math.exp(-1)]
    torch.testing.assert_close(maps[0], (shares[0] * x + shares[2] * 0.3) / sum(shares))


def test_masked_images_pass_in_micro_batches(by_hand, by_hand_image, generators) -> None:
    by_hand.batch_size = 1
    ScoreCAM()(Probe(by_hand, by_hand_image, [0]), generators(1))  # what is found out once about a classifier
    passes = []
    hook = by_hand.module.register_forward_pre_hook(lambda _module, inputs: passes.append(len(inputs[0])))
    ScoreCAM()(Probe(by_hand, by_hand_image, [0]), generators(1))
    hook.remove()
    # The features, the black image, and the two feature maps that are not constant.
    assert passes == [1, 1, 1, 1]


@pytest.fixture
def wide() -> Classifier:
    """A network of 300 feature maps, few of which carry most."""
    module = nn.Sequential(
        nn.Conv2d(1, 300, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(1200, 3)
    )
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
        module[0].weight.mul_(torch.rand(300, generator=draw)[:, None, None, None] ** 4)
        module[4].weight.mul_(0.3)  # logits of masked images that differ by about 1
    return Classifier(module, ["a", "b", "c"], target_layer="1", batch_size=16)


@pytest.fixture
def scored(monkeypatch) -> list[int]:
    """How many feature maps were scored at each call."""
    calls = []

    def counted(probe: Probe, index: int, activations: torch.Tensor) -> torch.Tensor:
        calls.append(len(activations))
        return masked_scores(probe, index, activations)

    monkeypatch.setattr("medsaliency.attribution.score_cam.masked_scores", counted)
    return calls


def relative_errors(maps: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    return (maps - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)


@pytest.fixture
def six() -> torch.Tensor:
    """Smooth images, whose feature maps are smooth as well."""
    coarse = torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("tolerance", [0.02, 0.005])
def test_a_tolerance_saves_passes_and_keeps_its_word(wide, six, generators, scored, tolerance) -> None:
    exact = ScoreCAM(tolerance=None)(Probe(wide, six, [0] * 6), [])
    all_passes = sum(scored)
    scored.clear()
    maps = ScoreCAM(tolerance=tolerance)(Probe(wide, six, [0] * 6), generators(6))
    assert sum(scored) < 0.9 * all_passes
    assert 0 < float(relative_errors(maps, exact).max()) <= tolerance


@pytest.mark.parametrize("sign", ["signed", "absolute", "positive"])
def test_the_word_is_kept_under_each_sign(wide, six, generators, sign) -> None:
    classifier = Classifier(wide.module, ["a", "b", "c"], target_layer="0", batch_size=16)  # before the ReLU
    exact = ScoreCAM(tolerance=None, sign=sign)(Probe(classifier, six, [1] * 6), [])
    maps = ScoreCAM(tolerance=0.02, sign=sign)(Probe(classifier, six, [1] * 6), generators(6))
    assert 0 < float(relative_errors(maps, exact).max()) <= 0.02


def test_the_micro_batch_changes_nothing(wide, six, generators) -> None:
    maps = ScoreCAM()(Probe(wide, six, [0] * 6), generators(6))
    wide.batch_size = 50
    torch.testing.assert_close(ScoreCAM()(Probe(wide, six, [0] * 6), generators(6)), maps, rtol=1e-4, atol=1e-6)


def test_an_image_s_generator_alone_decides_what_is_scored(wide, six, generators) -> None:
    maps = ScoreCAM(tolerance=0.02)(Probe(wide, six, [0] * 6), generators(6))
    last = ScoreCAM(tolerance=0.02)(Probe(wide, six[5:], [0]), generators(6)[5:])
    torch.testing.assert_close(last, maps[5:], rtol=1e-4, atol=1e-6)
    other = ScoreCAM(tolerance=0.02)(Probe(wide, six[5:], [0]), generators(1))
    assert float(relative_errors(other, maps[5:]).max()) > 1e-5


def test_few_feature_maps_are_all_scored(classifier, images, generators) -> None:
    maps = ScoreCAM(tolerance=0.5)(Probe(classifier, images, [0] * 4), generators(4))
    exact = ScoreCAM(tolerance=None)(Probe(classifier, images, [0] * 4), [])
    torch.testing.assert_close(maps, exact)


@pytest.mark.parametrize(
    ("maps", "ends"),
    [
        (0, []),
        (2, [2]),
        (128, [128]),
        (171, [128, 171]),
        (300, [128, 192, 300]),
        (2048, [128, 192, 288, 432, 648, 972, 1458, 2048]),
    ],
)
def test_rounds_grow_by_half_and_leave_no_small_rest(maps, ends) -> None:
    rounds = list(_rounds(maps))
    assert [end for _, end in rounds] == ends
    assert [start for start, _ in rounds] == [0, *ends][: len(ends)]


def test_a_tolerance_that_cannot_be_reached_scores_all(wide, six, generators, scored) -> None:
    exact = ScoreCAM(tolerance=None)(Probe(wide, six[:1], [0]), [])
    maps = ScoreCAM(tolerance=1e-9)(Probe(wide, six[:1], [0]), generators(1))
    assert scored[0] == sum(scored[1:])
    assert len(scored) > 2
    torch.testing.assert_close(maps, exact)


def test_a_tolerance_that_is_none_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match="score_cam: expected tolerance > 0 or None, got 0"):
        ScoreCAM(tolerance=0.0)


MEMORY = """
import re
from pathlib import Path
import torch
from torch import nn
from medsaliency.attribution.score_cam import ScoreCAM, _rounds, masked_scores
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

module = nn.Sequential(
    nn.Conv2d(3, 2048, 1, stride=32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 2)
)
with torch.no_grad():  # all but 64 feature maps are zero everywhere: the passes saved would use the same memory again
    module[0].bias[64:] = -100
classifier = Classifier(module, ["a", "b"], channels=3, target_layer="1")
probe = Probe(classifier, torch.rand(1, 3, 1024, 1024), [0])
Path("/proc/self/clear_refs").write_text("5")  # the peak from here on, and not that of imports
before = peak()
maps = ScoreCAM(tolerance=None)(probe, [])
assert float(maps.max()) > 0
print((peak() - before) / 2**20)
"""


def test_two_thousand_feature_maps_at_1024_pixels_add_little_memory() -> None:
    ran = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert 0 < float(ran.stdout) < 2
