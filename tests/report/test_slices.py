"""Which slice of a volume is shown, and that everything of a case is cut at it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medsaliency.report.contents import Case, Strip
from medsaliency.report.overlay import colorize
from medsaliency.report.slices import chosen_slice, cut

SHAPE = (6, 9, 8)


def on(*slices: int, value: float = 1.0) -> np.ndarray:
    """A map that is nowhere else."""
    found = np.zeros(SHAPE, np.float32)
    for place in slices:
        found[place, 2:5, 3:6] = value
    return found


def volume() -> Case:
    rng = np.random.default_rng(0)
    lesion = on(1, 4) > 0
    lesion[4, 7, 7] = True
    pictures = rng.random((3, 1, *SHAPE), dtype=np.float32)
    return Case(
        sample="Case 1",
        why="chosen at random",
        image=rng.random((1, *SHAPE), dtype=np.float32),
        lesion=lesion,
        label=1,
        target=0,
        probabilities=np.array([0.7, 0.3], np.float32),
        maps={"gradient": rng.normal(size=SHAPE).astype(np.float32), "grad_cam": on(2)},
        strips=[Strip("gradient", "control", (0.1, 0.2, 0.5), (0.3, 0.4, 0.5), pictures)],
        marker=on(0, 1, 2, 3, 4, 5) > 0,
    )


def test_everything_is_cut_at_the_slice_with_the_largest_part_of_the_lesion() -> None:
    case = volume()
    found = cut(case)
    assert found.plane == "slice 5 of 6 (largest lesion)"
    assert np.array_equal(found.image, case.image[:, 4])
    assert np.array_equal(found.lesion, case.lesion[4])
    assert np.array_equal(found.marker, case.marker[4])
    assert list(found.maps) == list(case.maps)
    for name, saliency in found.maps.items():
        assert np.array_equal(saliency, case.maps[name][4])
    assert np.array_equal(found.strips[0].pictures, case.strips[0].pictures[:, :, 4])
    assert (found.why, found.target, found.strips[0].scores) == (case.why, 0, (0.3, 0.4, 0.5))


def test_without_a_lesion_it_is_the_slice_with_most_of_the_maps_whatever_their_units() -> None:
    maps = {"one": on(1) + 1e-3 * on(3), "other": -1e6 * on(3) - 2e6 * on(5), "third": on(5) + on(3)}
    for lesion in (None, np.zeros(SHAPE, bool)):
        # Shares on slices 1, 3, 5: (1, 0, 0), (0, 1/3, 2/3) and (0, 1/2, 1/2).
        assert chosen_slice(lesion, maps, 6) == (5, "most of the maps")
        assert chosen_slice(lesion, {"one": maps["one"]}, 6) == (1, "most of the maps")


def test_maps_that_say_nothing_of_slices_leave_the_one_in_the_middle() -> None:
    undefined = np.full(SHAPE, np.nan, np.float32)
    for maps in ({}, {"flat": np.ones(SHAPE, np.float32)}, {"zero": on()}, {"undefined": undefined}):
        assert chosen_slice(None, maps, 6) == (3, "the middle")
    assert chosen_slice(None, {"undefined": undefined, "known": on(0)}, 6) == (0, "most of the maps")


def test_only_those_named_choose_but_all_are_cut() -> None:
    case = replace(volume(), lesion=None, maps={"random": on(1), "grad_cam": on(2, value=0.1)})
    found = cut(case, by=["grad_cam"])
    assert found.plane == "slice 3 of 6 (most of the maps)"
    assert list(found.maps) == ["random", "grad_cam"]
    assert found.lesion is None


def test_a_slice_is_scaled_as_its_volume_is() -> None:
    # A hundredth of the map's height lies on the slice: it is shown as faint as that, and not stretched to full color.
    saliency = on(4, value=0.01) + on(2, value=1.0)
    found = cut(replace(volume(), maps={"grad_cam": saliency}))
    assert found.plane.startswith("slice 5")
    alone, scaled = (
        colorize(found.maps["grad_cam"], contrast=contrast)[..., 3].max()
        for contrast in (None, found.contrasts["grad_cam"])
    )
    assert alone == 255
    assert scaled <= 3
    # The volume's own slices, drawn side by side as one map, have the same colors.
    whole = colorize(saliency.reshape(-1, SHAPE[2])).reshape(*SHAPE, 4)
    assert np.array_equal(whole[4], colorize(found.maps["grad_cam"], contrast=found.contrasts["grad_cam"]))


def test_a_signed_volume_keeps_zero_in_the_middle() -> None:
    saliency = -on(2, value=4.0) + on(4, value=2.0)
    found = cut(replace(volume(), maps={"gradient": saliency}))
    shown = colorize(found.maps["gradient"], signed=True, contrast=found.contrasts["gradient"])
    whole = colorize(saliency.reshape(-1, SHAPE[2]), signed=True).reshape(*SHAPE, 4)
    assert np.array_equal(shown, whole[4])


def test_an_image_is_returned_as_it_is() -> None:
    case = cut(volume())
    assert cut(case) is case


def test_a_map_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"maps\['gradient'\] of the volume's shape \(6, 9, 8\), got \(9, 8\)"):
        cut(replace(volume(), maps={"gradient": np.zeros((9, 8), np.float32)}))
