import json
import warnings
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from medsaliency.study import dicomweb, dicomweb_session
from medsaliency.study.dicomweb import Pushed, fetch, push
from medsaliency.types import MedsaliencyError

from .service import MARK, Answer, Asked, Script, always, bundled, encoded, parts, radiograph, results, save, service

SENT, REFUSED = 65, 13
"""Of pydicom's files. Among those refused are the two that are cut off, MR_truncated and rtplan_truncated."""


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb_session, "WAIT", 0.0)
    for name in dicomweb_session.NAMES:
        monkeypatch.delenv(name, raising=False)


def stored(*datasets: Dataset, warning: int | None = None) -> Dataset:
    answer = Dataset()
    answer.ReferencedSOPSequence = [_reference(one) for one in datasets]
    for item in answer.ReferencedSOPSequence if warning is not None else []:
        item.WarningReason = warning
    return answer


def refused(dataset: Dataset, reason: int | None) -> Dataset:
    item = _reference(dataset)
    if reason is not None:
        item.FailureReason = reason
    return item


def _reference(dataset: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    return item


def said(answer: Dataset, status: int = 200, kind: str | None = "application/dicom+json") -> Answer:
    return Answer(status, json.dumps(answer.to_json_dict()).encode(), kind)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (202, "application/dicom+json"),
        (202, "application/dicom+json; charset=utf-8"),
        (409, "application/json"),
        (400, None),
    ],
)
@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (0xA701, "the service is out of resources; try again later (reason A701)"),
        (0xA901, "the data set does not match its SOP class (reason A901)"),
        (0xC122, "the service does not take its transfer syntax (reason C122)"),
        (0xC001, "the service cannot understand the data set (reason C001)"),
        (0x0110, "the service failed at processing it; see its log (reason 0110)"),
        (0x0122, "the service does not take its SOP class (reason 0122)"),
        (0x9999, "see the service's log (reason 9999)"),
        (None, "the service gives no reason; see its log"),
    ],
)
def test_what_was_refused_is_said_with_the_meaning_of_its_reason(
    tmp_path: Path, status: int, kind: str | None, reason: int | None, words: str
) -> None:
    images = [radiograph(1), radiograph(2)]
    answer = stored(images[0])
    answer.FailedSOPSequence = [refused(images[1], reason)]
    paths = save(tmp_path / "in", *images)
    with service(always(said(answer, status, kind))) as web, pytest.raises(MedsaliencyError) as told:
        push(paths, web.url)
    assert str(told.value) == f"{web.url}: 1 of 2 files were stored, but not {paths[1]}: {words}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(), "0 of 2 files were stored, but not .*0.dcm: the service does not say what became of it; .*1.dcm"),
        (said(stored(radiograph(1))), r"1 of 2 files were stored, but not \S*1\.dcm: the service does not say"),
        (said(stored(radiograph(1), radiograph(3))), r"1 of 2 files were stored, but not \S*1\.dcm"),
        (Answer(body=b"[]"), "an answer in DICOM JSON, one of both was not so"),
        (Answer(body=b'{"00081199": {"vr": "SQ", "Value": [3]}}'), "0 of 2|one of both was not so"),
        (Answer(body=b'{"00081199": {"vr": "UI", "Value": ["1"]}}'), "0 of 2 files|one of both was not so"),
        (Answer(body=b"{" * 10_000), "one of both was not so"),
        (Answer(body=b"<a><b></a>", kind="application/dicom+xml"), "one of both was not so"),
        (
            Answer(body=b"fine", kind="text/plain"),
            r"expected an answer of type application/dicom\+json, got 'text/plain'",
        ),
        (Answer(409, b"{}"), r"answered with status 409 and did not say why; see its log \(\S*0\.dcm, \S*1\.dcm\)"),
        (Answer(409, b"{MARKED"), "answered with status 409 and did not say why"),
        (Answer(415, b"MARKED", "text/plain"), "status 415: see the service's log"),
        (Answer(413), "status 413: the object is too large for it"),
    ],
)
def test_what_is_not_confirmed_is_not_stored(tmp_path: Path, answer: Answer, message: str) -> None:
    paths = save(tmp_path / "in", radiograph(1), radiograph(2))
    with service(always(answer)) as web, pytest.raises(MedsaliencyError, match=message) as told:
        push(paths, web.url)
    assert MARK not in str(told.value)
    assert radiograph(2).SOPInstanceUID not in str(told.value)


def test_a_failure_without_a_name_is_one_of_the_files(tmp_path: Path) -> None:
    images = [radiograph(1), radiograph(2)]
    answer = stored(*images)
    unknown = Dataset()
    unknown.FailureReason = 0xC000
    answer.OtherFailuresSequence = [unknown]
    with (
        service(always(said(answer))) as web,
        pytest.raises(MedsaliencyError, match=r"but not one of \S+0.dcm, \S+1.dcm"),
    ):
        push(save(tmp_path / "in", *images), web.url)


def test_an_answer_in_xml_is_read(tmp_path: Path) -> None:
    image = radiograph()
    body = f"""<?xml version="1.0"?><NativeDicomModel>
        <DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1">
        <DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">
        <Value number="1">{image.SOPInstanceUID}</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>"""
    with service(always(Answer(body=body.encode(), kind="application/dicom+xml; charset=utf-8"))) as web:
        assert push(save(tmp_path / "in", image), web.url) == Pushed(1)


def test_what_the_archive_changed_is_passed_on(tmp_path: Path) -> None:
    image = radiograph()
    (path,) = save(tmp_path / "in", image)
    with service(always(said(stored(image, warning=0xB000), 202))) as web:
        assert push([path], web.url) == Pushed(1, (f"{path}: the service changed data elements (reason B000)",))


def test_every_failure_of_every_batch_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "BATCH", 1)
    images = [radiograph(number) for number in (1, 2, 3)]
    paths = save(tmp_path / "in", *images)
    bad = Dataset()
    bad.FailedSOPSequence = [refused(images[0], 0x0110)]
    answers = [said(bad, 409), said(stored(images[1])), Answer(401)]
    with service(lambda _: answers.pop(0)) as web, pytest.raises(MedsaliencyError) as told:
        push(paths, web.url)
    assert str(told.value) == (
        f"{web.url}: the service answered with status 401: it asks who you are; set MEDSALIENCY_DICOMWEB_USER and "
        "MEDSALIENCY_DICOMWEB_PASSWORD, or MEDSALIENCY_DICOMWEB_TOKEN; before that, 1 of 3 files were stored, but not "
        f"{paths[0]}: the service failed at processing it; see its log (reason 0110)"
    )


def test_a_file_that_cannot_be_sent_stops_before_the_first_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, twice = save(tmp_path / "in", radiograph(), radiograph())
    text, cut, bare = (tmp_path / name for name in ("text.dcm", "cut.dcm", "bare.dcm"))
    text.write_text(MARK)
    cut.write_bytes(good.read_bytes()[:-100])
    nameless = pydicom.dcmread(good)
    del nameless.SOPInstanceUID
    nameless.save_as(bare)
    cases = [
        (tmp_path / "none.dcm", "none.dcm: no such file"),
        (text, "text.dcm: expected a DICOM file, got another or a damaged one"),
        (cut, "cut.dcm: expected a whole DICOM file, got one cut off"),
        (bare, "bare.dcm: expected a SOP Instance UID and a transfer syntax"),
        (twice, r"1\.dcm: holds the same object as \S*0\.dcm"),
    ]
    with service(always(Answer())) as web:
        for path, message in cases:
            with pytest.raises(MedsaliencyError, match=message) as told:
                push([good, path], web.url)
            assert MARK not in str(told.value)
        with pytest.raises(MedsaliencyError, match="expected files to store, got none"):
            push([], web.url)
        monkeypatch.setattr(dicomweb, "MAX_SENT", 1000)
        with pytest.raises(MedsaliencyError, match="expected a file of at most"):
            push([good], web.url)
        assert web.asked == []


def test_of_the_files_that_the_library_wrote_each_is_sent_or_refused() -> None:
    """Every file of pydicom's wheel: read, sent and answered for, or refused before anything is sent."""
    folder = bundled("CT_small.dcm").parent
    outcomes = []

    def accept(asked: Asked) -> Answer:
        sent = asked.body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        return said(stored(pydicom.dcmread(BytesIO(sent))))

    with service(accept) as web:
        for path in sorted(folder.glob("*.dcm")):
            before = len(web.asked)
            try:
                outcomes.append(push([path], web.url).stored)
            except MedsaliencyError:
                outcomes.append(0)
            assert len(web.asked) - before == outcomes[-1]
    assert (outcomes.count(1), outcomes.count(0)) == (SENT, REFUSED)


def archived(image: Dataset, retrieved: Answer) -> Script:
    """An archive of one image, which gives what it is told to when it is asked for it."""
    return lambda asked: results([image]) if "/instances?" in asked.path else retrieved


def cut(image: Dataset) -> bytes:
    return encoded(image)[:-100]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (parts(encoded(radiograph(2))), "expected the one DICOM object that was asked for"),
        (parts(encoded(radiograph(1)), encoded(radiograph(2))), "expected the one DICOM object"),
        (parts(encoded(radiograph(1)), encoded(radiograph(1))), "expected the one DICOM object"),
        (parts(), "expected the one DICOM object"),
        (parts(b"MARKED"), "expected the one DICOM object"),
        (parts(cut(radiograph(1))), "expected the one DICOM object"),
        (parts(encoded(radiograph(1)), closed=False), "expected a whole DICOM object, got one cut off"),
        (Answer(body=b"--x\r\n\r\n\r\n--x--", kind="multipart/related"), "got one cut off"),
        (Answer(body=b"[]"), r"expected an answer of type multipart/related, got 'application/dicom\+json'"),
        (Answer(body=b"<p>MARKED", kind="text/html"), "expected an answer of type multipart/related, got 'text/html'"),
        (Answer(kind=None), "expected the one DICOM object"),
        (Answer(404), "status 404"),
        (Answer(500), r"got status 500 \(3 times\)"),
    ],
)
def test_what_is_not_the_image_asked_for_is_not_kept(tmp_path: Path, answer: Answer, message: str) -> None:
    with service(archived(radiograph(1), answer)) as web, pytest.raises(MedsaliencyError, match=message) as told:
        fetch(web.url, {"PatientID": f"{MARK}-1"}, tmp_path / "originals")
    assert MARK not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_an_object_beyond_the_limit_of_size_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb_session, "MAX_OBJECT", 2**20)
    huge = parts(bytes(2**21))
    with service(archived(radiograph(), huge)) as web, pytest.raises(MedsaliencyError, match="at most 1 MiB, got more"):
        fetch(web.url, {"Modality": "DX"}, tmp_path / "originals")
    assert list(tmp_path.iterdir()) == []


def test_one_image_that_fails_leaves_none(tmp_path: Path) -> None:
    images = [radiograph(number) for number in (1, 2)]

    def failing(asked: Asked) -> Answer:
        if "/instances?" in asked.path:
            return results(images)
        return parts(encoded(images[0])) if images[0].SOPInstanceUID in asked.path else Answer(404)

    with service(failing) as web, pytest.raises(MedsaliencyError, match="status 404"):
        fetch(web.url, {"Modality": "DX"}, tmp_path / "originals")
    assert list(tmp_path.iterdir()) == []


def test_an_object_sent_alone_is_taken_and_said_in_no_warning(tmp_path: Path) -> None:
    alone = Answer(body=encoded(radiograph()), kind="application/dicom")
    with warnings.catch_warnings(), service(archived(radiograph(), alone)) as web:
        warnings.simplefilter("error")
        fetched = fetch(web.url, {"Modality": "DX"}, tmp_path / "originals")
    assert pydicom.dcmread(fetched.paths[0]) == pydicom.dcmread(BytesIO(alone.body))


def test_every_transfer_syntax_is_asked_for(tmp_path: Path) -> None:
    with service(archived(radiograph(), parts(encoded(radiograph())))) as web:
        fetch(web.url, {"Modality": "DX"}, tmp_path / "originals")
    accepted = web.asked[-1].headers["Accept"]
    assert accepted == 'multipart/related; type="application/dicom"; transfer-syntax=*'


def test_names_from_a_service_lead_nowhere_else(tmp_path: Path) -> None:
    image = radiograph()
    found = json.loads(results([image]).body)
    found[0]["0020000D"]["Value"] = ["../../../delete?x="]
    script: Script = lambda asked: Answer(body=json.dumps(found).encode())  # noqa: E731
    with service(script) as web, pytest.raises(MedsaliencyError, match="expected the one DICOM object"):
        fetch(web.url, {"Modality": "DX"}, tmp_path / "originals")
    assert all(asked.path.startswith("/dicom-web/instances?") for asked in web.asked)


def test_what_turns_out_to_be_no_image_is_left_out(tmp_path: Path) -> None:
    picture, image, private = radiograph(1), radiograph(2), radiograph(3)
    picture.Manufacturer = "medsaliency"
    private.SOPClassUID = private.file_meta.MediaStorageSOPClassUID = "1.2.3.4"
    del private.PixelData, private.BitsAllocated
    known = {one.SOPInstanceUID: one for one in (picture, image, private)}

    def answer(asked: Asked) -> Answer:
        uid = asked.path.rpartition("/")[2]
        return parts(encoded(known[uid])) if uid in known else results([*known.values()])

    with service(answer) as web:
        fetched = fetch(web.url, {"Modality": "DX"}, tmp_path / "originals")
    assert [pydicom.dcmread(path).InstanceNumber for path in fetched.paths] == [2]
    assert [path.name for path in fetched.paths] == ["image-0001.dcm"]
    assert fetched.left_out == {"picture made by medsaliency": 1, "object without pixels": 1}


def test_a_folder_in_use_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with service(always(results([radiograph()]))) as web:
        for folder in (tmp_path, tmp_path / "file"):
            with pytest.raises(MedsaliencyError, match="expected a new folder for the images, it is in use"):
                fetch(web.url, {"Modality": "DX"}, folder)
        with pytest.raises(MedsaliencyError, match="expected a limit of at least 1, got 0"):
            fetch(web.url, {"Modality": "DX"}, tmp_path / "new", limit=0)
        assert web.asked == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "originals").mkdir()
    with service(archived(radiograph(), parts(encoded(radiograph())))) as web:
        fetched = fetch(web.url, {"Modality": "DX"}, tmp_path / "originals")
    assert [path.name for path in tmp_path.rglob("*")] == ["originals", "image-0001.dcm"]
    assert fetched.paths[0].is_file()
