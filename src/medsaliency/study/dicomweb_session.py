"""The HTTP under DICOMweb: bounded in size, time and tries, and silent about patients and secrets."""

from __future__ import annotations

import io
import logging
import os
import struct
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pydicom
import requests
import urllib3
from dicomweb_client import DICOMwebClient

from medsaliency.types import MedsaliencyError

TIMEOUT = 60.0
"""Seconds that a service may be silent."""
PATIENCE = 1800.0
"""Most seconds for one answer, however steadily it drips."""
TRIES = 3
"""Of a request that meets a broken connection or a service in trouble."""
WAIT = 0.5
"""Seconds before the second try; each further wait is twice as long."""
MAX_OBJECT = 512 * 2**20
"""Most bytes of one DICOM object. Sending one takes three times as much memory, fetching one six times."""
MAX_ANSWER = 64 * 2**20
"""Most bytes of an answer that is no DICOM object."""
CHUNK = 2**16
NAMES = ("MEDSALIENCY_DICOMWEB_USER", "MEDSALIENCY_DICOMWEB_PASSWORD", "MEDSALIENCY_DICOMWEB_TOKEN")
"""Environment variables of what a service asks for; on a command line, other users of the machine would see them."""
IN_TROUBLE = (429, 500, 502, 503, 504)
MEANINGS = {
    401: f"it asks who you are; set {NAMES[0]} and {NAMES[1]}, or {NAMES[2]}",
    403: "it does not let you do this; ask who runs it",
    404: "it has no such address; check the URL (Orthanc's ends in /dicom-web)",
    413: "the object is too large for it; ask who runs it to raise the limit",
    429: "it is asked too often; try again later",
    503: "it is busy or out of service; try again later",
}
UNREADABLE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(NotImplementedError, RecursionError, struct.error, pydicom.errors.InvalidDicomError),
)
"""What the libraries raise for answers and files that are not as they should be."""
_LOGGERS = ("dicomweb_client.web", "urllib3.connectionpool", "urllib3.util.retry", "retrying", "pydicom")
_JSON = ("application/dicom+json", "application/json")
_XML = ("application/dicom+xml", "application/xml", "text/xml")


class Session(requests.Session):
    """A session that reads an answer whole, within bounds, and says in its own words what went wrong.

    The words of the libraries below hold the whole address, and with it the identifiers of a query; so they are not
    passed on.

    Args:
        where: The service's address, for messages.
        timeout: Seconds of silence after which to give up.
    """

    def __init__(self, where: str, timeout: float) -> None:
        super().__init__()
        self.where = where
        self.timeout = timeout
        self.headers["Accept"] = _JSON[0]  # of what is stored; searches and retrievals name theirs

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, again where the connection breaks or the service is in trouble, and read the answer.

        Raises:
            MedsaliencyError: If there is no answer, or it is not one that DICOMweb gives.
        """
        request.headers.pop("Host", None)  # dicomweb-client leaves the port out; without, it is made rightly
        request.url = _plainer(request.url or "")
        # A redirect would take images and credentials where no one has sent them.
        options |= {"stream": True, "allow_redirects": False}
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(WAIT * 2 ** (attempt - 1))
            response = self._once(request, options)
            if isinstance(response, requests.Response):
                return response
            problem = response
        raise MedsaliencyError(
            f"{self.where}: expected an answer, got {problem} ({TRIES} times); see whether the service runs there"
        )

    def _once(self, request: requests.PreparedRequest, options: dict[str, Any]) -> requests.Response | str:
        """The answer to one try; where another may go better, what has gone wrong."""
        try:
            response = super().send(request, **options)
            body = self._read(response, MAX_OBJECT if _asks_for_object(request) else MAX_ANSWER)
        except requests.exceptions.SSLError:
            raise MedsaliencyError(
                f"{self.where}: expected a certificate that can be verified, got another; give your institution's "
                "certificates in the environment variable REQUESTS_CA_BUNDLE"
            ) from None
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            raise MedsaliencyError(
                f"{self.where}: expected an address that can be asked, got another; check the URL"
            ) from None
        except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
            raise MedsaliencyError(
                f"{self.where}: expected an answer, got none within {self.timeout:g} s; see whether the service is "
                "well, or try again later"
            ) from None
        except requests.exceptions.ConnectTimeout:
            return f"no connection within {self.timeout:g} s"
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError):
            return "a connection that was refused or broken off"
        status = response.status_code
        if status not in IN_TROUBLE:
            return self._checked(request, response, body)
        return f"status {status}" + (f": {MEANINGS[status]}" if status in MEANINGS else "")

    def _read(self, response: requests.Response, most: int) -> bytes:
        """The whole body, decompressed."""
        begun, body = time.monotonic(), bytearray()
        try:
            while chunk := response.raw.read1(CHUNK, decode_content=True):
                body += chunk
                if len(body) > most:
                    raise MedsaliencyError(
                        f"{self.where}: expected an answer of at most {most // 2**20} MiB, got more; ask for less"
                    )
                if time.monotonic() - begun > PATIENCE:
                    raise MedsaliencyError(
                        f"{self.where}: expected an answer within {PATIENCE:g} s, it was still coming; ask for less"
                    )
        finally:
            response.close()
        return bytes(body)

    def _checked(
        self, request: requests.PreparedRequest, response: requests.Response, body: bytes
    ) -> requests.Response:
        """The answer, its body ready to be read once more, if it is of the kind that was asked for."""
        response.raw = io.BytesIO(body)
        status = response.status_code
        kind = response.headers.get("Content-Type", "")
        media = kind.split(";")[0].strip().lower()
        if status >= 400 and request.method == "POST" and body.lstrip()[:1] == b"{":
            return response  # JSON, which Orthanc does not call so, that says which objects were not stored
        if status >= 300:
            meaning = MEANINGS.get(status, "see the service's log")
            if status < 400:
                meaning = "it sends elsewhere; give the address where it lives now"
            raise MedsaliencyError(f"{self.where}: the service answered with status {status}: {meaning}")
        if not body:
            return response
        if _asks_for_object(request):
            expected: tuple[str, ...] = ("multipart/related", "application/dicom")
        else:
            expected = _JSON + (_XML if request.method == "POST" else ())
            response.headers["Content-Type"] = media  # dicomweb-client knows these only without parameters
        if media not in expected:
            raise MedsaliencyError(
                f"{self.where}: expected an answer of type {expected[0]}, got {media[:60] or 'none'!r}; check that the "
                "URL is a DICOMweb service's"
            )
        if media == "multipart/related" and not _is_closed(kind, body):
            raise MedsaliencyError(f"{self.where}: expected a whole DICOM object, got one cut off; try again")
        return response


def _plainer(url: str) -> str:
    """The same address with wildcards and commas as they are, and spaces as ``%20``.

    Orthanc's plug-in of 2021 takes ``%2A`` and ``+`` literally. Both forms are allowed (RFC 3986, section 3.4).
    """
    path, mark, query = url.partition("?")
    for encoded, plain in (("+", "%20"), ("%2A", "*"), ("%3F", "?"), ("%2C", ",")):
        query = query.replace(encoded, plain)
    return path + mark + query


def _asks_for_object(request: requests.PreparedRequest) -> bool:
    return request.method == "GET" and "multipart" in request.headers.get("Accept", "")


def _is_closed(kind: str, body: bytes) -> bool:
    """Whether a multipart body ends with its last delimiter (RFC 2046, section 5.1.1)."""
    given = [part.strip().partition("=") for part in kind.split(";")[1:]]
    boundary = next((value.strip('"') for name, _, value in given if name.lower() == "boundary"), None)
    return boundary is not None and b"\r\n--" + boundary.encode() + b"--" in body[-4096:]


class _Bearer(requests.auth.AuthBase):
    """A token in the header; as ``auth``, which a user's .netrc does not replace."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def credentials(environment: Mapping[str, str] = os.environ) -> requests.auth.AuthBase | None:
    """What the environment gives for a service that asks who it is speaking with; None where it gives nothing.

    Raises:
        MedsaliencyError: If the variables do not go together; their values are not named.
    """
    user, password, token = (environment.get(name) for name in NAMES)
    if token and (user or password):
        raise MedsaliencyError(f"expected {NAMES[2]}, or {NAMES[0]} and {NAMES[1]}, got both; unset one")
    if bool(user) != bool(password):
        raise MedsaliencyError(f"expected both {NAMES[0]} and {NAMES[1]}, got one of them; set the other, or unset it")
    if token:
        if not all("!" <= sign <= "~" for sign in token):
            raise MedsaliencyError(f"{NAMES[2]}: expected printable ASCII without spaces, got something else; mend it")
        return _Bearer(token)
    if not user or not password:
        return None
    if ":" in user:
        raise MedsaliencyError(f"{NAMES[0]}: expected a name without a colon, got one with it; mend it")
    return requests.auth.HTTPBasicAuth(user.encode(), password.encode())


def connect(url: str, timeout: float = TIMEOUT) -> tuple[DICOMwebClient, str]:
    """A client of the service at ``url``, and the address as messages name it.

    Raises:
        MedsaliencyError: If ``url`` is no plain http or https address, or the credentials do not go together.
    """
    try:
        parts = urlsplit(url.strip())
        given = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        given = False
    if given and (parts.username is not None or parts.password is not None):
        raise MedsaliencyError(
            f"expected a DICOMweb address without a user or password, got one with it; set {NAMES[0]} and {NAMES[1]}"
        )
    if not given or parts.query or parts.fragment:
        raise MedsaliencyError(
            "expected the address of a DICOMweb service as http://HOST:PORT/PATH or https://HOST/PATH, got something "
            "else; Orthanc's is http://HOST:8042/dicom-web"
        )
    where = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    session = Session(where, timeout)
    session.auth = credentials()
    # Sent in one piece: dicomweb-client's pieces come from a generator, which a second try would find empty.
    client = DICOMwebClient(where, session=session, timeout=timeout, chunk_size=2**62)
    client.set_http_retry_params(retry=False)  # the session tries again, and not where it makes no sense
    return client, where


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' logs and warnings, which quote addresses and values of patients, off while they work."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, state in zip(loggers, before, strict=True):
            logger.disabled = state
