from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medsaliency.types import MedsaliencyError


def test_a_map_of_another_size_than_the_image_is_refused(explained: Callable[..., Any]) -> None:
    with pytest.raises(MedsaliencyError, match=r"^sample: expected a map of gradient on the image's own pixels"):
        explained((4, 5), maps={"gradient": np.zeros((5, 4), np.float32)}, methods={"gradient": "Gradient()"})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused(value: float, explained: Callable[..., Any]) -> None:
    spoiled = np.zeros((4, 5), np.float32)
    spoiled[1, 2] = value
    with pytest.raises(MedsaliencyError, match=r"^sample: expected finite values in the map of gradient"):
        explained((4, 5), maps={"gradient": spoiled}, methods={"gradient": "Gradient()"})


def test_an_image_is_one_slice_and_a_volume_several(explained: Callable[..., Any]) -> None:
    image, volume = explained((4, 5)), explained((3, 4, 5))
    assert image.slices("grad_cam").shape == (1, 4, 5)
    assert image.pictures().shape == (1, 1, 4, 5)
    assert volume.slices("grad_cam").shape == (3, 4, 5)
    assert volume.pictures().shape == (1, 3, 4, 5)


def test_the_predicted_class_is_the_most_probable(explained: Callable[..., Any]) -> None:
    assert explained((4, 5), probabilities=(0.2, 0.3, 0.5)).predicted == 2
