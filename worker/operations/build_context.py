"""Download the tar file of a build, with limits on size, time and redirects.

The file in `CATTLE_BUILD_DIR` has no name, so that the kernel frees it when the worker is killed.

Row numbers (A) refer to docs/parity.md.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import get_auth_from_url

from worker.engine.single_flight import SharedProgress
from worker.errors import ImageBuildError
from worker.operations.build_source import Source, refuse_host
from worker.settings import WorkerSettings

MOST_REDIRECTS = 5
#: Maximum time of a download, however steady it is.
MOST_S = 3600.0
_CONNECT_TIMEOUT_S = 10.0
_CHUNK_BYTES = 64 * 1024
_MEGABYTE = 1_000_000


@contextmanager
def fetched(
    source: Source, settings: WorkerSettings, progress: SharedProgress
) -> Iterator[IO[bytes]]:
    """Download the tar file of a source and yield it open (A 12.13).

    Errors: ImageBuildError with the answer of the server; PayloadError for a host that is not
    allowed.
    """
    folder = settings.build_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = TemporaryFile(dir=folder)  # noqa: SIM115 -- closed below; opening may fail
    except OSError as error:
        raise ImageBuildError(f"cannot write build files to {folder}: {error}") from error
    with file:
        try:
            _download(source, settings, progress, file)
        except requests.exceptions.RequestException as error:
            raise ImageBuildError(f"cannot fetch {source.shown}: {_reason(error)}") from error
        except OSError as error:
            raise ImageBuildError(
                f"cannot write {source.shown} to {folder}: {error.strerror}"
            ) from error
        yield file


def _download(
    source: Source, settings: WorkerSettings, progress: SharedProgress, file: IO[bytes]
) -> None:
    began_s = time.monotonic()
    received_bytes = 0
    with requests.Session() as session, _opened(session, source, settings) as response:
        if response.status_code != requests.codes.ok:
            raise ImageBuildError(
                f"cannot fetch {source.shown}: the server answered {response.status_code}"
            )
        announced = response.headers.get("Content-Length", "")
        total_bytes = int(announced) if announced.isdecimal() else None
        _refuse_size(source, total_bytes or 0, settings)
        for chunk in response.iter_content(_CHUNK_BYTES):
            received_bytes += len(chunk)
            _refuse_size(source, received_bytes, settings)
            if time.monotonic() - began_s > MOST_S:
                raise ImageBuildError(f"cannot fetch {source.shown}: not done after {MOST_S:g} s")
            file.write(chunk)
            progress.report(f"Fetching {source.shown}: {received_bytes // _MEGABYTE} MB", None)
    file.flush()


def _opened(
    session: requests.Session, source: Source, settings: WorkerSettings
) -> requests.Response:
    """Follow the redirects and return the last response; each URL is checked like the first."""
    url = source.url
    for _ in range(MOST_REDIRECTS + 1):
        refuse_host(url, settings.build_hosts)
        response = session.get(
            url,
            # Use the account in the URL, never one of this machine's .netrc.
            auth=_UrlAccount(url),
            stream=True,
            allow_redirects=False,
            timeout=(_CONNECT_TIMEOUT_S, settings.pull_idle_timeout_s),
        )
        if not response.is_redirect:
            return response
        response.close()
        before, url = url, urljoin(url, response.headers["Location"])
        allowed = {"https"} if urlsplit(before).scheme == "https" else {"http", "https"}
        if urlsplit(url).scheme not in allowed:
            raise ImageBuildError(
                f"cannot fetch {source.shown}: it redirects to {urlsplit(url).scheme}:, only "
                f"{' and '.join(sorted(allowed))} are followed"
            )
    raise ImageBuildError(f"cannot fetch {source.shown}: more than {MOST_REDIRECTS} redirects")


class _UrlAccount(requests.auth.AuthBase):
    def __init__(self, url: str) -> None:
        self._account = get_auth_from_url(url)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if any(self._account):
            requests.auth.HTTPBasicAuth(*self._account)(request)
        return request


def _refuse_size(source: Source, size_bytes: int, settings: WorkerSettings) -> None:
    if size_bytes > settings.build_most_bytes:
        raise ImageBuildError(
            f"{source.shown} is larger than {settings.build_most_bytes} bytes; raise "
            "WORKER_BUILD_MOST_BYTES of the worker on this host to allow it"
        )


def _reason(error: requests.exceptions.RequestException) -> str:
    """Return the reason without the URL and its query, which the library would quote."""
    match error:
        case requests.exceptions.Timeout():
            return "the server did not answer in time"
        case requests.exceptions.SSLError():
            return "the certificate of the server is not trusted"
        case requests.exceptions.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            return "the server cannot be reached or closed the connection"
    return type(error).__name__
