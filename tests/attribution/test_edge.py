from __future__ import annotations

import torch

from medsaliency.attribution.edge import Edge
from medsaliency.model.probe import Probe


def test_a_step_lights_up_on_both_sides_of_the_step(linear, generators) -> None:
    image = torch.zeros(1, 2, 5, 6)
    image[..., 3:] = 1.0
    maps = Edge()(Probe(linear, image, [0]), generators(1))
    # Sobel of a unit step: (1 + 2 + 1) on the two columns beside it, also at the image's border.
    expected = torch.zeros(5, 6)
    expected[:, 2:4] = 4
    torch.testing.assert_close(maps[0], expected)


def test_directions_count_alike_and_channels_are_averaged(linear, generators) -> None:
    image = torch.zeros(1, 2, 5, 6)
    image[:, 0, 2:, :] = 1.0
    maps = Edge()(Probe(linear, image, [0]), generators(1))
    expected = torch.zeros(5, 6)
    expected[1:3] = 2
    torch.testing.assert_close(maps[0], expected)


def test_a_constant_image_has_no_edge_and_the_model_is_not_asked(linear, generators) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the model was asked")

    linear.module.register_forward_pre_hook(refuse)
    maps = Edge()(Probe(linear, torch.full((2, 2, 5, 6), 0.3), [0, 1]), generators(2))
    assert float(maps.abs().max()) == 0
