"""Look up the facts that the create body of an instance needs, and no others.

Row numbers (A) refer to docs/parity.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cowpoke.log import logger
from worker.create import Facts, facts_needed
from worker.create.facts import DEFAULT_DOCKER_ROOT
from worker.engine import containers
from worker.host.machine import default_disk
from worker.operations.context import Host
from worker.payload import ContainerRef, Instance
from worker.settings import WorkerSettings

_log = logger(__name__)
#: The driver type that the Engine reports for containerd's image store.
CONTAINERD_STORE = "io.containerd.snapshotter.v1"


def gather(instance: Instance, host: Host) -> Facts:
    """Return the facts that the rules of the instance need; missing objects are left out.

    Errors: EngineUnavailableError.
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
    )


def facts_without_engine(instance: Instance, settings: WorkerSettings) -> Facts:
    """Return the facts from the settings and the files of this machine, without the Engine's."""
    needed = facts_needed(instance)
    disk = default_disk() if needed.default_disk else None
    if needed.default_disk and disk is None:
        _log.warning("disk.not_measured", instance_uuid=instance.uuid)
    return Facts(
        search_domains=search_domains(settings.resolv_conf) if needed.search_domains else (),
        default_disk=disk,
        config_url=settings.config_url or settings.cattle_url,
        api_proxy_port=settings.api_proxy_port,
        proxies=settings.proxy_variables,
    )


def search_domains(resolv_conf: Path) -> tuple[str, ...]:
    """Return the search domains of a resolv.conf, those of later lines first (A 7.1, 7.3)."""
    try:
        lines = resolv_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        _log.warning("domains.not_read", path=str(resolv_conf), reason=error.strerror)
        return ()
    domains: list[str] = []
    for line in lines:
        key, *values = line.split() or [""]
        if key == "search":
            domains = [*values, *domains]
    return tuple(dict.fromkeys(domains))


def _has_containerd_store(info: Mapping[str, Any]) -> bool:
    """Return whether images are in containerd's store, according to `docker info`."""
    status = [tuple(pair) for pair in info.get("DriverStatus") or ()]
    return ("driver-type", CONTAINERD_STORE) in status


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
