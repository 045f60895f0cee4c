"""Count the calls to the Engine by group, with their durations, and the pulls of one process.

A refusal (404, 409) is an answer and no error; a timeout, a broken connection and 5xx are errors.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import docker.errors
import requests
import urllib3

from cowpoke.figures import Durations, PullFigures

#: The group of each kind of call; all others are `other`.
_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "container.create": "create",
        "volume.create": "create",
        "exec.create": "create",
        "container.start": "start",
        "exec.start": "start",
        "container.stop": "stop",
        "container.kill": "stop",
        "container.remove": "remove",
        "volume.remove": "remove",
        "image.remove": "remove",
        "container.inspect": "inspect",
        "exec.inspect": "inspect",
        "image.inspect": "inspect",
        "volume.inspect": "inspect",
        "container.list": "list",
        "image.list": "list",
        "image.pull": "pull",
    }
)
#: A stream that lasts as long as the process.
_ENDLESS = frozenset({"events"})
_FIRST_SERVER_ERROR = 500


class EngineFigures:
    """The counts of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, Durations] = {}
        self._pulls = PullFigures()

    @property
    def calls(self) -> dict[str, Durations]:
        """The calls so far by group."""
        with self._lock:
            return dict(self._calls)

    @property
    def pulls(self) -> PullFigures:
        """The pulls so far."""
        return self._pulls

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Count a call, and its duration until the answer is read."""
        began_s, is_error = time.monotonic(), False
        try:
            yield
        except docker.errors.APIError as error:
            # One of the next class too.
            is_error = (error.status_code or 0) >= _FIRST_SERVER_ERROR
            raise
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError):
            is_error = True
            raise
        finally:
            if kind not in _ENDLESS:
                self._note(_GROUPS.get(kind, "other"), time.monotonic() - began_s, is_error)

    def _note(self, group: str, seconds: float, is_error: bool) -> None:  # noqa: FBT001 -- private
        with self._lock:
            before = self._calls.get(group, Durations())
            self._calls[group] = before.plus(seconds, is_error=is_error)

    def downloaded(self, count_bytes: int) -> None:
        """Count the bytes of layers that were downloaded."""
        with self._lock:
            self._pulls = replace(self._pulls, bytes=self._pulls.bytes + count_bytes)

    @contextmanager
    def pull(self) -> Iterator[None]:
        """Count a pull; one that raises is an error."""
        is_error = True
        try:
            yield
            is_error = False
        finally:
            with self._lock:
                before = self._pulls
                self._pulls = replace(
                    before, count=before.count + 1, errors=before.errors + is_error
                )
