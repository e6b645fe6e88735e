from __future__ import annotations

import pytest
import torch

from medsaliency.evaluation.metric import check_maps
from medsaliency.types import MedsaliencyError


def test_maps_are_one_an_image_on_its_pixels(lesion_probe) -> None:
    probe = lesion_probe([[1, 0]], None)
    check_maps("name", probe, torch.zeros(2, 1, 2))
    for shape in ((1, 1, 2), (2, 2, 1), (2, 1, 1, 2)):
        with pytest.raises(MedsaliencyError, match=r"name: expected maps of shape \(2, 1, 2\)"):
            check_maps("name", probe, torch.zeros(shape))
