from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from medsaliency.attribution.eigen_cam import EigenCAM
from medsaliency.model.classifier import Classifier
from medsaliency.model.probe import Probe

FEW, MANY = [3.0, 4.0], [1.0, 1.0, 1.0, 1.0, 1.0, 2.0]
"""Factors of 2 feature maps (fewer than the 4 positions) and of 6 (more), with norms 5 and 3."""


def multiples(factors: list[float]) -> Classifier:
    """Feature map k is factor k times the image."""
    module = nn.Sequential(nn.Conv2d(1, len(factors), 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor(factors)[:, None, None, None])
    return Classifier(module, [str(i) for i in range(len(factors))], target_layer="0")


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(("factors", "norm"), [(FEW, 5), (MANY, 3)])
def test_multiples_of_one_map_give_that_map(factors, norm, turn, by_hand_image, generators) -> None:
    # The matrix is the outer product of the image and the factors: one singular value, and the image as its vector.
    maps = EigenCAM()(Probe(multiples([turn * f for f in factors]), by_hand_image, [0]), generators(1))
    torch.testing.assert_close(maps, norm * by_hand_image[0])


@pytest.mark.parametrize(("factors", "norm"), [(FEW, 5), (MANY, 3)])
def test_the_value_of_largest_magnitude_is_positive(factors, norm, generators) -> None:
    # The image less its mean is [[0.25, 0.25], [0.25, -0.75]]; it is turned, so that the odd one out is bright.
    image = torch.tensor([[1.0, 1.0], [1.0, 0.0]])[None, None]
    method = EigenCAM(centered=True, sign="signed")
    expected = norm * torch.tensor([[[-0.25, -0.25], [-0.25, 0.75]]])
    torch.testing.assert_close(method(Probe(multiples(factors), image, [0]), generators(1)), expected)
    positive = EigenCAM(centered=True)(Probe(multiples(factors), image, [0]), generators(1))
    torch.testing.assert_close(positive, expected.clamp(min=0))


def features(classifier: Classifier, images: Tensor) -> Tensor:
    """Positions of one image by feature maps."""
    return Probe(classifier, images, [0] * len(images)).features.activations[0].flatten(1).T


@pytest.mark.parametrize("centered", [False, True])
def test_it_is_the_leading_component_of_a_decomposition(centered, classifier, images, generators) -> None:
    small = images[:1, :, :4, :4]  # 2 x 2 positions of 8 maps; the whole image has 192 positions of them
    for image in (images[:1], small):
        rows = features(classifier, image).numpy()
        if centered:
            expected = PCA(n_components=1, svd_solver="full").fit_transform(rows)[:, 0]
        else:
            left, values, _ = np.linalg.svd(rows, full_matrices=False)
            expected = left[:, 0] * values[0]
        maps = EigenCAM(centered=centered, sign="signed")(Probe(classifier, image, [0]), generators(1))
        grid = torch.from_numpy(expected.reshape(1, 1, image.shape[2] // 2, image.shape[3] // 2))
        upsampled = nn.functional.interpolate(grid, scale_factor=2, mode="bilinear")[0]
        turned = upsampled if expected[np.abs(expected).argmax()] > 0 else -upsampled
        torch.testing.assert_close(maps, turned, rtol=1e-4, atol=1e-4)


def test_the_target_does_not_matter(classifier, images, generators) -> None:
    maps = [EigenCAM()(Probe(classifier, images, [target] * 4), generators(4)) for target in (0, 1)]
    assert torch.equal(*maps)


def test_feature_maps_of_nothing_give_nothing(by_hand_image, generators) -> None:
    for factors in (FEW, MANY):
        maps = EigenCAM()(Probe(multiples(factors), torch.zeros_like(by_hand_image), [0]), generators(1))
        assert float(maps.abs().max()) == 0
