"""A Docker Engine: address, health and owner."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from simulator.rig.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

ASK_TIMEOUT_S = 3


class NotOurEngineError(RigError):
    """The Engine belongs to the machine: a run must not kill or restart it."""


class DockerEngine:
    """A Docker Engine; a private one can be killed, restarted and stopped."""

    def __init__(self, environment: Mapping[str, str], *, private: bool) -> None:
        self.environment = dict(environment)
        """DOCKER_* variables for programs that are to use this Engine."""
        self.private = private

    @property
    def host(self) -> str:
        """Return its address in the format of DOCKER_HOST."""
        return self.environment["DOCKER_HOST"]

    @property
    def pid(self) -> int:
        """Process id of the private dockerd."""
        raise NotOurEngineError(f"the Engine at {self.host} was not started by this run")

    def client(self, timeout_s: float = 60) -> docker.APIClient:
        """Open a low-level client; close it yourself."""
        return docker.from_env(environment=self.environment, timeout=int(timeout_s)).api

    def kill(self) -> None:
        """Kill the private dockerd (SIGKILL); its containers keep running."""
        raise NotOurEngineError(f"the Engine at {self.host} is not this run's to kill")

    def restart(self) -> None:
        """Start the private dockerd again after a kill, or end it and start it again."""
        raise NotOurEngineError(f"the Engine at {self.host} is not this run's to restart")

    def stop(self) -> None:
        """Do nothing: the machine's Engine keeps running."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def engine_answers(variables: Mapping[str, str]) -> bool:
    """Return whether the Engine of these DOCKER_* variables answers a ping."""
    if not _socket_answers(variables.get("DOCKER_HOST", "")):
        return False
    try:
        client = docker.from_env(environment=dict(variables), timeout=ASK_TIMEOUT_S)
    except (DockerException, RequestException, OSError):
        return False
    try:
        return bool(client.ping())
    except (DockerException, RequestException, OSError):
        return False
    finally:
        client.close()


def _socket_answers(host: str) -> bool:
    """Ping a unix socket without the SDK, which leaves its socket open after a failure."""
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(host.removeprefix("unix://"))
        except OSError:
            return False
    return True
