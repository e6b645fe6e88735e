import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import medsaliency
from medsaliency.attribution import PANEL
from medsaliency.attribution.gradient import Gradient
from medsaliency.evaluation import METRICS
from medsaliency.evaluation.pointing_game import PointingGame
from medsaliency.model.targets import Contrast, Probability


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
        )


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((5, 1, 16, 16), dtype=np.float32))


def test_explain_takes_any_module_and_runs_every_method_that_needs_no_extra(
    model: nn.Module, images: torch.Tensor
) -> None:
    maps = medsaliency.explain(model, images, [0, 1, 2, 0, 1])
    assert tuple(maps) == PANEL
    assert all(found.shape == (5, 16, 16) and found.dtype == torch.float32 for found in maps.values())
    assert all(torch.isfinite(found).all() for found in maps.values())


def test_batches_do_not_change_a_number(model: nn.Module, images: torch.Tensor) -> None:
    whole = medsaliency.explain(model, images)
    parts = medsaliency.explain(model, images, batch_size=2)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], atol=1e-6, rtol=1e-4)


def test_the_module_keeps_its_mode(model: nn.Module, images: torch.Tensor) -> None:
    model.train()
    model[0].eval()
    medsaliency.explain(model, images, methods=["grad_cam"])
    assert model.training
    assert not model[0].training


def test_evaluate_gives_one_row_an_image_method_and_measure(model: nn.Module, images: torch.Tensor) -> None:
    lesion = torch.zeros(16, 16, dtype=torch.bool)
    lesion[3:6, 4:9] = True
    maps = {"truth": lesion.float().expand(5, 16, 16), "opposite": 1 - lesion.float().expand(5, 16, 16)}
    table = medsaliency.evaluate(model, images, None, maps, lesions=[lesion, None, lesion, lesion, lesion])
    measures = [measure.name for name in METRICS for measure in METRICS[name]().measures]
    assert len(table) == 5 * 2 * len(measures)
    assert list(table["metric"].unique()) == measures
    pointing = table[table["metric"] == "pointing_game"].pivot(index="sample", columns="method", values="value")
    assert pointing["truth"].tolist()[::2] == [1, 1, 1]
    assert pointing["opposite"].tolist()[::2] == [0, 0, 0]
    assert np.isnan(pointing["truth"][1])
    assert table.query("sample == 1 and metric == 'lesion_auprc'")["reason"].unique().tolist() == ["no lesion mask"]


def test_methods_and_metrics_of_ones_own_are_taken(model: nn.Module, images: torch.Tensor) -> None:
    maps = medsaliency.explain(model, images, methods={"magnitude": Gradient(sign="absolute")})
    assert float(maps["magnitude"].min()) >= 0
    table = medsaliency.evaluate(model, images, None, maps, metrics={"near": PointingGame(tolerance=0.1)})
    assert table["metric"].unique().tolist() == ["hit_rate", "pointing_game"]


def test_a_single_logit_module_has_two_classes(images: torch.Tensor) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(256, 1, bias=False))
    maps = medsaliency.explain(module, images, [1] * 5, methods=["gradient"])
    expected = module[1].weight.detach().reshape(1, 16, 16).expand(5, 16, 16)
    torch.testing.assert_close(maps["gradient"], expected)
    other = medsaliency.explain(module, images, [0] * 5, methods=["gradient"])
    torch.testing.assert_close(other["gradient"], -expected)


def test_target_objects_are_explained_each_for_its_image(model: nn.Module, images: torch.Tensor) -> None:
    methods = ["gradient", "integrated_gradients"]
    first, second, contrast = (
        medsaliency.explain(model, images, [target] * 5, methods) for target in (0, 2, Contrast(0, 2))
    )
    # The gradient is linear in the logits; integrals differ by their errors.
    torch.testing.assert_close(contrast["gradient"], first["gradient"] - second["gradient"])
    for name, tolerance in (("gradient", 1e-6), ("integrated_gradients", 0.05)):
        difference = first[name] - second[name]
        assert float((contrast[name] - difference).norm()) <= tolerance * float(difference.norm())
    targets = [0, Contrast(0, 2), 2, Probability(1), Contrast(0, 2)]
    mixed = medsaliency.explain(model, images, targets, "gradient", batch_size=2)["gradient"]
    torch.testing.assert_close(mixed[[0, 1, 2, 4]], torch.stack([
        first["gradient"][0], contrast["gradient"][1], second["gradient"][2], contrast["gradient"][4],
    ]))  # fmt: skip
    maps = {"gradient": mixed}
    table = medsaliency.evaluate(model, images, targets, maps, metrics="lesion_auprc")
    assert table["target"].tolist() == [0, 0, 2, 1, 0]


def test_a_classifier_of_independent_classes_explains_their_contrast(images: torch.Tensor) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    classifier = medsaliency.Classifier(module, ["edema", "nodule", "effusion"], output="sigmoid")
    maps = medsaliency.explain(classifier, images, [Contrast(0, 2)] * 5, "gradient")["gradient"]
    weight = module[1].weight.detach().reshape(3, 16, 16)
    torch.testing.assert_close(maps, (weight[0] - weight[2]).expand(5, 16, 16))


@pytest.mark.parametrize("exact", [True, False])
def test_tuning_is_asked_for_and_kept(
    model: nn.Module, images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    monkeypatch.setenv("MEDSALIENCY_CACHE", str(tmp_path))
    plain = medsaliency.explain(model, images, methods="gradient", exact=exact)["gradient"]
    assert list(tmp_path.iterdir()) == []
    classifier = medsaliency.Classifier(model, ["a", "b", "c"], batch_size=3)
    tuned = medsaliency.explain(classifier, images, methods="gradient", tune=True, exact=exact)["gradient"]
    torch.testing.assert_close(tuned, plain)
    (file,) = (tmp_path / "tuning").iterdir()
    found = json.loads(file.read_text())
    assert found["exact"] is exact
    assert found["execution"] == asdict(classifier.execution)
    assert set(found["seconds"]) >= {f"channels_last, float32, {size} images" for size in (3, 8, 16, 32)} or (
        found["execution"]["memory_format"] == "contiguous"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": [0, 1]}, "expected one target an image, 5"),
        ({"targets": [Contrast(1, 1)] * 5}, "target of image 0: expected two different classes"),
        ({"targets": [0, 1, Probability(3), 0, 1]}, "target of image 2: expected 0 to 2"),
        ({"targets": [0, 1, 2, 3, 0]}, "target of image 3: expected 0 to 2"),
        ({"methods": ["gradcam"]}, "did you mean 'grad_cam'"),
        ({"images": torch.rand(5, 16, 16)}, r"expected images of shape \(N, C, H, W\)"),
        ({"images": torch.rand(1, 1, 2, 2, 16, 16)}, r"or volumes \(N, C, D, H, W\)"),
        ({"images": torch.full((5, 1, 16, 16), float("nan"))}, "NaN or infinity"),
        ({"target_layer": "7"}, "unknown layer '7'"),
        ({"images": torch.rand(0, 1, 16, 16)}, "N at least 1"),
        ({"images": torch.zeros(5, 1, 16, 16, dtype=torch.uint8)}, "floating-point"),
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"targets": ["tumor"] * 5}, "class indices"),
    ],
)
def test_what_does_not_fit_is_said(
    model: nn.Module, images: torch.Tensor, change: dict[str, object], message: str
) -> None:
    with pytest.raises(medsaliency.MedsaliencyError, match=message):
        medsaliency.explain(**{"model": model, "images": images, **change})  # type: ignore[arg-type]


def test_evaluate_refuses_what_does_not_fit(model: nn.Module, images: torch.Tensor) -> None:
    with pytest.raises(medsaliency.MedsaliencyError, match=r"expected maps 'a' of shape \(5, 16, 16\)"):
        medsaliency.evaluate(model, images, None, {"a": torch.zeros(4, 16, 16)})
    with pytest.raises(medsaliency.MedsaliencyError, match="lesion mask or None an image, 5, got 1"):
        medsaliency.evaluate(model, images, None, {"a": torch.zeros(5, 16, 16)}, lesions=[None])
    with pytest.raises(medsaliency.MedsaliencyError, match="at least one method"):
        medsaliency.evaluate(model, images, None, {})


def test_a_target_layer_is_used_and_the_classifier_kept_as_it_was(model: nn.Module, images: torch.Tensor) -> None:
    classifier = medsaliency.Classifier(model, ["a", "b", "c"], target_layer="1")
    before = medsaliency.explain(classifier, images, methods="grad_cam")["grad_cam"]
    other = medsaliency.explain(classifier, images, methods="grad_cam", target_layer="0")["grad_cam"]
    assert not torch.equal(before, other)
    assert classifier.known_target_layer == "1"


def test_arrays_and_single_names_do_as_well(model: nn.Module, images: torch.Tensor) -> None:
    maps = medsaliency.explain(model, images.double().numpy(), np.array([0, 1, 2, 0, 1]), "gradient")
    assert list(maps) == ["gradient"]
    arrays = {name: found.numpy() for name, found in maps.items()}
    lesions = np.ones((5, 16, 16), dtype=bool)
    table = medsaliency.evaluate(model, images.numpy(), None, arrays, lesions=lesions, metrics="pointing_game")
    assert table["reason"].unique().tolist() == ["the lesion covers the whole image"]


@pytest.fixture
def of_volumes() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 3)
        )


def test_volumes_are_explained_and_their_maps_scored(of_volumes: nn.Module) -> None:
    volumes = torch.from_numpy(np.random.default_rng(0).random((3, 1, 6, 8, 10), dtype=np.float32))
    names = ["gradient", "integrated_gradients", "grad_cam", "random"]
    maps = medsaliency.explain(of_volumes, volumes.numpy(), [0, 1, 2], names, batch_size=2)
    assert all(found.shape == (3, 6, 8, 10) and found.dtype == torch.float32 for found in maps.values())
    lesion = torch.zeros(6, 8, 10, dtype=torch.bool)
    lesion[1:3, 2:5, 6:9] = True
    truth = {"truth": lesion.float().expand(3, -1, -1, -1), "opposite": 1 - lesion.float().expand(3, -1, -1, -1)}
    table = medsaliency.evaluate(of_volumes, volumes, None, truth, lesions=[lesion] * 3, metrics="pointing_game")
    values = table[table["metric"] == "pointing_game"].groupby("method")["value"].mean()
    assert values.to_dict() == {"truth": 1, "opposite": 0}
    with pytest.raises(medsaliency.MedsaliencyError, match=r"expected maps 'truth' of shape \(3, 6, 8, 10\)"):
        medsaliency.evaluate(of_volumes, volumes, None, {"truth": truth["truth"][:, 0]})


def test_images_for_a_module_of_volumes_are_refused_and_the_other_way(
    model: nn.Module, of_volumes: nn.Module, images: torch.Tensor
) -> None:
    with pytest.raises(medsaliency.MedsaliencyError, match="expected volumes"):
        medsaliency.explain(of_volumes, images)
    with pytest.raises(medsaliency.MedsaliencyError, match="expected images"):
        medsaliency.explain(model, images[:, :, None])


def test_show_returns_a_figure_that_a_notebook_displays(model: nn.Module, images: torch.Tensor) -> None:
    figure = medsaliency.show(images, medsaliency.explain(model, images, methods=["gradient", "edge"]))
    assert len(figure.axes) >= 15
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_importing_takes_under_three_tenths_of_a_second_beyond_torch() -> None:
    code = (
        "import time, torch; begin = time.perf_counter(); import medsaliency; "
        "print(time.perf_counter() - begin, medsaliency.__version__)"
    )
    seconds = [
        float(
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()[0]
        )
        for _ in range(2)
    ]
    assert min(seconds) < 0.3


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        medsaliency.explane  # noqa: B018
