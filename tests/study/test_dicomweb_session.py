import base64
import gzip
import logging
import subprocess
import time
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests

from medsaliency.study import dicomweb_session
from medsaliency.study.dicomweb_session import NAMES, connect, credentials, quiet
from medsaliency.types import MedsaliencyError

from ..orthanc import free_port  # noqa: TID252  # the tests' own harness
from .service import Answer, Script, always, parts, service

EMPTY = Answer(body=b"[]")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once, and nothing is set that a service could ask for."""
    monkeypatch.setattr(dicomweb_session, "WAIT", 0.0)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def search(url: str, timeout: float = 5.0) -> list[dict[str, dict[str, object]]]:
    found: list[dict[str, dict[str, object]]] = connect(url, timeout)[0].search_for_instances(
        search_filters={"PatientID": "MARKED-1"}
    )
    return found


def in_turn(*answers: Answer) -> Script:
    left = list(answers)
    return lambda _: left.pop(0)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_service_in_trouble_is_asked_again(status: int) -> None:
    with service(in_turn(Answer(status), Answer(status), EMPTY)) as running:
        assert search(running.url) == []
    assert len(running.asked) == 3


def test_a_service_that_stays_in_trouble_is_given_up() -> None:
    with (
        service(always(Answer(503))) as running,
        pytest.raises(MedsaliencyError, match=r"got status 503: it is busy or out of service.* \(3 times\)"),
    ):
        search(running.url)
    assert len(running.asked) == 3


def test_what_is_sent_again_is_whole() -> None:
    body = bytes(3_000_000)
    with service(in_turn(Answer(500), Answer(500), Answer(body=b"{}"))) as running:
        client = connect(running.url)[0]
        client._http_post(f"{running.url}/studies", body, {"Content-Type": "application/dicom"})
    assert [len(asked.body) for asked in running.asked] == [3_000_000] * 3


def test_a_broken_connection_is_tried_again() -> None:
    times: list[float] = []

    def breaking(_: object) -> Answer | Callable[[BaseHTTPRequestHandler], None]:
        times.append(time.monotonic())
        return EMPTY if len(times) == 3 else lambda handler: handler.connection.close()

    with service(breaking) as running:
        assert search(running.url) == []
    assert len(times) == 3


def test_the_waits_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(dicomweb_session, "WAIT", 0.5)
    monkeypatch.setattr(dicomweb_session.time, "sleep", waits.append)
    with service(always(Answer(500))) as running, pytest.raises(MedsaliencyError):
        search(running.url)
    assert waits == [0.5, 1.0]


def test_where_nothing_listens_it_is_said() -> None:
    url = f"http://127.0.0.1:{free_port()}/dicom-web"
    with pytest.raises(
        MedsaliencyError, match=r"dicom-web: expected an answer, got a connection that was refused"
    ) as told:
        search(url)
    assert "MARKED" not in str(told.value)


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n["]
)
def test_a_service_that_says_no_more_is_not_waited_for(begun: bytes) -> None:
    def hanging(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(begun)
        handler.wfile.flush()
        time.sleep(1.5)

    with service(lambda _: hanging) as running:
        start = time.monotonic()
        with pytest.raises(MedsaliencyError, match=r"expected an answer, got none within 0\.3 s"):
            search(running.url, timeout=0.3)
        assert time.monotonic() - start < 1.2
        assert len(running.asked) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(dicomweb_session, "PATIENCE", 0.3)

    def dripping(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "1000000")))
        handler.end_headers()
        for _ in range(40):
            handler.wfile.write(b"1\r\n[\r\n" if chunked else b"[")
            handler.wfile.flush()
            time.sleep(0.05)

    with service(lambda _: dripping) as running:
        start = time.monotonic()
        with pytest.raises(MedsaliencyError, match="it was still coming"):
            search(running.url)
        assert time.monotonic() - start < 1.5


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(dicomweb_session, "MAX_ANSWER", 2**20)
    body = b"[" + b" " * 2**21
    answer = Answer(body=gzip.compress(body), headers={"Content-Encoding": "gzip"}) if packed else Answer(body=body)
    assert len(answer.body) < 2**20 or not packed  # the packed one is only large when unpacked
    with (
        service(always(answer)) as running,
        pytest.raises(MedsaliencyError, match="expected an answer of at most 1 MiB, got more"),
    ):
        search(running.url)
    assert len(running.asked) == 1


def test_an_answer_cut_off_is_not_taken() -> None:
    with (
        service(always(Answer(body=b"[]", length=5))) as running,
        pytest.raises(MedsaliencyError, match="refused or broken off"),
    ):
        search(running.url)
    assert len(running.asked) == 3


def test_a_redirect_is_not_followed() -> None:
    with service(always(EMPTY)) as other:
        moved = Answer(307, headers={"Location": f"{other.url}/instances"})
        with service(always(moved)) as running, pytest.raises(MedsaliencyError, match="status 307: it sends elsewhere"):
            search(running.url)
        assert other.asked == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "status 400: see the service's log"),
        (401, "status 401: it asks who you are; set MEDSALIENCY_DICOMWEB_USER and MEDSALIENCY_DICOMWEB_PASSWORD"),
        (403, "status 403: it does not let you"),
        (404, r"status 404: it has no such address.*ends in /dicom-web"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, words: str) -> None:
    with (
        service(always(Answer(status, b"<h1>MARKED</h1>", "text/html"))) as running,
        pytest.raises(MedsaliencyError, match=words) as told,
    ):
        search(running.url)
    assert "MARKED" not in str(told.value)
    assert len(running.asked) == 1


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "multipart/related; boundary=x", None])
def test_an_answer_of_another_kind_is_refused(kind: str | None) -> None:
    with (
        service(always(Answer(body=b"[]", kind=kind))) as running,
        pytest.raises(MedsaliencyError, match=r"expected an answer of type application/dicom\+json, got"),
    ):
        search(running.url)


@pytest.mark.parametrize("kind", ["application/dicom+json; charset=utf-8", "application/json;charset=UTF-8"])
def test_parameters_of_a_kind_do_not_matter(kind: str) -> None:
    with service(always(Answer(body=b"[]", kind=kind))) as running:
        assert search(running.url) == []


def test_an_object_without_its_last_delimiter_is_not_taken() -> None:
    with (
        service(always(parts(b"DICM", closed=False))) as running,
        pytest.raises(MedsaliencyError, match="expected a whole DICOM object, got one cut off"),
    ):
        connect(running.url)[0].retrieve_instance("1.2", "1.2.3", "1.2.3.4")


def test_the_host_is_named_with_its_port_and_wildcards_as_they_are() -> None:
    with service(always(EMPTY)) as running:
        query = {"PatientName": "A*B?", "Modality": "CT,MR", "StudyDescription": "a b+c&d"}
        connect(running.url)[0].search_for_instances(search_filters=query)
    (asked,) = running.asked
    assert asked.headers["Host"] == running.url.split("/")[2]
    assert asked.path.endswith("?Modality=CT,MR&PatientName=A*B?&StudyDescription=a%20b%2Bc%26d")


def test_credentials_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with service(always(EMPTY)) as running:
        monkeypatch.setenv("MEDSALIENCY_DICOMWEB_TOKEN", "tok-1")
        search(running.url)
        monkeypatch.delenv("MEDSALIENCY_DICOMWEB_TOKEN")
        monkeypatch.setenv("MEDSALIENCY_DICOMWEB_USER", "jörg")
        monkeypatch.setenv("MEDSALIENCY_DICOMWEB_PASSWORD", "pass:wörd")
        search(running.url)
    sent = [asked.headers["Authorization"] for asked in running.asked]
    assert sent == ["Bearer tok-1", "Basic " + base64.b64encode("jörg:pass:wörd".encode()).decode()]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({NAMES[0]: "SECRET"}, "expected both MEDSALIENCY_DICOMWEB_USER and MEDSALIENCY_DICOMWEB_PASSWORD"),
        ({NAMES[1]: "SECRET"}, "got one of them"),
        ({NAMES[0]: "SECRET", NAMES[1]: "SECRET", NAMES[2]: "SECRET"}, "got both; unset one"),
        ({NAMES[0]: "SECRET:x", NAMES[1]: "SECRET"}, "a name without a colon"),
        ({NAMES[2]: "SECRET\nX-Other: 1"}, "printable ASCII without spaces"),
        ({NAMES[2]: "SECRÉT"}, "printable ASCII without spaces"),
    ],
)
def test_credentials_that_do_not_go_together_are_refused_unnamed(given: dict[str, str], message: str) -> None:
    with pytest.raises(MedsaliencyError, match=message) as told:
        credentials(given)
    assert "SECR" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "host:8042/dicom-web",
        "http://",
        "http:///x",
        "http://host:0x50/",
        "http://host:99999",
        "file:///etc",
    ],
)
def test_only_addresses_of_the_web_are_taken(url: str) -> None:
    with pytest.raises(MedsaliencyError, match=r"expected the address of a DICOMweb service as http"):
        connect(url)


@pytest.mark.parametrize("url", ["http://host/x?PatientID=MARKED", "http://host/x#MARKED"])
def test_an_address_with_a_query_is_refused_unnamed(url: str) -> None:
    with pytest.raises(MedsaliencyError, match="expected the address") as told:
        connect(url)
    assert "MARKED" not in str(told.value)


def test_a_password_in_an_address_is_refused_unnamed() -> None:
    with pytest.raises(MedsaliencyError, match=r"without a user or password.*set MEDSALIENCY_DICOMWEB_USER") as told:
        connect("https://me:SECRET@host/dicom-web")
    assert "SECRET" not in str(told.value)


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, certificate = tmp_path / "both.pem", tmp_path / "certificate.pem"
    own = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-keyout",
        tmp_path / "key.pem",
        "-out",
        certificate,
        *own,
    ]
    subprocess.run(made, check=True, capture_output=True)
    both.write_bytes((tmp_path / "key.pem").read_bytes() + certificate.read_bytes())
    with service(always(EMPTY), both) as running:
        with pytest.raises(MedsaliencyError, match=r"a certificate that can be verified.*REQUESTS_CA_BUNDLE"):
            search(running.url)
        assert running.asked == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert search(running.url) == []


def test_logs_and_warnings_of_the_libraries_are_off_while_they_work(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = in_turn(Answer(body=b"[]", headers={"Warning": "299 MARKED"}), Answer(401), EMPTY)
    with service(script) as running, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            search(running.url)
            warnings.warn("MARKED", stacklevel=1)
            with pytest.raises(MedsaliencyError):
                search(running.url)
        assert caplog.text == ""
        assert caught == []
        search(running.url)  # without it, they say who was asked for
    assert "MARKED-1" in caplog.text


def test_logs_come_back_after_an_error() -> None:
    logger = logging.getLogger("urllib3.connectionpool")

    def failing() -> None:
        with quiet():
            assert logger.disabled
            raise requests.RequestException

    with pytest.raises(requests.RequestException):
        failing()
    assert not logger.disabled
