"""Replies to cattle, made from what the Engine reports: the inverse of `worker.create`.

Nothing is indexed: the Engine leaves empty fields out since API 1.52, and a reply about a container
that is half removed must still be sent. Row numbers (A, B, C, W) refer to docs/parity.md.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cowpoke.events import Event
from worker.container import Container, engine_time, mapping, member
from worker.create.labels import CNI_NETWORK
from worker.inspected import for_cattle
from worker.payload import KnownInstance

#: The resources for whose events a result is expected under the resource's own name.
RESULT_TYPES = frozenset({"instanceHostMap", "imageStoragePoolMap", "volumeStoragePoolMap"})

ANY_IPV4 = "0.0.0.0"  # noqa: S104 - compared with, never bound to
ANY_IPV6 = "::"

_MINUTE_S = 60
_HOUR_S = 3600
_HOUR_M = 60
_DAY_H = 24


def wrapped(event: Event, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of an operation under the event's resource type, as cattle expects it.

    Source: A 1.18: only resources that state their own type have a result, all others `{}`.
    """
    kind = event.resource_type
    if kind not in RESULT_TYPES:
        return {}
    resource = event.data.get(kind)
    if not isinstance(resource, Mapping) or resource.get("type") is None:
        return {}
    return {kind: dict(body)}


def container_reply(
    container: Container | None,
    instance: KnownInstance,
    *,
    host_ip: str | None,
    managed_address: str | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Return the container report sent to cattle; `container` is None when it is gone.

    `managed_address` is the address in a managed network, which Docker does not know.

    Shape:  `{"instance": {"+data": {...}, "externalId": id}}`; a `+` means "merge" on the server.
        A container without a list entry gets one made from its inspect.
    Source: A 10.1 to 10.8, 3.15: no externalId, no ports and no address for a container that is
        gone; a listed container whose inspect failed is still reported, with inspect null.
    """
    container = container or Container()
    inspect, entry = container.inspect, container.listing
    if entry is None and inspect is not None:
        entry = listing(container, now=now)
    fields: dict[str, Any] = {
        "dockerHostIp": host_ip,
        "dockerPorts": _ports(container, entry),
        "dockerIp": managed_address or address(container, instance),
    }
    if fields["dockerIp"] is None and container.is_running and CNI_NETWORK in container.labels:
        # The reply is the only source of the address in a network without subnets: cattle keeps the
        # address that it has.
        del fields["dockerIp"]
    data: dict[str, Any] = {
        "dockerContainer": entry,
        "dockerInspect": None if inspect is None else for_cattle(inspect),
        "+fields": fields,
    }
    if container.mounts is not None:
        data["dockerMounts"] = container.mounts
    body: dict[str, Any] = {"+data": data}
    if container.id:
        body["externalId"] = container.id
    return {"instance": body}


def image_reply() -> dict[str, Any]:
    """Return the result of an activated image, which is empty (A 12.17)."""
    return {}


def volume_reply() -> dict[str, Any]:
    """Return the result of a volume: its format is Docker's (A 13.5)."""
    return {"volume": {"format": "docker"}}


def inspect_reply(event: Event, inspect: dict[str, Any] | None) -> dict[str, Any]:
    """Return the whole inspect under the request's resource type; null when nothing was found.

    Source: A 11.9, 11.10; `wrapped` is not applied.
    """
    body = None if inspect is None else for_cattle(inspect)
    return {event.resource_type or "instanceInspect": body}


def pull_reply(image_inspect: dict[str, Any] | None) -> dict[str, Any]:
    """Return the inspect of the pulled image; `{}` when nothing was pulled or a tag was removed.

    Source: A 11.12, 11.13, 11.15; `wrapped` is not applied.
    """
    return {} if image_inspect is None else {"fields": {"dockerImage": image_inspect}}


def address(container: Container, instance: KnownInstance | None = None) -> str | None:
    """Return the container's address: on Docker's bridge, else on any network (A 10.4).

    Docker does not know the address of a `cni` container. A running one has the address that cattle
    gave it.
    """
    networks = container.networks
    candidates = [
        container.network_settings,
        member(networks, "bridge"),
        *map(mapping, networks.values()),
    ]
    for candidate in candidates:
        found = candidate.get("IPAddress")
        if isinstance(found, str) and found:
            return found
    is_running = container.state.get("Running") is True
    if instance is None or not is_running or instance.primary_network.kind != "cni":
        return None
    return (instance.primary_address or "").partition("/")[0] or None


def _ports(container: Container, entry: Mapping[str, Any] | None) -> list[str]:
    """Return the ports, or those that the image exposes if a running container has none (B.2)."""
    asked = member(container.host_config, "PortBindings")
    texts = port_texts(mapping(entry).get("Ports"), asked=asked)
    exposed = member(container.config, "ExposedPorts") if container.is_running else {}
    return texts or sorted(exposed)


def port_texts(ports: object, *, asked: Mapping[str, Any] | None = None) -> list[str]:
    """Return ports as cattle reads them.

    Shape:  `ip:public:private/proto`, `ip::private/proto` or `private/proto`, sorted.
    Source: A 10.3. A current Engine also opens each port of `0.0.0.0` on `::`, with another number
        if it chose the number itself. cattle would store the port twice, so the port on `::` is
        left out, unless `asked`, the container's PortBindings, names `::`.
    """
    entries = [mapping(port) for port in ports] if isinstance(ports, list) else []
    on_ipv4 = {_private(entry) for entry in entries if entry.get("IP") == ANY_IPV4}
    wanted = {
        key
        for key, bindings in (asked or {}).items()
        for binding in bindings or ()
        if mapping(binding).get("HostIp") == ANY_IPV6
    }
    duplicates = on_ipv4 - wanted
    return sorted(
        {
            _port_text(entry)
            for entry in entries
            if entry.get("IP") != ANY_IPV6 or _private(entry) not in duplicates
        }
    )


def listing(container: Container, *, now: datetime | None = None) -> dict[str, Any]:
    """Make the entry of the Engine's container list from an inspect, to save a second call.

    Source: A 10.8, with the newer keys too.
    """
    inspect = container.inspect or {}
    state = container.state
    name = inspect.get("Name")
    return {
        "Id": inspect.get("Id"),
        "Names": [name] if name else [],
        "Image": container.image,
        "ImageID": inspect.get("Image"),
        "Command": _command(inspect),
        "Created": container.created_s,
        "Ports": _listed_ports(member(container.network_settings, "Ports")),
        "Labels": dict(container.labels),
        "State": state.get("Status") or ("running" if state.get("Running") else "exited"),
        "Status": status_text(state, now=now or datetime.now(UTC)),
        "HostConfig": {"NetworkMode": container.host_config.get("NetworkMode")},
        "NetworkSettings": {"Networks": dict(container.networks)},
        "Mounts": container.mounts or [],
    }


def status_text(state: Mapping[str, Any], *, now: datetime) -> str:
    """Return the state as the Engine lists it: `Up 3 seconds`, `Exited (0) 2 minutes ago`."""
    started, finished = engine_time(state.get("StartedAt")), engine_time(state.get("FinishedAt"))
    code = state.get("ExitCode") or 0
    if state.get("Running"):
        if state.get("Restarting"):
            return f"Restarting ({code}) {_since(finished, now)} ago"
        return f"Up {_since(started, now)}{_remark(state)}"
    if state.get("RemovalInProgress"):
        return "Removal In Progress"
    if state.get("Dead"):
        return "Dead"
    if started is None:
        return "Created"
    return "" if finished is None else f"Exited ({code}) {_since(finished, now)} ago"


def human_duration(duration_s: float) -> str:
    """Return a duration as docker's `units.HumanDuration` does: `About an hour`, `3 weeks`."""
    seconds = int(duration_s)
    minutes = seconds // _MINUTE_S
    hours = int(duration_s / _HOUR_S + 0.5)
    days = hours // _DAY_H
    # Each line: whether the duration is short enough, and its text.
    steps = (
        (seconds < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < _MINUTE_S, f"{seconds} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < _HOUR_M, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 2 * _DAY_H, f"{hours} hours"),
        (hours < 14 * _DAY_H, f"{days} days"),
        (hours < 60 * _DAY_H, f"{days // 7} weeks"),
        (hours < 2 * 365 * _DAY_H, f"{days // 30} months"),
        (True, f"{seconds // _HOUR_S // _DAY_H // 365} years"),
    )
    return next(text for fits, text in steps if fits)


def _remark(state: Mapping[str, Any]) -> str:
    if state.get("Paused"):
        return " (Paused)"
    health = member(state, "Health").get("Status")
    if not health or health == "none":
        return ""
    return f" (health: {health})" if health == "starting" else f" ({health})"


def _since(moment: datetime | None, now: datetime) -> str:
    return human_duration(0 if moment is None else max(0.0, (now - moment).total_seconds()))


def _command(inspect: Mapping[str, Any]) -> str:
    words = [str(word) for word in inspect.get("Args") or []]
    quoted = [f"'{word}'" if " " in word else word for word in words]
    return " ".join([str(inspect.get("Path") or ""), *quoted]).strip()


def _listed_ports(ports: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for key in sorted(ports):
        private, _, protocol = key.partition("/")
        port = {"PrivatePort": _number(private), "Type": protocol or "tcp"}
        bindings = ports[key] if isinstance(ports[key], list) else []
        if not bindings:
            listed.append(port)
        for binding in map(mapping, bindings):
            bound = {**port, "PublicPort": _number(binding.get("HostPort"))}
            listed.append({"IP": binding.get("HostIp") or ANY_IPV4, **bound})
    return listed


def _port_text(port: Mapping[str, Any]) -> str:
    private, ip, public = _private(port), port.get("IP"), port.get("PublicPort")
    if not ip:
        return f"{public}:{private}" if public else private
    return f"{ip}:{public or ''}:{private}"


def _private(port: Mapping[str, Any]) -> str:
    return f"{port.get('PrivatePort')}/{port.get('Type') or 'tcp'}"


def _number(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() else None
