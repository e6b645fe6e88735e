from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import UID

from medsaliency.report.dicom.identity import KINDS, identify, unique


def test_the_same_explanation_of_the_same_image_has_the_same_identity(
    kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    def again() -> Any:
        return identify(explained((64, 64)), kinds["mr"].read(), KINDS[0], "grad_cam", "", "Grad-CAM")

    assert again() == again()


def test_whatever_makes_another_object_makes_another_identifier(
    kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    first = explained((64, 64))
    moved = {"grad_cam": np.nextafter(first.maps["grad_cam"], np.float32(9))}
    changes: list[dict[str, Any]] = [
        *({"seed": 6}, {"weights": "f" * 64}, {"version": "1.2.4"}, {"maps": moved}),
        {"methods": {"grad_cam": "grad_cam(sign='absolute')"}},
        *({"number": 4}, {"digests": ("ab",)}, {"target": 2}, {"explains": "Probability(index=1)"}),
        *({"classes": ("a", "b", "c")}, {"probabilities": (0.1, 0.6, 0.3)}, {"architecture": "densenet"}),
    ]
    made = [
        identify(explained((64, 64), **change), kinds["mr"].read(), KINDS[0], "grad_cam", "", "") for change in changes
    ]
    made += [identify(first, kinds["mr"].read(), kind, "grad_cam", "", "") for kind in KINDS]
    made += [identify(first, kinds["mr"].read(), KINDS[1], "grad_cam", share, "") for share in ("0.1", "0.2")]
    assert len({one.instance for one in made}) == len(made)


def test_frames_of_one_file_have_identities_of_their_own(kinds: dict[str, Any], explained: Callable[..., Any]) -> None:
    from medsaliency.report.dicom.originals import read_originals

    film = kinds["film"].files
    both = [read_originals("sample", film, frame, (240, 320)) for frame in (3, 4)]
    one, other = (identify(explained((240, 320)), own, KINDS[0], "grad_cam", "", "") for own in both)
    assert one.instance != other.instance
    assert one.series == other.series, "images of one series, explained alike, become one new series"


def test_nothing_of_the_original_can_be_read_from_an_identifier(
    kinds: dict[str, Any], explained: Callable[..., Any]
) -> None:
    header = pydicom.dcmread(kinds["mr"].files[0])
    one = identify(explained((64, 64)), kinds["mr"].read(), KINDS[0], "grad_cam", "", "")
    for uid in (one.series, one.instance):
        assert UID(uid).is_valid
        assert len(uid) <= 64
        assert str(header.SOPInstanceUID)[-12:] not in uid


def test_parts_of_a_hash_are_told_apart() -> None:
    assert unique("ab", "c") != unique("a", "bc")
