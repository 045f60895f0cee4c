"""`ping`: report that the host is alive, on request also its resources, figures and containers.

A ping always gets a quick reply, because cattle considers a host without one dead. Facts that are
not available in time are left out. The container list is complete and made after the ping arrived,
or it is left out: cattle destroys instances that are missing from a list (A 14.12).

Row numbers (A, B) refer to docs/parity.md.
"""

import ipaddress
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.container import Container
from worker.create.labels import SYSTEM as SYSTEM_LABEL
from worker.engine import containers
from worker.engine.client import EngineVersion
from worker.engine.system_images import system_images
from worker.errors import WorkerError
from worker.host.cloud import cloud_labels
from worker.host.host_key import host_key_info
from worker.host.machine import EngineFacts, capacity, collect, host_labels
from worker.host.recent_stops import RecentStops
from worker.host.resource_report import note_report
from worker.operations.context import Host
from worker.operations.timed_call import TimedCall
from worker.settings import WorkerSettings

SCHEDULER_IPS_LABEL = "io.rancher.scheduler.ips"
SCHEDULER_REQUIRE_ANY_LABEL = "io.rancher.scheduler.require_any"

_log = logger(__name__)
#: The last address of each name, used while the name server does not answer.
_addresses: dict[str, str] = {}


def ping(event: Event, host: Host) -> dict[str, Any]:
    """Return the reply's `data`; `{}` for a plain ping (A 14.1 to 14.16)."""
    if not host.settings.ping_enabled or not host.settings.docker_enabled:
        return {}
    options = event.data.get("options")
    asked = {name for name, on in options.items() if on} if isinstance(options, Mapping) else set()
    deadline_s = time.monotonic() + host.settings.ping_engine_timeout_s
    listing = TimedCall("the containers", lambda: _listed(host)) if "instances" in asked else None
    images = TimedCall("system images", lambda: _system(host)) if listing is not None else None
    resources: list[dict[str, Any]] = []
    if "resources" in asked:
        resources = _resources(host, deadline_s, stats="stats" in asked)
        note_report(host.settings.state_dir)
    data: dict[str, Any] = {}
    if listing is not None:
        try:
            listed = listing.result(deadline_s)
            resources += _instances(host.identity.host_uuid, listed, _roles(images, deadline_s))
            data["options"] = {"instances": True}
        except WorkerError as error:
            _log.warning("ping.list_skipped", code=error.code, reason=error.message)
    return {**data, "resources": resources} if resources else data


def _listed(host: Host) -> list[Container]:
    listed = containers.list_all(host.engine, timeout_s=host.settings.ping_engine_timeout_s)
    stopped = RecentStops(host.settings.state_dir).recent()
    return [_corrected(one, host) if one.id in stopped else one for one in listed]


def _corrected(listed: Container, host: Host) -> Container:
    """Inspect a container that was stopped recently, because the Engine's list may be stale."""
    if not listed.is_running:
        return listed
    found = containers.inspect_or_list(host.engine, listed.id, listed)
    runs = found is not None and found.is_running
    return (
        listed if runs else replace(listed, listing={**(listed.listing or {}), "State": "exited"})
    )


def _system(host: Host) -> dict[str, str]:
    return system_images(host.engine, timeout_s=host.settings.ping_engine_timeout_s)


def _roles(images: TimedCall[dict[str, str]] | None, deadline_s: float) -> dict[str, str]:
    """Return the roles of system images; empty if late, then the containers' labels decide."""
    try:
        return images.result(deadline_s) if images is not None else {}
    except WorkerError as error:
        _log.warning("ping.images_skipped", code=error.code, reason=error.message)
        return {}


def _resources(host: Host, deadline_s: float, *, stats: bool) -> list[dict[str, Any]]:
    """Return physical host, host, storage pool and address, in this order (A 14.3)."""
    identity = host.identity
    timeout_s = host.settings.ping_engine_timeout_s
    version = TimedCall("Docker's version", lambda: host.engine.version(timeout_s=timeout_s))
    address = TimedCall("this host's address", lambda: _address(identity.host_ip))
    facts = (
        TimedCall("Docker's facts", lambda: host.engine.facts(timeout_s=timeout_s))
        if stats
        else None
    )
    try:
        engine: EngineVersion | None = version.result(deadline_s)
    except WorkerError:
        engine = None
    info = None
    if facts is not None:
        key = host_key_info(host.settings.host_key_file)
        info = _stats(facts, engine, deadline_s) | key
    api_proxy = host.settings.host_api_proxy
    resources: list[dict[str, Any]] = [
        {
            "type": "physicalHost",
            "kind": "physicalHost",
            "uuid": identity.physical_host_uuid,
            "name": identity.hostname,
        },
        {
            "type": "host",
            "kind": "docker",
            "hostname": identity.hostname,
            "createLabels": _create_labels(host.settings),
            "labels": _labels(engine, host.settings),
            "physicalHostUuid": identity.physical_host_uuid,
            "uuid": identity.host_uuid,
            "info": info,
            **_capacity(host.settings),
        }
        | ({"apiProxy": api_proxy} if api_proxy else {}),
        {
            "type": "storagePool",
            "kind": "docker",
            "name": f"{identity.hostname} Storage Pool",
            "hostUuid": identity.host_uuid,
            "uuid": f"{identity.host_uuid}-pool",
        },
    ]
    try:
        found = address.result(deadline_s)
    except (WorkerError, OSError, UnicodeError):  # UnicodeError: not a valid host name
        found = _addresses.get(identity.host_ip or "")
    if found:
        about = {"uuid": found, "address": found, "hostUuid": identity.host_uuid}
        resources.append({"type": "ipAddress", **about})
    return resources


def _labels(engine: EngineVersion | None, settings: WorkerSettings) -> dict[str, str] | None:
    """Return the labels of the cloud, and those that are measured."""
    measured = host_labels(engine.version if engine else None, settings.agent_image)
    return {**cloud_labels(settings.state_dir), **(measured or {})} or None


def _create_labels(settings: WorkerSettings) -> dict[str, str]:
    """Return the labels of a new host: the operator's, and those for the scheduler (B.6)."""
    labels = dict(settings.host_labels)
    if settings.scheduler_ips is not None:
        labels[SCHEDULER_IPS_LABEL] = settings.scheduler_ips
    if settings.scheduler_require_any is not None:
        labels[SCHEDULER_REQUIRE_ANY_LABEL] = settings.scheduler_require_any
    return labels


def _capacity(settings: WorkerSettings) -> dict[str, int]:
    """Return the capacity for the scheduler; settings override measured values (B.6)."""
    given = {
        "memory": settings.memory_bytes,
        "milliCpu": settings.milli_cpu,
        "localStorageMb": settings.local_storage_mb,
    }
    return capacity() | {name: value for name, value in given.items() if value is not None}


def _address(host_ip: str | None) -> str | None:
    """Return the address of the host; a name is resolved, and its address remembered (A 14.7)."""
    if not host_ip:
        return None
    try:
        return str(ipaddress.ip_address(host_ip))
    except ValueError:
        _addresses[host_ip] = socket.gethostbyname(host_ip)
        return _addresses[host_ip]


def _stats(
    facts: TimedCall[dict[str, Any]], engine: EngineVersion | None, deadline_s: float
) -> dict[str, Any]:
    """Return the figures of the host; those not available in time are empty (A 14.4, 15.1)."""
    try:
        info = facts.result(deadline_s)
    except WorkerError:
        info = {}
    known = EngineFacts(
        version=engine.version if engine else str(info.get("ServerVersion") or ""),
        git_commit=engine.git_commit if engine else "",
        operating_system=str(info.get("OperatingSystem") or ""),
        storage_driver=str(info.get("Driver") or ""),
        storage_driver_status={str(k): str(v) for k, v in info.get("DriverStatus") or ()},
    )
    return collect(known)


def _instances(
    host_uuid: str, listed: list[Container], roles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the host's uuid, then running containers, then stopped ones (A 14.8, 14.11)."""
    known = [_instance(one, roles) for one in listed if not one.has_never_run]
    known.sort(key=lambda one: one["state"] != "running")
    return [{"type": "hostUuid", "uuid": host_uuid}, *known]


def _instance(listed: Container, roles: Mapping[str, str]) -> dict[str, Any]:
    """Return a container as cattle compares it with its instances (A 14.9, 14.13 to 14.16)."""
    return {
        "type": "instance",
        "uuid": listed.uuid,
        "state": "running" if listed.is_running else "stopped",
        "systemContainer": roles.get(str(listed.image)) or listed.labels.get(SYSTEM_LABEL),
        "dockerId": listed.id,
        "image": listed.image,
        "labels": listed.labels,
        "created": listed.created_s,
    }
