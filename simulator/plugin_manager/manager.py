"""Follow the Engine's events, connect what starts and forget what ends."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import json
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, NotFound

from simulator.plugin_manager import links
from simulator.plugin_manager.links import PlugError

if TYPE_CHECKING:
    import docker

    from simulator.plugin_manager.results import Results

NETWORK_LABEL = "io.rancher.cni.network"
ADDRESS_LABEL = "io.rancher.container.ip"
MAC_LABEL = "io.rancher.container.mac_address"
#: Labels by which a test chooses the behavior for one container.
MODE_LABEL = "stand-in.mode"
LATE_LABEL = "stand-in.late_s"
POOL = ipaddress.IPv4Network("10.77.0.0/16")
ERROR = "stand-in: no address is free in this subnet"


class Mode(StrEnum):
    """What happens to a container that starts."""

    FULL = "full"
    INTERFACE = "interface"
    FILE = "file"
    ERROR = "error"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Behavior:
    """The behavior without labels, and the numbers of the real program."""

    mode: Mode = Mode.FULL
    late_s: float = 0.0
    """Before each first try; the real program waits for its driver."""
    tries: int = 15
    retry_s: float = 2.0
    pool: ipaddress.IPv4Network = POOL
    """Addresses of containers without an address label: their networks have no subnets."""


class PluginManager:
    """Connects the containers of one Engine until it is stopped."""

    def __init__(self, client: docker.APIClient, results: Results, behavior: Behavior) -> None:
        self._client = client
        self._results = results
        self._behavior = behavior
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._started: dict[str, str] = {}
        hosts = itertools.islice(behavior.pool.hosts(), 1, None)
        self._free = (f"{host}/{behavior.pool.prefixlen}" for host in hosts)
        self._stopped = threading.Event()

    def run(self, ready: threading.Event) -> None:
        """Follow the events until the stream ends; set `ready` when nothing is missed any more."""
        filters = {"type": "container", "event": ["start", "die"]}
        stream = self._client.events(decode=True, filters=filters)
        with ThreadPoolExecutor(max_workers=100) as pool:
            for one in self._client.containers(all=True):
                self._note_connected(one["Id"])
                pool.submit(self._look, one["Id"])
            ready.set()
            with contextlib.suppress(ValueError):
                # The stream was closed.
                for event in stream:
                    pool.submit(self._look, event["Actor"]["ID"])
            self._stopped.set()

    def _inspect(self, container_id: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._client.inspect_container(container_id)
        except (NotFound, APIError):
            return {"State": {"Running": False}, "Config": {}}
        return found

    def _note_connected(self, container_id: str) -> None:
        """Take a running container with an interface for connected: it gets no state file."""
        state = self._inspect(container_id)["State"]
        with contextlib.suppress(PlugError):
            if state["Running"] and links.count_links(state["Pid"]) > 1:
                self._started[container_id] = state["StartedAt"]

    def _look(self, container_id: str) -> None:
        with self._locks[container_id]:
            found = self._inspect(container_id)
            if not found["State"]["Running"]:
                if self._started.pop(container_id, None):
                    self._results.remove(container_id)
                return
            labels = found["Config"].get("Labels") or {}
            started_at = found["State"]["StartedAt"]
            if not labels.get(NETWORK_LABEL) or self._started.get(container_id) == started_at:
                return
            self._started[container_id] = started_at
            self._connect(found, labels)

    def _connect(self, found: dict[str, Any], labels: dict[str, str]) -> None:
        container_id, started_at = found["Id"], found["State"]["StartedAt"]
        mode = Mode(labels.get(MODE_LABEL, self._behavior.mode))
        late_s = float(labels.get(LATE_LABEL, self._behavior.late_s))
        if mode is Mode.NOTHING or self._stopped.wait(late_s):
            return
        address = ipaddress.IPv4Interface(labels.get(ADDRESS_LABEL) or next(self._free))
        problem = ""
        for attempt in range(self._behavior.tries):
            if attempt and self._stopped.wait(self._behavior.retry_s):
                return
            if self._inspect(container_id)["State"].get("StartedAt") != started_at:
                return
            try:
                _plug(found, mode, address, labels.get(MAC_LABEL))
            except PlugError as error:
                problem = str(error)
                continue
            if mode is not Mode.INTERFACE:
                self._results.write(container_id, started_at, _result(address))
            _add_to_hosts(found, address)
            return
        text = f"Couldn't bring up network: {problem}"
        self._results.write(container_id, started_at, {"error": text})


def _plug(
    found: dict[str, Any], mode: Mode, address: ipaddress.IPv4Interface, mac: str | None
) -> None:
    if mode is Mode.ERROR:
        raise PlugError(ERROR)
    if mode is not Mode.FILE:
        links.plug(found["State"]["Pid"], found["Id"], address, mac)


def _result(address: ipaddress.IPv4Interface) -> dict[str, Any]:
    """A result of CNI 0.2."""
    gateway = str(links.gateway_of(address))
    routes = [{"dst": "0.0.0.0/0", "gw": gateway}]
    return {"ip4": {"ip": str(address), "gateway": gateway, "routes": routes}, "dns": {}}


def _add_to_hosts(found: dict[str, Any], address: ipaddress.IPv4Interface) -> None:
    path, hostname = found.get("HostsPath"), found["Config"].get("Hostname")
    if path and hostname:
        with Path(path).open("a", encoding="utf-8") as hosts:
            hosts.write(f"{address.ip}\t{hostname}\n")


def summary(behavior: Behavior) -> str:
    """Return the behavior as JSON, for the first line of output."""
    return json.dumps({"mode": behavior.mode, "late_s": behavior.late_s})
