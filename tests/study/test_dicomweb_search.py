import json
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EnhancedUSVolumeStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from medsaliency.study import dicomweb_search
from medsaliency.study.dicomweb_search import Found, kind_of, parse_query, search
from medsaliency.study.dicomweb_session import connect
from medsaliency.types import MedsaliencyError

from .service import Answer, Asked, Script, always, radiograph, results, service

QUERY = {"PatientID": "MARKED-1"}


def paged(
    images: Sequence[Dataset], *, at_most: int = 1000, knows_offset: bool = True, knows_limit: bool = True
) -> Script:
    """An archive that answers a search as it knows to."""

    def answer(asked: Asked) -> Answer:
        query = parse_qs(urlsplit(asked.path).query)
        start = int(query["offset"][0]) if knows_offset else 0
        count = min(int(query["limit"][0]), at_most) if knows_limit else len(images)
        return results(images[start : start + count])

    return answer


def find(script: Script, limit: int = 100) -> tuple[list[Found], dict[str, int]]:
    with service(script) as running:
        client, where = connect(running.url)
        found, left_out = search(client, QUERY, limit, where)
    return found, dict(left_out)


@pytest.mark.parametrize(
    "service_knows",
    [{}, {"at_most": 1}, {"knows_offset": False, "knows_limit": False}, {"at_most": 4}],
)
def test_every_page_is_read(service_knows: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb_search, "PAGE", 3)
    images = [radiograph(number) for number in range(1, 6)]
    found, _ = find(paged(images, **service_knows))
    assert [one.instance for one in found] == [image.SOPInstanceUID for image in images]


def test_a_service_that_begins_anew_with_every_page_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb_search, "PAGE", 3)
    with pytest.raises(MedsaliencyError, match="results after the first 3, got the same again"):
        find(paged([radiograph(number) for number in range(1, 6)], knows_offset=False))


def test_images_are_sorted_by_study_series_and_number() -> None:
    second, first = (radiograph(1, study=f"1.2.{study}") for study in (2, 1))
    later, tenth = radiograph(2, study="1.2.1"), radiograph(10, study="1.2.1")
    found, _ = find(always(results([tenth, second, later, first])))
    assert [one.instance for one in found] == [image.SOPInstanceUID for image in (first, later, tenth, second)]


def test_an_instance_number_may_be_missing_or_odd() -> None:
    images = [radiograph(number) for number in (1, 2, 3, 4)]
    answer = json.loads(results(images).body)
    del answer[1]["00200013"]
    answer[2]["00200013"]["Value"] = ["9" * 5000]
    answer[3]["00200013"]["Value"] = [-2.0]
    found, _ = find(always(Answer(body=json.dumps(answer).encode())))
    assert [one.number for one in found] == [-2, 0, 0, 1]


def test_more_than_the_limit_is_refused_with_what_to_do() -> None:
    images = [radiograph(number) for number in range(1, 5)]
    with pytest.raises(
        MedsaliencyError, match=r"at most 3 images that match, got more; narrow the query or raise --lim"
    ):
        find(always(results(images)), limit=3)
    assert len(find(always(results(images)), limit=4)[0]) == 4


def test_results_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb_search, "MOST_RESULTS", 50)
    made = iter(range(1, 1000))

    def endless(_: Asked) -> Answer:
        report = radiograph(next(made))
        report.SOPClassUID = BasicTextSRStorage
        return results([report])

    with pytest.raises(MedsaliencyError, match="got more; narrow the query"):
        find(endless)


def test_only_images_are_found_and_the_rest_is_counted() -> None:
    objects = [radiograph(number) for number in range(1, 6)]
    objects[0].SOPClassUID = BasicTextSRStorage
    objects[1].SOPClassUID = SegmentationStorage
    objects[3].SOPClassUID = SegmentationStorage
    found, left_out = find(always(results(objects)))
    assert [one.number for one in found] == [3, 5]
    assert left_out == {"Basic Text SR": 1, "Segmentation": 2}
    with pytest.raises(MedsaliencyError, match=r"images that match PatientID, got none, 2 objects .*\(Segmentation\)"):
        find(always(results([objects[1], objects[3]])))


@pytest.mark.parametrize(
    ("sop_class", "manufacturer", "kind"),
    [
        (CTImageStorage, "", None),
        (SecondaryCaptureImageStorage, "a scanner's", None),
        (SecondaryCaptureImageStorage, "medsaliency", "picture made by medsaliency"),
        (EnhancedUSVolumeStorage, "", None),
        ("1.2.3.4", "", None),  # a private one: the object itself tells
        ("", "", None),
        (ParametricMapStorage, "medsaliency", "Parametric Map"),
        (GrayscaleSoftcopyPresentationStateStorage, "", "Grayscale Softcopy Presentation State"),
    ],
)
def test_what_is_an_image_is_known_by_its_class(sop_class: str, manufacturer: str, kind: str | None) -> None:
    assert kind_of(sop_class, manufacturer) == kind


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "images that match PatientID, got none; check"),
        (b"[]", "images that match PatientID, got none; check"),
        (b"{", "expected results in DICOM JSON"),
        (b"3", "expected results in DICOM JSON"),
        (b'["MARKED"]', "expected results in DICOM JSON"),
        (b"{}", "expected a SOPInstanceUID in every result"),
        (b'[{"00080018": "MARKED"}]', "expected a SOPInstanceUID in every result"),
        (b'[{"00080018": {"Value": [{"a": "MARKED"}]}}]', "expected a SOPInstanceUID in every result"),
        (b'[{"00080018": {"Value": ["1.2"]}}]', "expected a StudyInstanceUID in every result"),
        (b"[" * 100_000, "expected results in DICOM JSON"),
    ],
)
def test_what_is_no_list_of_results_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message) as told:
        find(always(Answer(body=body)))
    assert "MARKED" not in str(told.value)


def test_a_query_is_made_of_keywords_and_values() -> None:
    given = ["StudyInstanceUID=1.2.3", " Modality = DX,CR ", "PatientComments=a=b"]
    assert parse_query(given) == {"StudyInstanceUID": "1.2.3", "Modality": "DX,CR", "PatientComments": "a=b"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "at least one query KEY=VALUE, got none: that would be the whole archive"),
        (["MARKED"], "query 1: expected KEY=VALUE, as in Modality=DX"),
        (["Modality=CT", "=MARKED"], "query 2: expected KEY=VALUE"),
        (["PatientID="], "query 1: expected KEY=VALUE"),
        (["PatientId=MARKED"], "'PatientId' is no keyword of DICOM; did you mean 'PatientID'"),
        (["PatientID=MARKED", "PatientID=MARKED-2"], "query 2: expected each key once, got PatientID twice"),
    ],
)
def test_a_query_that_is_none_is_refused_without_its_values(given: list[str], message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message) as told:
        parse_query(given)
    assert "MARKED" not in str(told.value)
