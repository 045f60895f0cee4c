"""GET from a metadata service: from this link only, so without proxy, redirects or patience."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

#: For one answer; each part of it may take this long again at most.
TIMEOUT_S = 5.0
_MOST_BYTES = 64 * 1024
_OK = 200


class NoAnswerError(Exception):
    """A metadata service does not answer, or not as it should; the text says how."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The text of an answer without spaces around it, and its headers by their lower-case names."""

    text: str
    headers: Mapping[str, str]


class Metadata:
    """One metadata service."""

    def __init__(self, base_url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = urlsplit(base_url)
        self._timeout_s = timeout_s

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Answer:
        """Return the answer to a request.

        Errors: NoAnswerError for any status but 200, for a timeout and for what is not HTTP.
        """
        try:
            return self._answer(method, path, headers or {})
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"{path}: {type(error).__name__}: {error}") from error

    def _answer(self, method: str, path: str, asked: Mapping[str, str]) -> Answer:
        connect = (
            http.client.HTTPSConnection
            if self._url.scheme == "https"
            else http.client.HTTPConnection
        )
        # `http.client` knows no proxy and follows nothing.
        connection = connect(self._url.netloc, timeout=self._timeout_s)
        deadline_s = time.monotonic() + self._timeout_s
        try:
            connection.request(method, self._url.path.rstrip("/") + path, headers=dict(asked))
            answer = connection.getresponse()
            if answer.status != _OK:
                raise NoAnswerError(f"{path}: status {answer.status}")
            body = b""
            while part := answer.read1(_MOST_BYTES):
                body += part
                if len(body) > _MOST_BYTES or time.monotonic() > deadline_s:
                    raise NoAnswerError(f"{path}: the answer is too long")
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(body.decode("utf-8", errors="replace").strip(), headers)
        finally:
            connection.close()
