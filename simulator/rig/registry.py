"""A private image registry on loopback: a folder of its own, with or without a password.

An Engine takes plain HTTP from 127.0.0.1, so it needs no certificates; an Engine that is started
with `--registry-mirror URL` also finds the images of Docker Hub's names in it.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from simulator.rig.packages import can_install, find_program, install_packages
from simulator.rig.processes import dies_with_parent

if TYPE_CHECKING:
    from types import TracebackType

    import docker

PROGRAM = "docker-registry"
START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 10
PORT_TRIES = 5


class RegistryMissingError(RuntimeError):
    """No registry program is to be had on this machine."""


class RegistryStartError(RuntimeError):
    """The registry was started and did not come up."""


class Registry:
    """One docker-registry process and its folder; with a password only its user gets in."""

    def __init__(self, *, username: str = "", password: str = "") -> None:
        self.username = username
        self.password = password
        self.directory = Path()
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def server(self) -> str:
        """Its name in an image's name: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address, as `--registry-mirror` takes it."""
        return f"http://{self.server}"

    def start(self) -> Self:
        """Start on a free port in a new folder and wait until it answers.

        Errors:
            RegistryMissingError: there is no docker-registry and none may be installed.
            RegistryStartError: it did not come up, with its last lines.
        """
        program = _find_registry()
        self.directory = Path(tempfile.mkdtemp(prefix="cowpoke-registry-"))
        try:
            for last_try in [False] * (PORT_TRIES - 1) + [True]:
                self.port = _free_port()
                try:
                    return self._launch(program)
                except RegistryStartError:
                    # Another process may have taken the port between our look and its start.
                    if last_try or "in use" not in self._log():
                        raise
        except BaseException:
            self.stop()
            raise
        return self

    def push(self, client: docker.APIClient, image: str, name: str) -> None:
        """Push an Engine's image under a `repository:tag` of this registry.

        Errors:
            RegistryStartError: the registry did not take it, in the Engine's words.
        """
        repository, _, tag = f"{self.server}/{name}".rpartition(":")
        client.tag(image, repository, tag)
        login = {"username": self.username, "password": self.password} if self.password else None
        try:
            stream = client.push(repository, tag, stream=True, decode=True, auth_config=login)
            for message in stream:
                if "error" in message:
                    raise RegistryStartError(f"could not push {name}: {message['error']}")
        finally:
            client.remove_image(f"{repository}:{tag}", noprune=True)

    def stop(self) -> None:
        """End the registry and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT_S)
        self._process = None
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self, program: str) -> Self:
        settings = self.directory / "config.yml"
        settings.write_text(json.dumps(self._settings()), encoding="ascii")  # JSON is YAML too
        with (self.directory / "registry.log").open("wb") as log:
            self._process = subprocess.Popen(
                dies_with_parent([program, "serve", str(settings)]),
                env={},  # REGISTRY_* variables would change the settings
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() >= deadline:
                raise RegistryStartError(f"a registry did not come up:\n{self._log()[-2000:]}")
            time.sleep(0.02)
        return self

    def _settings(self) -> dict[str, object]:
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "images")}},
            "http": {"addr": self.server, "secret": secrets.token_hex(16)},
        }
        if self.password:
            users = self.directory / "htpasswd"
            users.touch(mode=0o600)
            users.write_text(f"{self.username}:{_bcrypt(self.password)}\n", encoding="utf-8")
            settings["auth"] = {"htpasswd": {"realm": "registry", "path": str(users)}}
        return settings

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/v2/")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return status in {http.client.OK, http.client.UNAUTHORIZED}

    def _log(self) -> str:
        return (self.directory / "registry.log").read_text(encoding="utf-8", errors="replace")


def _find_registry() -> str:
    found = find_program(PROGRAM)
    if found is None and can_install():
        install_packages(PROGRAM)
        found = find_program(PROGRAM)
    if found is None:
        raise RegistryMissingError(
            f"no {PROGRAM} on PATH: install it (Debian and Ubuntu: the package {PROGRAM})"
        )
    return found


def _bcrypt(password: str) -> str:
    """Hash a password as htpasswd files have it; the C library of Debian and Ubuntu can."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = f"$2b$05${secrets.token_hex(11)}"
    hashed: bytes | None = library.crypt(password.encode(), salt.encode())
    if hashed is None or not hashed.startswith(b"$2b$"):
        raise RegistryMissingError("the C library's crypt knows no bcrypt; start without password")
    return hashed.decode("ascii")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
