from __future__ import annotations

import pytest
import torch
from torch import nn

from medsaliency.attribution.blurred import Blurred
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe
from medsaliency.study.config import dump_study, load_study
from medsaliency.types import MedsaliencyError

BASE = {"of": "smoothgrad", "parameters": {"samples": 3, "noise": 0.5}}


def of_one_pixel(row: int, column: int) -> Classifier:
    """Its first logit is twice that pixel of 21 x 42."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(21 * 42, 2))
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].weight[0, 42 * row + column] = 2
    return Classifier(module, ["a", "b"])


def test_a_point_becomes_a_gaussian(generators) -> None:
    maps = Blurred(sigma=0.05)(Probe(of_one_pixel(10, 20), torch.rand(1, 1, 21, 42), [0]), generators(1))
    assert float(maps.sum()) == pytest.approx(2, rel=1e-4)
    # sigma is 1.05 pixels down and 2.1 across.
    down, across = torch.arange(21) - 10, torch.arange(42) - 20
    shape = torch.exp(-0.5 * ((down[:, None] / 1.05) ** 2 + (across / 2.1) ** 2))
    torch.testing.assert_close(maps[0] / maps[0, 10, 20], shape, rtol=1e-4, atol=1e-3)


def test_at_the_border_nothing_fades(generators) -> None:
    """A constant map stays what it is: beyond its edge the map goes on as it ends."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(20, 2))
    nn.init.constant_(module[1].weight, 0.5)
    maps = Blurred(sigma=0.3)(Probe(Classifier(module, ["a", "b"]), torch.rand(1, 1, 4, 5), [0]), generators(1))
    torch.testing.assert_close(maps[0], torch.full((4, 5), 0.5))


def test_a_narrow_blur_leaves_the_other_method_with_its_parameters_and_draws(classifier, images, generators) -> None:
    maps = Blurred(**BASE, sigma=1e-4)(Probe(classifier, images, [0, 1, 2, 0]), generators(4))
    expected = SmoothGrad(samples=3, noise=0.5)(Probe(classifier, images, [0, 1, 2, 0]), generators(4))
    torch.testing.assert_close(maps, expected)


def test_images_do_not_run_into_each_other(generators) -> None:
    probe = Probe(of_one_pixel(10, 20), torch.rand(2, 1, 21, 42), [0, 1])
    assert float(Blurred()(probe, generators(2))[1].abs().max()) == 0


def test_a_study_keeps_it_whole(tmp_path) -> None:
    study = load_study(None, **{"explain.methods": {"blurred": {**BASE, "sigma": 0.1}}})
    assert study.explain.methods == {"blurred": {**BASE, "sigma": 0.1}}
    (tmp_path / "study.yaml").write_text(dump_study(study))
    assert load_study(tmp_path / "study.yaml") == study
    assert hash(Blurred(**study.explain.methods["blurred"])) == hash(Blurred(**BASE, sigma=0.1))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(MedsaliencyError, match=r"sigma above 0.*got 0"):
        Blurred(sigma=0)
    with pytest.raises(MedsaliencyError, match=r"unknown method 'smothgrad'; did you mean 'smoothgrad'"):
        Blurred(of="smothgrad")
    with pytest.raises(MedsaliencyError, match="'gradient' has no parameter 'samples'"):
        Blurred(parameters={"samples": 3})
