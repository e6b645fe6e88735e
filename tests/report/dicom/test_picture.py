from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medsaliency.report.dicom import picture
from medsaliency.report.dicom.picture import draw, limits
from medsaliency.report.overlay import scaled


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("hot", [0.5, 0.001])
def test_the_legend_gives_the_values_at_the_ends_of_the_color_scale(signed: bool, hot: float) -> None:
    rng = np.random.default_rng(1)
    values = np.where(rng.random((80, 90)) < hot, rng.normal(size=(80, 90)), 0).astype(np.float32)
    values = values if signed else np.abs(values) + 1
    low, high = limits(values, signed=signed)
    shown = scaled(values, signed=signed)
    middle = (values > low) & (values < high)
    assert middle.any()
    lowest = -1.0 if signed else 0.0
    np.testing.assert_allclose(shown[middle], lowest + (1 - lowest) * (values[middle] - low) / (high - low), atol=2e-6)
    np.testing.assert_allclose(shown[values >= high], 1)
    np.testing.assert_allclose(shown[values <= low], lowest, atol=2e-6)


def _plain(size: tuple[int, ...], explained: Callable[..., Any], **given: Any) -> Any:
    """A black image with a map that is high in one corner and zero elsewhere."""
    values = np.zeros(size, np.float32)
    values[..., : size[-2] // 2, : size[-1] // 2] = 2.0
    settings = {"image": np.zeros((1, *size), np.float32), "maps": {"xrai": values}, "methods": {"xrai": "XRAI()"}}
    return explained(size, **{**settings, **given})


def test_the_map_colors_the_image_where_it_is_high_and_leaves_it_elsewhere(explained: Callable[..., Any]) -> None:
    image = np.full((1, 512, 512), 0.5, np.float32)
    (page,) = draw(_plain((512, 512), explained, image=image), "xrai")
    top = 2 * picture.MARGIN + picture.LINE
    shown = page[top : top + 512]
    assert shown.shape == (512, 512, 3)
    np.testing.assert_array_equal(shown[260:, 260:], np.full((252, 252, 3), 128, np.uint8))
    hottest = np.round(255 * np.array(picture.SEQUENTIAL(1.0)[:3]))
    expected = picture.STRENGTH * hottest + (1 - picture.STRENGTH) * 128
    np.testing.assert_allclose(shown[:250, :250], np.broadcast_to(expected, (250, 250, 3)), atol=2)


def test_the_notice_stands_above_every_slice_and_every_line_is_legible(explained: Callable[..., Any]) -> None:
    pages = draw(_plain((3, 16, 16), explained), "xrai")
    assert pages.shape[0] == 3
    assert pages.dtype == np.uint8
    head = pages[:, : 2 * picture.MARGIN + picture.LINE]
    amber = (head == picture.AMBER).all(axis=-1)
    rows = np.flatnonzero(amber.any(axis=(0, 2)))
    assert np.ptp(rows) >= 12, "letters of at least 12 pixels"
    assert amber.sum(axis=(1, 2)).min() > 300
    lines = pages[0, 2 * picture.MARGIN + picture.LINE + 512 :]
    assert (lines.min(axis=-1) > 128).sum() > 1000
    assert not np.array_equal(pages[0], pages[1]), "the number of the slice"


@pytest.mark.parametrize(
    ("size", "spacing", "shown"),
    [
        ((16, 16), None, (512, 512)),
        ((600, 300), None, (600, 300)),
        ((3000, 1500), None, (1024, 512)),
        ((200, 400), (2.0, 1.0), (512, 512)),
        ((700, 600), (0.14, 0.14), (700, 600)),
    ],
)
def test_images_are_drawn_large_enough_and_no_larger_in_their_own_proportions(
    size: tuple[int, int], spacing: tuple[float, float] | None, shown: tuple[int, int], explained: Callable[..., Any]
) -> None:
    white = np.ones((1, *size), np.float32)
    flat = {"xrai": np.zeros(size, np.float32)}
    explanation = _plain(size, explained, image=white, maps=flat, spacing=spacing)
    (page,) = draw(explanation, "xrai")
    top = 2 * picture.MARGIN + picture.LINE
    inside = (page[top : top + shown[0]] == 255).all(axis=-1)
    assert inside.sum(axis=0).max() == shown[0]
    assert inside.sum(axis=1).max() == shown[1]
    assert page.shape[1] == max(512, shown[1])


def test_all_slices_have_one_color_scale(explained: Callable[..., Any]) -> None:
    values = np.zeros((2, 512, 512), np.float32)
    values[0, :256], values[1, :256] = 1.0, 2.0
    dim, bright = draw(_plain((2, 512, 512), explained, maps={"xrai": values}), "xrai")
    assert bright[100, 100].astype(int).sum() > 1.5 * dim[100, 100].astype(int).sum()


def test_no_sample_is_named_and_what_the_model_said_is(explained: Callable[..., Any]) -> None:
    first = draw(_plain((40, 40), explained), "xrai")
    np.testing.assert_array_equal(first, draw(_plain((40, 40), explained, sample="Doe-Jane"), "xrai"))
    changes: list[dict[str, Any]] = [
        {"probabilities": (0.1, 0.6, 0.3)},
        {"explains": "Probability(index=1)"},
        {"classes": ("no tumor", "tumor", "other")},
        {"methods": {"gradient": "Gradient()"}, "maps": {"gradient": np.eye(40, dtype=np.float32)}},
    ]
    for change in changes:
        other = _plain((40, 40), explained, **change)
        assert not np.array_equal(first, draw(other, next(iter(other.maps)))), change


def test_a_line_too_long_for_the_picture_ends_in_an_ellipsis(explained: Callable[..., Any]) -> None:
    names = ("no tumor", "a class with a name " * 20, "other")
    (page,) = draw(_plain((40, 40), explained, classes=names), "xrai")
    text = (page[2 * picture.MARGIN + picture.LINE + 512 :][: picture.LINE * 2] == picture.WHITE).all(axis=-1)
    assert text[:, -picture.MARGIN :].sum() == 0
    assert text[:, -picture.MARGIN - 60 : -picture.MARGIN].any()


def test_the_probability_of_an_explained_class_that_is_not_predicted_stands_beside_the_prediction(
    explained: Callable[..., Any],
) -> None:
    predicted, other = _plain((40, 40), explained), _plain((40, 40), explained, target=2)
    assert draw(other, "xrai").shape[1] == draw(predicted, "xrai").shape[1] + picture.LINE


def test_a_map_of_both_signs_has_zero_in_the_middle_of_its_legend(explained: Callable[..., Any]) -> None:
    values = np.zeros((40, 40), np.float32)
    values[:20], values[20:] = 1.0, -1.0
    (page,) = draw(_plain((40, 40), explained, maps={"xrai": values}), "xrai")
    bar = page[-picture.LINE - picture.MARGIN // 2 - picture.BAR // 2 - 4]
    red, blue = bar[-picture.MARGIN - 2].astype(int), bar[picture.MARGIN + 2].astype(int)
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert bar[256].max() < 10, "no saliency, no color"
