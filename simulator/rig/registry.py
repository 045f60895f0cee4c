"""A private image registry on loopback, with or without a password.

An Engine accepts plain HTTP from 127.0.0.1, so no certificates are needed. An Engine with
`--registry-mirror URL` also uses it for images of Docker Hub.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import secrets
from typing import TYPE_CHECKING

from simulator.rig.errors import RigError
from simulator.rig.loopback_server import LoopbackServer
from simulator.rig.packages import can_install, find_program, install_packages

if TYPE_CHECKING:
    import docker

PROGRAM = "docker-registry"


class RegistryMissingError(RigError):
    """No registry program is available on this machine."""


class RegistryStartError(RigError):
    """The registry was started and did not answer."""


class Registry(LoopbackServer):
    """One docker-registry process and its folder, with an optional password."""

    name = "registry"
    start_error = RegistryStartError

    def __init__(self, *, username: str = "", password: str = "") -> None:
        super().__init__()
        self.username = username
        self.password = password

    @property
    def server(self) -> str:
        """Return the registry part of an image name: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Return its url for `--registry-mirror`."""
        return f"http://{self.server}"

    def push(self, client: docker.APIClient, image: str, name: str) -> None:
        """Push an Engine's image under a `repository:tag` of this registry.

        Errors:
            RegistryStartError: the push failed, with the Engine's message.
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

    def command(self) -> list[str]:
        """Return the command line.

        Errors: RegistryMissingError: docker-registry is missing and cannot be installed.
        """
        program = _find_registry()
        settings = self.directory / "config.yml"
        settings.write_text(json.dumps(self._settings()), encoding="ascii")  # JSON is YAML too
        return [program, "serve", str(settings)]

    def environment(self) -> dict[str, str]:
        """Return an empty environment: REGISTRY_* variables would change the settings."""
        return {}

    def answers(self) -> bool:
        """Return whether it answers the registry API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/v2/")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return status in {http.client.OK, http.client.UNAUTHORIZED}

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
    """Hash a password for htpasswd, with the C library of Debian and Ubuntu."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = f"$2b$05${secrets.token_hex(11)}"
    hashed: bytes | None = library.crypt(password.encode(), salt.encode())
    if hashed is None or not hashed.startswith(b"$2b$"):
        raise RegistryMissingError("the C library's crypt knows no bcrypt; start without password")
    return hashed.decode("ascii")
