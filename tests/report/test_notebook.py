from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from medsaliency.report.contents import Contents
from medsaliency.report.notebook import case_figure, show

PNG = b"\x89PNG\r\n"


class Tensor:
    """What a tensor on a GPU, in a graph, allows: an array only after detach and cpu."""

    def __init__(self, values: np.ndarray, steps: tuple[str, ...] = ()) -> None:
        self.values, self.steps = values, steps

    def detach(self) -> Tensor:
        return Tensor(self.values, (*self.steps, "detach"))

    def cpu(self) -> Tensor:
        return Tensor(self.values, (*self.steps, "cpu"))

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        assert self.steps == ("detach", "cpu")
        return self.values


def test_a_figure_returned_from_a_cell_displays() -> None:
    before = dict(mpl.rcParams)
    figure = show(Tensor(np.zeros((2, 1, 16, 12))), {"grad_cam": Tensor(np.ones((2, 16, 12)))}, titles=["a $x", "b"])
    assert figure._repr_png_().startswith(PNG)
    assert [axis.get_title() for axis in figure.axes] == ["Image", "Grad-CAM", "", ""]
    assert dict(mpl.rcParams) == before


def test_lesions_are_outlined_where_there_are_any() -> None:
    lesion = np.zeros((8, 8), dtype=bool)
    lesion[2:4, 2:4] = True
    figure = show(np.zeros((2, 3, 8, 8)), {"gradient": np.ones((2, 8, 8))}, lesions=[lesion, None])
    assert [len(axis.lines) > 0 for axis in figure.axes] == [True, True, False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((8, 8))}, r"\(N, C, H, W\) or \(N, C, D, H, W\), got \(8, 8\)"),
        ({"maps": {"gradient": np.zeros((1, 8, 8))}}, r"maps\['gradient'\] of shape \(2, 8, 8\), got \(1, 8, 8\)"),
        ({"titles": ["one"]}, "titles for 2 images, got 1"),
        ({"lesions": np.zeros((3, 8, 8))}, "lesions for 2 images, got 3"),
    ],
)
def test_what_does_not_agree_is_an_error(change: dict, message: str) -> None:
    given = {"images": np.zeros((2, 1, 8, 8)), "maps": {"gradient": np.zeros((2, 8, 8))}} | change
    with pytest.raises(ValueError, match=message):
        show(given.pop("images"), given.pop("maps"), **given)


def test_a_case_shows_image_outputs_and_every_map(contents: Contents, tmp_path) -> None:
    case = contents.cases[0]
    figure = case_figure(case, contents.classes)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles[:3] == ["Image, lesion outlined", "Model output", "Gradient"]
    assert len(titles) == 2 + len(case.maps)
    written = " ".join(text.get_text() for text in figure.axes[1].texts)
    assert all(name in written for name in contents.classes)
    figure.savefig(tmp_path / "case.png")
    assert (tmp_path / "case.png").read_bytes().startswith(PNG)


def test_the_report_needs_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys, medsaliency.report.html, medsaliency.report.notebook;"
        "print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_volumes_are_shown_by_a_slice_that_the_row_names() -> None:
    maps = np.zeros((2, 5, 16, 12))
    maps[0, 3, 4:8], maps[1, 1, 4:8] = 1, 2
    lesions = [None, np.zeros((5, 16, 12), dtype=bool)]
    lesions[1][4, 2:5, 3:6] = True
    figure = show(np.zeros((2, 1, 5, 16, 12)), {"grad_cam": maps}, lesions=lesions, titles=["a", "b"])
    assert figure.axes[0].get_ylabel() == "a\nslice 4 of 5"
    assert figure.axes[2].get_ylabel() == "b\nslice 5 of 5"
    assert [len(axis.lines) > 0 for axis in figure.axes] == [False, False, True, True]
    assert figure.axes[1].images[1].get_array()[..., 3].max() == 255
    assert figure.axes[3].images[1].get_array()[..., 3].max() == 0, "the map is on another slice than the lesion"
    with pytest.raises(ValueError, match=r"of shape \(1, 5, 8, 8\), got \(1, 8, 8\)"):
        show(np.zeros((1, 1, 5, 8, 8)), {"gradient": np.zeros((1, 8, 8))})


def test_the_figure_of_a_volume_s_case_names_its_slice(contents: Contents) -> None:
    case = contents.cases[0]
    side = case.image.shape[-1]
    saliency = np.zeros((4, side, side), np.float32)
    saliency[2] = 1
    volume = replace(case, image=np.zeros((1, 4, side, side), np.float32), lesion=None, maps={"grad_cam": saliency})
    figure = case_figure(replace(volume, strips=()), contents.classes)
    assert figure.get_suptitle().endswith("\nslice 3 of 4 (most of the maps)")
    assert figure.axes[2].images[1].get_array().shape == (side, side, 4)
    assert "slice" not in case_figure(case, contents.classes).get_suptitle()
