"""The long-lived container `cowpoke-agent`: what it gets of the host, and why."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.create.labels import PART
from worker.engine import containers, removal
from worker.engine.client import Engine

NAME = "cowpoke-agent"
#: As the old agent: the kernel kills users' containers first when memory is short.
_OOM_SCORE = -500
#: A stopping worker finishes what runs for 30 s, then bridge and Redis stop.
_STOP_S = 75
_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Folders of the host; they have the same paths in the container."""

    #: /var/lib/rancher
    rancher: Path
    docker_socket: Path

    @property
    def state(self) -> Path:
        """Uuids, register key and locks, where the old agent has them."""
        return self.rancher / "state"

    @property
    def own(self) -> Path:
        """What only cowpoke uses: credentials, build files, the data of an embedded Redis."""
        return self.rancher / "cowpoke"

    @property
    def home(self) -> Path:
        """CATTLE_HOME of the worker."""
        return self.own / "home"

    @property
    def credentials(self) -> Path:
        """A folder of settings for each program."""
        return self.own / "credentials"


def body(places: Places, image: str) -> dict[str, Any]:
    """Return the create body of the container."""
    storage = "/var/run/rancher/storage"
    socket = places.docker_socket
    return {
        "Image": image,
        "Cmd": ["run"],
        # Nothing secret: `docker inspect` shows it. Settings are in files.
        "Env": [
            f"RANCHER_AGENT_IMAGE={image}",
            f"CATTLE_STATE_DIR={places.state}",
            f"CATTLE_HOME={places.home}",
            # For `docker exec cowpoke-agent cowpoke leave` and others.
            f"COWPOKE_CREDENTIALS_DIR={places.credentials / 'worker'}",
            f"DOCKER_HOST=unix://{socket}",
        ],
        # The Engine's socket belongs to root.
        "User": "0",
        # Events do not stop or remove it.
        "Labels": {PART: "agent"},
        "StopTimeout": _STOP_S,
        # The image's own check does not find the program among the host's processes.
        "Healthcheck": {
            "Test": ["CMD", "cowpoke", "worker", "health"],
            "Interval": 60 * _NS,
            "Timeout": 30 * _NS,
            "StartPeriod": 60 * _NS,
        },
        "HostConfig": {
            # After a restart of the machine or of dockerd, and when its programs end.
            "RestartPolicy": {"Name": "always"},
            # The address that cattle sees is the host's, and Redis of a single host is on loopback.
            "NetworkMode": "host",
            # Addresses of containers are read in their namespaces, found by process id.
            "PidMode": "host",
            # For setns into those namespaces, and for the host's kernel modules and mounts.
            "Privileged": True,
            "OomScoreAdj": _OOM_SCORE,
            "Binds": [
                # All work is done through it.
                f"{socket}:{socket}",
                # Identity, settings, and the folders of cattle's volumes.
                f"{places.rancher}:{places.rancher}",
                # The sockets of storage drivers.
                f"{storage}:{storage}",
                # The program that containers of a managed network wait with.
                "rancher-cni:/.r",
                # Facts about the host that a container does not see by itself.
                "/proc:/host/proc",
                "/dev:/host/dev",
                # Modules that the drivers of managed networks need.
                "/lib/modules:/lib/modules:ro",
            ],
        },
    }


def replace(engine: Engine, places: Places, image: str) -> str:
    """Create and start the container anew; return its id.

    Errors: EngineError.
    """
    found = containers.inspect(engine, NAME)
    if found is not None:
        # Its worker puts back what runs; the new one takes it from the queue.
        containers.stop(engine, found.id, timeout_s=_STOP_S)
        removal.remove(engine, found.id)
    created = containers.create_from_body(
        engine, body(places, image), name=NAME, warn=lambda _: None
    )
    containers.start(engine, created)
    return created


def exists(engine: Engine) -> bool:
    """Return whether there is such a container, running or not."""
    return containers.inspect(engine, NAME) is not None


def stop(engine: Engine) -> None:
    """Stop the container for good; it is kept.

    Errors: EngineError.
    """
    containers.set_restart_policy(engine, NAME, "no")
    containers.stop(engine, NAME, timeout_s=_STOP_S)
