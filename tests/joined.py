"""Hosts that joined, as the bridges see them: their notes in Redis."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.request import urlopen

from cowpoke.broker import BrokerSettings, connect
from cowpoke.joined import JoinedAgent, hand_over, take_back
from simulator.rig.processes import Program, wait_until
from tests.bridges import ACTIVATE, BridgeRig

#: What a bridge gets that has no agent in its settings.
NO_AGENTS = {"CATTLE_ACCESS_KEY": "", "CATTLE_SECRET_KEY": "", "BRIDGE_HTTP_PORT": "0"}


def agent_of(host: str, *, number: str = "") -> dict[str, str]:
    """The agent that a simulated cattle has for a host."""
    return {"access_key": f"key-of-{host}{number}", "secret_key": f"secret-of-{host}{number}"}


def join(rig: BridgeRig, *hosts: str, number: str = "", **other: Any) -> None:
    """Let hosts hand the keys of their agents over; `other` replaces fields of the notes."""
    settings = BrokerSettings.model_validate({"REDIS_URL": rig.redis.url, "QUEUE_KEY": rig.key})
    with connect(settings) as client:
        for host in hosts:
            fields = {"cattle_url": rig.url, **agent_of(host, number=number), **other}
            sealer = settings.cluster_keyring().host(host)
            hand_over(client, sealer, JoinedAgent(host_uuid=host, **fields))


def leave(rig: BridgeRig, *hosts: str) -> None:
    """Let hosts take their keys back."""
    with connect(BrokerSettings.model_validate({"REDIS_URL": rig.redis.url})) as client:
        for host in hosts:
            take_back(client, host)


def open_keys(rig: BridgeRig) -> set[str]:
    """The access keys of the agents with an open websocket."""
    opened = rig.cattle.stats()["open_sockets"]
    by_id = {one["id"]: one["access_key"] for one in rig.cattle.agents()}
    return {by_id.get(name, name) for name, count in opened.items() if count}


def wait_served(rig: BridgeRig, hosts: Iterable[str], *, number: str = "", within_s: float = 30):
    """Until the agents of exactly these hosts have open websockets."""
    wanted = {agent_of(host, number=number)["access_key"] for host in hosts}
    wait_until(lambda: open_keys(rig) == wanted, within_s, f"websockets of {sorted(wanted)[:5]}")


def ask(rig: BridgeRig, host: str, *, number: str = "", wait_s: float = 20) -> Any:
    """Send an event to the agent of a host; its call when it ended."""
    return rig.cattle.call(
        ACTIVATE,
        {"for": host},
        resource_type="instanceHostMap",
        resource_id="1ihm7",
        agent=agent_of(host, number=number)["access_key"],
        wait_s=wait_s,
    )


def metrics(bridge: Program, *names: str) -> dict[str, str]:
    """What a bridge's `/metrics` shows under some names: line -> value."""
    address = json.loads(bridge.wait_for_line("http.ready", 20))["address"] + "/metrics"
    with urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith(names))
