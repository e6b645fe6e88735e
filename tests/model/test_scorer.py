from __future__ import annotations

import torch
from torch import nn

from medsaliency.model.classifier import Classifier
from medsaliency.model.scorer import separate_uses, to_be_hooked
from medsaliency.model.targets import Contrast, Logit, Probability

TARGETS = [Logit(0), Probability(1), Contrast(2, 1)]


def network() -> Classifier:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return Classifier(module.train(), ["a", "b", "c"], mean=0.3, std=0.5)


def test_each_scores_its_target_with_gradients() -> None:
    classifier = network()
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    with classifier.scorers(TARGETS) as scorers:
        for target, scorer in zip(TARGETS, scorers, strict=True):
            given = images.clone().requires_grad_()
            scores = scorer(given)
            torch.testing.assert_close(scores, classifier.scores(images, [target] * 3))
            (gradients,) = torch.autograd.grad(scores.sum(), given)
            torch.testing.assert_close(gradients, classifier.input_gradients(images, [target] * 3))


def test_they_run_a_copy_of_the_module() -> None:
    classifier = network()
    with classifier.scorers(TARGETS) as scorers:
        layers = set(scorers[0].modules())
        assert set(scorers[1].module.modules()) <= layers
        assert not layers & set(classifier.module.modules())
        assert not any(layer.training for layer in scorers[0].module.modules())
    assert classifier.module.training


def test_layers_without_weights_are_given_what_nothing_else_uses() -> None:
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Sequential(nn.Hardswish(inplace=True), nn.Linear(2, 2)))
    given = torch.tensor([[-1.0, 1.0]])
    seen = []
    own = to_be_hooked(module)
    own[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    torch.testing.assert_close(own(given.clone()), module(given.clone()))
    own(given)
    assert given.tolist() == [[-1, 1]]
    assert seen[-1] is not given
    assert not any(layer._forward_pre_hooks for layer in module.modules())


def test_every_use_of_a_layer_becomes_a_layer() -> None:
    class Thrice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.act, self.other = nn.Linear(2, 2), nn.Tanh(), nn.Sigmoid()
            self.again = self.act

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.other(self.again(self.linear(self.act(self.linear(self.act(x))))))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, given = Thrice(), torch.rand(1, 2)
    expected = module(given)
    torch.testing.assert_close(separate_uses(module, lambda: module(given)), expected)
    runs: list[nn.Module] = []
    for layer in module.modules():
        if isinstance(layer, (nn.Tanh, nn.Sigmoid)):
            layer.register_forward_hook(lambda layer, *_: runs.append(layer))
    for _ in range(2):  # turns start anew with each pass
        runs.clear()
        torch.testing.assert_close(module(given), expected)
        assert [type(layer) for layer in runs] == [nn.Tanh, nn.Tanh, nn.Tanh, nn.Sigmoid]
        assert len(set(runs)) == 4
