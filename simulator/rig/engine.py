"""The Docker Engine of a run: the machine's if it answers, else a private dockerd."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.rig.docker_engine import DockerEngine, engine_answers
from simulator.rig.engine_leftovers import remove_abandoned
from simulator.rig.errors import RigError
from simulator.rig.packages import can_install, find_program, install_packages
from simulator.rig.private_engine import FOLDER_PREFIX, PrivateEngine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_SOCKET = Path("/var/run/docker.sock")
DOCKER_VARIABLES = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
PRIVATE_PROGRAMS = ("dockerd", "iptables", "ip")


class EngineMissingError(RigError):
    """No Docker Engine answers, and none can be started."""


@contextmanager
def find_or_start_engine(environment: Mapping[str, str] | None = None) -> Iterator[DockerEngine]:
    """Yield the Engine at DOCKER_HOST or the default socket, else a temporary private one.

    Errors:
        EngineMissingError: none answers, and this process may not start one; says how to get one.
    """
    engine = find_engine(environment) or start_private_engine()
    try:
        yield engine
    finally:
        engine.stop()


def find_engine(environment: Mapping[str, str] | None = None) -> DockerEngine | None:
    """Return a running Engine: at DOCKER_HOST if set, else at the default socket."""
    given = environment if environment is not None else os.environ  # noqa: TID251 -- as docker does
    variables = {name: given[name] for name in DOCKER_VARIABLES if given.get(name)}
    if "DOCKER_HOST" not in variables:
        if not DEFAULT_SOCKET.exists():
            return None
        variables = {"DOCKER_HOST": f"unix://{DEFAULT_SOCKET}"}
    return DockerEngine(variables, private=False) if engine_answers(variables) else None


def start_private_engine(*options: str) -> DockerEngine:
    """Start a private dockerd, installing Debian's docker.io first when it is missing.

    With `options` for dockerd, it is always a private one.

    Errors:
        EngineMissingError: this process is not root, or there is nothing to install from.
    """
    if os.geteuid() != 0:
        raise EngineMissingError(
            "no Docker Engine answers at DOCKER_HOST or /var/run/docker.sock: start Docker (or join"
            " its group), set DOCKER_HOST, or run this as root, which starts a private Engine"
        )
    remove_abandoned(Path(tempfile.gettempdir()), FOLDER_PREFIX)
    if not all(map(find_program, PRIVATE_PROGRAMS)):
        if not can_install():
            raise EngineMissingError(
                "no Docker Engine answers and there is no dockerd here: install Docker (Debian and"
                " Ubuntu: the packages docker.io, iptables and iproute2) or set DOCKER_HOST"
            )
        install_packages("docker.io", "iptables", "iproute2")
        # Where services start by themselves, the package has just started the machine's Engine.
        installed = find_engine()
        if installed is not None and not options:
            return installed
    return PrivateEngine(*options).start()
