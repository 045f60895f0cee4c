"""Look up the facts that the create body of an instance needs, and no others.

Row numbers (A) refer to docs/parity.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.container import member
from worker.create import Facts, facts_needed
from worker.create.facts import DEFAULT_DOCKER_ROOT
from worker.create.managed_network import NO_COMMAND, ImageCommand
from worker.engine import containers
from worker.host.facts import facts_without_engine
from worker.operations.context import Host
from worker.operations.images import ensure_image
from worker.payload import ContainerRef, Instance

#: The driver type that the Engine reports for containerd's image store.
CONTAINERD_STORE = "io.containerd.snapshotter.v1"


def gather(instance: Instance, host: Host) -> Facts:
    """Return the facts that the rules of the instance need; missing objects are left out.

    Errors: EngineUnavailableError; those of `ensure_image`, if the image's command is needed.
    """
    needed = facts_needed(instance)
    asks_engine = needed.docker_root or needed.image_store
    info = host.engine.facts(timeout_s=host.engine.read_timeout_s) if asks_engine else {}
    return replace(
        facts_without_engine(instance, host.settings),
        api_version=host.engine.api_version,
        docker_root=str(info.get("DockerRootDir") or DEFAULT_DOCKER_ROOT),
        has_containerd_store=_has_containerd_store(info),
        container_ids=_container_ids(needed.containers, host),
        image_command=_image_command(instance, host) if needed.image_command else NO_COMMAND,
    )


def _has_containerd_store(info: Mapping[str, Any]) -> bool:
    """Return whether images are in containerd's store, according to `docker info`."""
    status = [tuple(pair) for pair in info.get("DriverStatus") or ()]
    return ("driver-type", CONTAINERD_STORE) in status


def _image_command(instance: Instance, host: Host) -> ImageCommand:
    """Return the image's entry point and command; pull the image if it is missing (B.2)."""
    image = instance.image_reference
    if image is None:
        return NO_COMMAND
    config = member(ensure_image(image, instance.image, host), "Config")
    return ImageCommand(
        entry_point=tuple(map(str, config.get("Entrypoint") or ())),
        command=tuple(map(str, config.get("Cmd") or ())),
    )


def _container_ids(wanted: tuple[ContainerRef, ...], host: Host) -> dict[str, str]:
    found: dict[str, str] = {}
    for ref in wanted:
        if ref.uuid or ref.external_id:
            one = containers.find(host.engine, uuid=ref.uuid or "", external_id=ref.external_id)
        else:
            one = containers.inspect(host.engine, ref.name or "")
        if one is not None and ref.key is not None:
            found[ref.key] = one.id
    return found
