from __future__ import annotations

import torch

from medsaliency.model.small_cnn import SmallCNN


def test_it_has_the_size_and_the_grid_that_its_page_names() -> None:
    module = SmallCNN(classes=4).eval()
    assert round(sum(p.numel() for p in module.parameters()) / 1000) == 147
    assert module(torch.zeros(2, 1, 128, 128)).shape == (2, 4)
    stages = module.stage3(module.stage2(module.stage1(module.stem(torch.zeros(1, 1, 128, 128)))))
    assert stages.shape == (1, 64, 16, 16)


def test_it_takes_several_channels() -> None:
    assert SmallCNN(classes=2, channels=3).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
