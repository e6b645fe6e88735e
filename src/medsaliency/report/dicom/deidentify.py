"""De-identification by the Basic Application Level Confidentiality Profile (PS3.15 annex E), with dicom-anonymizer.

The library's table says what becomes of each attribute, and its functions do it, but for four things. It looks at the
top of an object alone: every item of every sequence is given to it here. It empties sequences that tell what an object
was made from, and the content of a report, where the profile lets them be cleaned (their UIDs replaced) instead. It
writes dates of the year 1, which validators refuse, even where an attribute is to be removed. And it keeps new UIDs for
the life of the process, where here they belong to one export.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from dicomanonymizer import simpledicomanonymizer as library
from highdicom.sr.coding import CodedConcept
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from medsaliency.report.dicom import codes
from medsaliency.report.dicom.originals import Originals
from medsaliency.types import MedsaliencyError

EDITION = "2026c"
"""Of the standard whose table E.1-1 is applied."""
YEAR_ONE, DATE = "00010101", "19000101"
"""What the library writes where the standard asks for a date, and what is written here instead."""
Action = Callable[[Dataset, Any], None]
CLEANED = ("ContentSequence", "SourceImageSequence", "ReferencedImageSequence", "AcquisitionContextSequence")
"""Sequences that are cleaned inside: written here, they hold references, codes, numbers and this software's words."""


class Deidentifier:
    """De-identifies the objects of one export. The same UID becomes the same new one in all of them.

    New UIDs are random: what was a hash of the original's could be told by who knows the original.
    """

    def __init__(self) -> None:
        self._uids: dict[str, str] = {}
        self._made: set[str] = set()
        own: dict[Action, Action] = {
            library.replace_UID: self._replace,
            library.delete: _delete,
            library.empty: _empty,
        }
        actions: dict[tuple[int, ...], Action] = library.initialize_actions(f"dicomfields_{EDITION}")
        self._actions = {tag: own.get(action, action) for tag, action in actions.items()}
        self._actions.update({_tag(keyword): library.keep for keyword in CLEANED})

    def __call__(self, made: Dataset) -> None:
        """De-identify one object, in place."""
        self._apply(made)
        made.PatientIdentityRemoved = "YES"
        made.DeidentificationMethod = [
            f"PS3.15 {EDITION} Basic Application Level Confidentiality Profile",
            f"Clean Structured Content Option; dicom-anonymizer {version('dicom-anonymizer')}",
        ]
        made.DeidentificationMethodCodeSequence = [
            CodedConcept.from_code(code) for code in (codes.BASIC_PROFILE, codes.CLEAN_STRUCTURED_CONTENT)
        ]
        made.LongitudinalTemporalInformationModified = "REMOVED"

    def _apply(self, dataset: Dataset) -> None:
        # What is in a dataset is asked for, not each of some 700 attributes of the table in each of a thousand items.
        tags = {(element.tag.group, element.tag.element) for element in dataset}
        tags |= {(2, element.tag.element) for element in getattr(dataset, "file_meta", ())}
        here = {tag: action for tag, action in self._actions.items() if len(tag) > 2 or tag in tags}
        library.anonymize_dataset(dataset, base_rules_gen=lambda: here)
        for element in dataset:
            if element.VR == "DA" and element.value == YEAR_ONE:
                element.value = DATE
            if element.VR == "SQ":
                for item in element.value:
                    self._apply(item)

    def _replace(self, dataset: Dataset, tag: tuple[int, int]) -> None:
        """Give an attribute the new UIDs of its old ones."""
        element: Any = dataset.get(tag)
        if element is None or not element.value:
            return
        values = list(element.value) if element.VM > 1 else [element.value]
        new = [self._new(str(uid)) for uid in values]
        element.value = new if element.VM > 1 else new[0]

    def _new(self, uid: str) -> str:
        """The new UID of an old one; a new one, met again in an item that two sequences share, stays."""
        if uid not in self._made:
            self._uids.setdefault(uid, str(generate_uid(prefix=None)))
            self._made.add(self._uids[uid])
        return self._uids.get(uid, uid)


def refuse_identifying_pixels(originals: Originals) -> None:
    """Refuse an original that says of any slice that its very pixels tell who the patient is.

    Raises:
        MedsaliencyError: If it says so.
    """
    if originals.burned_in == "YES":
        raise MedsaliencyError(
            f"{originals.sample}: expected an image without burned-in annotation to de-identify, got one that says it "
            "has; leave it out with --images, or clean its pixels first"
        )


def _delete(dataset: Dataset, tag: tuple[int, int]) -> None:
    """Remove an attribute (X of the table)."""
    del dataset[tag]


def _empty(dataset: Dataset, tag: tuple[int, int]) -> None:
    """Leave an attribute without a value (Z of the table)."""
    dataset[tag].value = [] if dataset[tag].VR == "SQ" else None


def _tag(keyword: str) -> tuple[int, int]:
    number = tag_for_keyword(keyword)
    assert number is not None  # noqa: S101  # every keyword here is in the standard
    tag = Tag(number)
    return tag.group, tag.element
