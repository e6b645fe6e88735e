"""Compared with MONAI's own transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai import transforms as theirs

from medsaliency.model.adapters.monai_preparation import matters, prepare
from medsaliency.types import MedsaliencyError

DISPLAY = torch.rand(1, 6, 5, generator=torch.Generator().manual_seed(0))
DISPLAY[0, 0, 0], DISPLAY[0, 0, 1] = 0, 1


def scaled(*steps: dict[str, Any]) -> torch.Tensor:
    """The display image as a bundle's network would be given it."""
    found = prepare(steps, "image")
    assert found.scale is not None
    assert found.shift is not None
    return DISPLAY * found.scale.reshape(-1, 1, 1) + found.shift.reshape(-1, 1, 1)


def test_a_scaled_and_normalized_image_is_monais() -> None:
    steps = [
        {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 3.0},
        {"_target_": "NormalizeIntensityd", "keys": ["image"], "subtrahend": 0.5, "divisor": 0.2},
        {"_target_": "ScaleIntensityRange", "a_min": -1, "a_max": 4, "b_min": 0, "b_max": 2},
    ]
    pixels = 40 + 200 * DISPLAY.numpy()  # the image's own range becomes [0, 1]
    expected = theirs.Compose(
        [
            theirs.ScaleIntensity(-1.0, 3.0),
            theirs.NormalizeIntensity(0.5, 0.2),
            theirs.ScaleIntensityRange(-1, 4, 0, 2),
        ]
    )(pixels)
    assert torch.allclose(scaled(*steps), torch.as_tensor(np.asarray(expected)), atol=1e-4)


def test_a_window_is_monais_range_of_the_files_values() -> None:
    step = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -160, "a_max": 240, "b_min": -1, "b_max": 1}
    found = prepare([step], "image")
    assert found.window == (40.0, 400.0)
    hounsfield = -160 + 400 * DISPLAY.numpy()
    expected = theirs.ScaleIntensityRange(-160, 240, -1, 1)(hounsfield)
    assert torch.allclose(scaled(step), torch.as_tensor(np.asarray(expected)), atol=1e-5)
    assert prepare([step | {"a_min": 0, "a_max": 255}], "image").window is None, "that of every 8-bit image"


def test_means_of_channels_are_kept_apart() -> None:
    found = prepare(
        [
            {"_target_": "monai.transforms.ScaleIntensity"},
            {"_target_": "NormalizeIntensity", "subtrahend": [0.1, 0.2, 0.3], "divisor": [1.0, 2.0, 4.0]},
        ],
        "image",
    )
    assert found.scale is not None
    assert found.scale.tolist() == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("steps", "swapped"),
    [
        ([{"_target_": "LoadImaged", "keys": "image"}], True),
        ([{"_target_": "LoadImage", "reverse_indexing": False}], False),
        ([{"_target_": "LoadImage", "reader": "ITKReader"}], True),
        ([{"_target_": "LoadImage", "reader": "ITKReader", "reverse_indexing": True}], False),
        ([{"_target_": "LoadImage"}, {"_target_": "Transposed", "keys": "image", "indices": [0, 2, 1]}], False),
        ([], False),
    ],
)
def test_the_order_of_axes_is_followed(steps: list[dict[str, Any]], swapped: bool) -> None:
    assert prepare(steps, "image").swapped is swapped


def test_other_images_disabled_steps_and_storage_do_not_count() -> None:
    steps = [
        {"_target_": "Rotate90d", "keys": "label"},
        {"_target_": "Flipd", "keys": ["image"], "_disabled_": True},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]
    assert prepare(steps, "image") == prepare([], "image")
    assert [matters(step) for step in steps] == [True, True, False]
    assert prepare([{"_target_": "Resized", "keys": "image", "spatial_size": [8, 9]}], "image").size == (8, 9)
    assert prepare([{"_target_": "Resize", "spatial_size": 8}], "image").size == 8


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"_target_": "Rotate90d", "keys": "image"},
            "the transform Rotate90d cannot be followed; known are AddChannel, ",
        ),
        ({"_target_": "NormalizeIntensity"}, "without them each image is normalized by its own"),
        ({"_target_": "NormalizeIntensity", "subtrahend": 1, "divisor": 2}, "works on the file's own values"),
        ({"_target_": "ScaleIntensity", "factor": 0.5}, "the same for all channels"),
        ({"_target_": "ScaleIntensity", "minv": 1.0, "maxv": 1.0}, "expected maxv above minv"),
        ({"_target_": "ScaleIntensityRange", "a_min": 5, "a_max": 5}, "expected maxima above minima"),
        ({"_target_": "ScaleIntensityRange", "a_min": "x", "a_max": 5}, "arguments that cannot be followed"),
        ({"_target_": "Resize", "spatial_size": [64, -1]}, "expected all sides in pixels"),
        ({"_target_": "Resize"}, "arguments that cannot be followed"),
        ({"_target_": "Transpose", "indices": [2, 1, 0]}, r"expected indices \[0, 2, 1\]"),
        ({}, "the transform without a name cannot be followed"),
    ],
)
def test_what_no_mean_and_std_can_do_is_refused(step: dict[str, Any], message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message):
        prepare([step], "image")
