"""The connection to the Docker Engine: one pooled client per process, made at the first call.

The client negotiates the API version, limits the time of each call and counts the calls. No call
continues after the deadline of its event (`transport`). The calls themselves are defined in
`containers`, `images` and `volumes`.

The Engine may be down at any time, also when the worker starts: nothing connects before the first
call. After an outage the API version is negotiated again, because dockerd may have been upgraded.

Row numbers (C) refer to docs/parity.md.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass, field
from typing import IO, Any
from urllib.parse import quote

import docker
import docker.errors
import requests

from worker import deadline
from worker.engine.api_versions import NEWEST_API, OLDEST_API, version_numbers, version_text
from worker.engine.errors import Refusal, engine_errors
from worker.engine.figures import EngineFigures
from worker.engine.slots import Slots
from worker.engine.transport import docker_client
from worker.errors import EngineError, EngineUnavailableError
from worker.settings import WorkerSettings

#: Timeout of inspects and lists, which are quick unless the Engine hangs.
READ_TIMEOUT_S = 20.0
_CONNECT_TIMEOUT_S = 5.0
_BAD_REQUEST = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineVersion:
    """The version that the Engine reports."""

    version: str
    git_commit: str
    api_version: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the Engine, and the meaning of its refusals."""

    method: str
    path: str
    _: KW_ONLY
    #: The name under which it is counted, such as `container.create`.
    kind: str
    #: Its purpose, for errors: `cannot <wanted>: ...`.
    wanted: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    #: A file that is sent instead of a JSON body.
    upload: IO[bytes] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: How long the Engine may be silent; `Engine.read_timeout_s` by default.
    timeout_s: float | None = None
    refusal: Refusal | None = None
    #: Whether it changes a container, which is limited per host (C 26), see `slots`.
    takes_slot: bool = False


class Engine:
    """The Docker Engine of this host.

    Thread-safe. A forked child opens its own connections.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        #: Calls with their durations, and pulls.
        self.figures = EngineFigures()
        self._client: docker.APIClient | None = None
        self._client_pid = 0
        self._version: EngineVersion | None = None
        self._api: str | None = settings.docker_api_version
        self._slots = Slots(settings, self._storage_driver)

    @property
    def calls(self) -> Counter[str]:
        """The number of calls so far by kind, such as `container.create`."""
        with self._lock:
            return self._calls.copy()

    @property
    def address(self) -> str:
        """The address of the Engine, in the format of DOCKER_HOST."""
        return self._settings.docker_host

    @property
    def api_version(self) -> tuple[int, int]:
        """The API version in use; negotiated if it is not known yet."""
        return version_numbers(self._api or self._negotiate())

    def version(self, *, timeout_s: float | None = None) -> EngineVersion:
        """Return the version of the Engine; requested once, then kept during outages."""
        return self._version or self._ask_version(timeout_s or self.read_timeout_s)

    def facts(self, *, timeout_s: float) -> dict[str, Any]:
        """Return `docker info`: storage driver, operating system and more."""
        info: dict[str, Any] = self.run(
            Call("GET", "/info", kind="info", wanted="get the Engine's info", timeout_s=timeout_s)
        )
        return info

    @property
    def read_timeout_s(self) -> float:
        """Timeout of an inspect or a list."""
        return min(READ_TIMEOUT_S, self._settings.engine_timeout_s)

    @property
    def work_timeout_s(self) -> float:
        """Timeout of a create, a start or a removal."""
        return self._settings.engine_timeout_s

    def run(self, call: Call) -> Any:  # noqa: ANN401 - the Engine's JSON
        """Make one call to the Engine; return its JSON, or None for an empty answer.

        Errors: EngineUnavailableError; EngineError or the error that the call's `refusal` names;
        LockHeldError when the call needs a slot and none becomes free.
        """
        slot = self._slots.take(call.wanted) if call.takes_slot else nullcontext()
        with slot, engine_errors(call.wanted, call.refusal), self._watched():
            _need_time(call)
            with self.figures.timed(call.kind):
                response = self._send(call)
                if _is_version_refusal(response) and self._settings.docker_api_version is None:
                    # dockerd was replaced by another version without a visible outage.
                    self._api = None
                    response = self._send(call)
                _raise_for_status(response)
            return response.json() if response.content else None

    def run_unless_missing(self, call: Call, missing: type[EngineError]) -> Any:  # noqa: ANN401
        """Make a call as `run` does; return None when it is refused with `missing`."""
        try:
            return self.run(call)
        except missing:
            return None

    @contextmanager
    def stream(self, call: Call) -> Iterator[requests.Response]:
        """Yield an answer that is read as it arrives; closing it early cancels the work.

        Errors: as `run`; also while the body is read, after the timeout of the call without data.
        """
        with (
            engine_errors(call.wanted, call.refusal),
            self._watched(),
            self.figures.timed(call.kind),
            self._send(call, stream=True) as response,
        ):
            _raise_for_status(response)
            yield response

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _storage_driver(self) -> str:
        return str(self.facts(timeout_s=self.read_timeout_s).get("Driver") or "")

    def _send(self, call: Call, *, stream: bool = False) -> requests.Response:
        timeout_s = call.timeout_s or self.read_timeout_s
        left_s = _need_time(call)
        version = self._api or self._negotiate(timeout_s)
        client = self._counted(call.kind)
        if call.upload is not None:
            call.upload.seek(0)
        return client.request(
            call.method,
            f"{client.base_url}/v{version}{call.path}",
            timeout=(min(_CONNECT_TIMEOUT_S, timeout_s, left_s), timeout_s),
            params=call.params,
            json=call.body,
            data=call.upload,
            headers=call.headers,
            stream=stream,
        )

    def _counted(self, kind: str) -> docker.APIClient:
        client = self._connected()
        with self._lock:
            self._calls[kind] += 1
        return client

    def _negotiate(self, timeout_s: float | None = None) -> str:
        offered = self._ask_version(timeout_s or self.read_timeout_s).api_version
        if version_numbers(offered) < OLDEST_API:
            raise EngineError(
                f"the Docker Engine of this host speaks API {offered}, but "
                f"{version_text(OLDEST_API)} or newer is needed; upgrade Docker"
            )
        self._api = version_text(min(version_numbers(offered), NEWEST_API))
        return self._api

    def _ask_version(self, timeout_s: float) -> EngineVersion:
        with engine_errors("get the Engine's version"):
            client = self._counted("version")
            response = client.request(
                "GET",
                f"{client.base_url}/version",
                timeout=(min(_CONNECT_TIMEOUT_S, timeout_s), timeout_s),
            )
            _raise_for_status(response)
            found = response.json()
        try:
            self._version = EngineVersion(
                version=found["Version"],
                git_commit=found.get("GitCommit", ""),
                api_version=found["ApiVersion"],
            )
        except (KeyError, TypeError) as error:
            raise EngineUnavailableError(
                f"{self._settings.docker_host} did not answer with a Docker version; check that "
                "DOCKER_HOST points to a Docker Engine"
            ) from error
        return self._version

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Forget the negotiated version when the connection breaks: the Engine may be upgraded."""
        try:
            yield
        except requests.exceptions.ConnectionError:
            self._api = self._settings.docker_api_version
            raise

    def _connected(self) -> docker.APIClient:
        with self._lock:
            if self._client is None or self._client_pid != os.getpid():
                with engine_errors(f"reach the Docker Engine at {self._settings.docker_host}"):
                    self._client = docker_client(self._settings, version_text(NEWEST_API))
                self._client_pid = os.getpid()
            return self._client


def _need_time(call: Call) -> float:
    """Return the time that is left for the event in seconds.

    Errors: EngineUnavailableError when none is left.
    """
    left_s = deadline.left_s()
    if left_s <= 0:
        raise EngineUnavailableError(f"cannot {call.wanted}: no time is left for the event")
    return left_s


def segment(name: str) -> str:
    """Quote a name, which may contain any character, as one segment of a path."""
    return quote(name, safe="")


def _raise_for_status(response: requests.Response) -> None:
    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        try:
            # Always raises; KeyError or TypeError if the body is not the Engine's JSON.
            docker.errors.create_api_error_from_http_exception(error)
        except (KeyError, TypeError):
            text = response.text.strip()
            raise docker.errors.APIError(str(error), response, text) from error


def _is_version_refusal(response: requests.Response) -> bool:
    return response.status_code == _BAD_REQUEST and "client version" in response.text
