"""Replay a recorded frame on a real Engine and read the facts of its end.

A frame names containers, ports and a registry of the machine it was recorded on. A scene makes on
the Engine what the frame expects to find, and replaces the recorded ids, ports and registry by
those of this machine. The facts of the end use the recorded names again.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.client import Call
from simulator.rig.containers import remove_containers
from simulator.rig.image import TEST_IMAGE
from simulator.rig.loopback_server import free_port
from simulator.rig.processes import wait_until
from simulator.rig.registry import Registry
from tests.system import System

AGENT_ID = 2
AGENT = {"access_key": "agent-key", "secret_key": "agent-secret-5f1d", "agent_id": AGENT_ID}
SERVICE = {"access_key": "service", "secret_key": "service-secret-5f1d", "kind": "service"}

UUID_LABEL = "io.rancher.container.uuid"
RECORDED_REGISTRY = "127.0.0.1:5055"
RECORDED_PORTS = ("18080", "18053", "28080", "28083")
PORT_TAKEN = ("port is already allocated", "address already in use")
SHORT_ID = re.compile(r"[0-9a-f]{12}$")

#: Folders of this machine that the recorded binds make the Engine create.
BOUND_FOLDERS = ("/srv/data", "/var/lib/rancher/etc", "/var/lib/rancher")
#: What a create body decides, and every Engine from 20.10 on shows in the same form. Without
#: BlkioWeight and MemorySwappiness, which an Engine drops where its kernel lacks them.
CONFIG_KEYS = (
    *("Hostname", "Domainname", "User", "Tty", "OpenStdin", "Env", "Cmd", "Entrypoint"),
    *("WorkingDir", "Labels", "ExposedPorts", "Volumes", "StopSignal", "StopTimeout"),
    "Healthcheck",
)
HOST_CONFIG_KEYS = (
    *("Binds", "Mounts", "Tmpfs", "VolumesFrom", "VolumeDriver", "StorageOpt", "ReadonlyRootfs"),
    *("NetworkMode", "PortBindings", "PublishAllPorts", "Dns", "DnsOptions", "DnsSearch"),
    *("ExtraHosts", "Links", "Privileged", "CapAdd", "CapDrop", "SecurityOpt", "GroupAdd"),
    *("Devices", "Sysctls", "Ulimits", "RestartPolicy", "LogConfig", "Init", "ShmSize"),
    *("PidMode", "IpcMode", "UTSMode", "UsernsMode", "OomScoreAdj", "OomKillDisable"),
    *("Memory", "MemorySwap", "MemoryReservation", "CpuShares", "CpuPeriod"),
    *("CpuQuota", "CpusetCpus", "CpusetMems", "Isolation"),
)


Json = dict[str, Any]


def bridge_environment(folder: Path, host_uuid: str, *, raw: bool) -> dict[str, str]:
    """Return the variables of a bridge with the agent's own keys, or RAW with a service's."""
    keys = SERVICE if raw else AGENT
    path = folder / f"{keys['access_key']}.toml"
    lines = [
        "[[agents]]",
        *(f'{key} = "{keys[key]}"' for key in ("access_key", "secret_key")),
        f'host_uuid = "{host_uuid}"',
        *([f'agent_id = "1a{AGENT_ID}"'] if raw else []),
    ]
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    # Both bridges serve one host in one Redis, so neither may have to learn whose it is.
    return {"BRIDGE_AGENTS_FILE": str(path), "CATTLE_ACCESS_KEY": "", "CATTLE_SECRET_KEY": ""}


class ReplayStage:
    """One system on an Engine of its own, whose bridge subscribes as the recorded one did."""

    def __init__(
        self, system: System, client: Any, registry: Registry, bridges: dict[bool, dict[str, str]]
    ) -> None:
        self.system = system
        self._bridges = bridges
        self.docker = client
        self.registry = registry
        self._raw = False
        made = client.create_container(TEST_IMAGE)
        self.plain = client.inspect_container(made["Id"])
        remove_containers(client, made["Id"])

    def subscribe_as_recorded(self, frame: Json) -> None:
        """Subscribe with the agent's own keys, or RAW for a frame whose name has a suffix."""
        raw = ";agent=" in frame["name"]
        if raw == self._raw:
            return
        self.system.bridge.terminate()
        wait_until(lambda: self._sockets() == 0, 20, "the end of the subscription")
        self.system.bridge = self.system.start_bridge(**self._bridges[raw])
        self.system.wait_subscribed()
        self._raw = raw

    def clear(self) -> None:
        """Remove all containers and volumes of the stage's Engine, and all images but its own."""
        left = self.docker.containers(all=True)
        remove_containers(self.docker, *(one["Id"] for one in left))
        for volume in self.docker.volumes()["Volumes"] or ():
            self.docker.remove_volume(volume["Name"], force=True)
        for name in self.images():
            self.docker.remove_image(name, noprune=True)

    def images(self) -> list[str]:
        """Return the names of all images on the Engine, except the stage's own."""
        tags = [tag for image in self.docker.images() for tag in image["RepoTags"] or ()]
        return sorted(tag for tag in tags if tag not in {TEST_IMAGE, "<none>:<none>"})

    def _sockets(self) -> int:
        return sum(self.system.cattle.stats()["open_sockets"].values())


class Scene:
    """One frame on the stage: prepares the host, sends the frame, reads what came of it."""

    def __init__(self, stage: ReplayStage, frame: Json, given: str) -> None:
        self.stage = stage
        self._given = given
        self._frame = frame
        self._ports: dict[str, str] = {}
        self._own_id: str | None = None
        #: Id on this Engine -> the name that the expected results have for it.
        self._names: dict[str, str] = {}

    def play(self) -> Call:
        """Make the host ready and send the frame; again with other ports where one was taken."""
        for _ in range(5):
            self.stage.clear()
            self._names.clear()
            text = self._prepared(json.dumps(self._frame))
            call = self._send(json.loads(text))
            if not any(words in (call.message or "") for words in PORT_TAKEN):
                break
        return call

    def _send(self, frame: Json) -> Call:
        # The recorded time would put the deadline into the past.
        event = {**frame, "id": str(uuid.uuid4()), "time": None, "replyTo": None}
        timeout_ms = frame["timeoutMillis"]
        # cattle repeats the short pings of an activation or reconnect up to 30 times.
        sends = 30 if frame["name"] == "ping" else 1
        return self.stage.system.cattle.call(
            raw_event=event, agent=AGENT_ID, timeout_ms=timeout_ms, sends=sends, wait_s=90
        )

    def _prepared(self, text: str) -> str:
        """Make what the frame refers to; return its text with this machine's names."""
        self._ports = {port: str(free_port()) for port in RECORDED_PORTS if port in text}
        text = _with_ports(text, self._ports)
        text = text.replace(RECORDED_REGISTRY, self.stage.registry.server)
        for other in others_of(self._frame):
            made = self._make(other, running=True)
            text = text.replace(other["externalId"], made)
        if self._frame["data"].get("instancePull", {}).get("complete"):
            self._pull_before()
        own = own_instance_of(self._frame)
        if own is not None and self._given != "absent":
            self._own_id = self._make(own, running=self._given == "running")
            if own.get("externalId"):
                text = text.replace(own["externalId"], self._own_id)
        return text

    def _make(self, instance: Json, *, running: bool) -> str:
        native = instance.get("nativeContainer", False)
        name = instance["name"] if native else f"r-{instance['name']}"
        labels = {} if native else {UUID_LABEL: instance["uuid"]}
        made = self.stage.docker.create_container(TEST_IMAGE, name=name, labels=labels)["Id"]
        self._names[made] = f"<{instance['name']}>"
        self.stage.docker.start(made)
        if not running:
            self.stage.docker.kill(made)
            self.stage.docker.wait(made)
        return str(made)

    def _pull_before(self) -> None:
        """Leave the image as the first event of a pull leaves it, with its temporary name."""
        pull = self._frame["data"]["instancePull"]
        name, _, tag = pull["image"]["data"]["dockerImage"]["fullName"].partition(":")
        for one in (tag, f"{tag}{pull['tag']}"):
            self.stage.docker.tag(TEST_IMAGE, f"{self.stage.registry.server}/{name}", one)

    def container(self) -> Json | None:
        """Return the facts of the frame's own container after the event, or None."""
        own = own_instance_of(self._frame)
        listed = [one["Id"] for one in self.stage.docker.containers(all=True)]
        others = {made for made in self._names if made != self._own_id}
        left = [one for one in listed if one not in others]
        if own is None or not left:
            assert not left, "the event made a container"
            return None
        (found,) = map(self.stage.docker.inspect_container, left)
        facts: Json = {"state": found["State"]["Status"]}
        if found["Id"] == self._own_id:
            return {"kept": True, **facts}
        facts |= {
            "name": found["Name"],
            "image": found["Config"]["Image"],
            **_differences(found["Config"], self.stage.plain["Config"], CONFIG_KEYS),
            **_differences(found["HostConfig"], self.stage.plain["HostConfig"], HOST_CONFIG_KEYS),
        }
        if SHORT_ID.match(facts.get("Hostname", "")):
            del facts["Hostname"]  # the container's own, or the one whose network it shares
        networks = found["NetworkSettings"]["Networks"].values()
        facts["macs"] = [one["MacAddress"] for one in networks if one["MacAddress"]]
        return self._as_recorded(facts)

    def reply(self, call: Call) -> Json:
        """Return the facts of the reply: its resource, and what cattle reads of its data."""
        assert call.reply is not None
        own_type = self._frame["resourceType"]
        facts: Json = {
            "resource": f"{call.reply.get('resourceType')}:{call.reply.get('resourceId')}"
        }
        if code := call.reply.get("transitioningInternalMessage"):
            facts["code"] = code.partition(":")[0]
        data = call.data
        if own_type == "instanceHostMap" and data:
            facts |= self._instance_facts(data["instanceHostMap"]["instance"])
        elif own_type == "agent" and "resources" in data:
            facts |= _ping_facts(data)
        elif own_type == "instanceInspect":
            facts["inspected"] = self._names[data["instanceInspect"]["Id"]]
        elif own_type == "resourcePull":
            facts["pulled"] = self._pulled(data)
            facts["images"] = self.stage.images()
        else:
            facts["data"] = data
        return self._as_recorded(facts)

    def _pulled(self, data: Json) -> list[str]:
        """Return the names of the pulled image in the reply, except the stage's own."""
        image = data.get("fields", {}).get("dockerImage", {})
        return sorted(tag for tag in image.get("RepoTags", ()) if tag != TEST_IMAGE)

    def _instance_facts(self, instance: Json) -> Json:
        data = instance["+data"]
        fields = dict(data["+fields"])
        inspect = data["dockerInspect"]
        assert instance["externalId"] == inspect["Id"]
        assert inspect["Config"] == self.stage.docker.inspect_container(inspect["Id"])["Config"]
        container = data["dockerContainer"]
        assert container["Id"] == inspect["Id"]
        return {
            "state": inspect["State"]["Status"],
            "listed": [*container["Names"], container["Image"], container["State"]],
            "ports": sorted(fields["dockerPorts"], key=lambda text: text.rpartition(":")[2]),
            "has_ip": bool(fields["dockerIp"]),
            "host_ip": fields["dockerHostIp"],
            "mounts": sorted(one["Destination"] for one in data["dockerMounts"]),
        }

    def _as_recorded(self, facts: Json) -> Json:
        ports = {ours: recorded for recorded, ours in self._ports.items()}
        text = _with_ports(json.dumps(facts), ports)
        for made, name in self._names.items():
            text = text.replace(made, name)
        told: Json = json.loads(text.replace(self.stage.registry.server, RECORDED_REGISTRY))
        return told


def own_instance_of(frame: Json) -> Json | None:
    """Return the instance whose container the frame is about, or None."""
    data = frame["data"]
    if "instanceHostMap" in data:
        return data["instanceHostMap"]["instance"]
    if "volumeStoragePoolMap" in data:
        return data["volumeStoragePoolMap"]["volume"]["instance"]
    if frame["name"] == "ping":
        return {"name": "pinged", "uuid": "uuid-of-pinged"}
    if "instanceInspect" in data:
        found = data["instanceInspect"]["id"]
        return {"name": found[:8], "externalId": found, "nativeContainer": True}
    return None


def others_of(frame: Json) -> Iterator[Json]:
    """Yield the instances that the frame's own one refers to; each has run."""
    own = frame["data"].get("instanceHostMap", {}).get("instance", {})
    found = [link["targetInstance"] for link in own.get("instanceLinks", ())]
    found += [own["networkContainer"]] if own.get("networkContainer") else []
    found += own.get("dataVolumesFromContainers", ())
    yield from {one["uuid"]: one for one in found}.values()


def play_heartbeat(stage: ReplayStage, frame: Json) -> None:
    """Send a heartbeat as it was recorded, then a ping; the ping alone is answered."""
    before = stage.system.cattle.stats()
    fresh = {**frame, "id": str(uuid.uuid4()), "time": int(time.time() * 1000)}
    assert stage.system.cattle.frames(json.dumps(fresh), agent=AGENT_ID) == 1
    ping = stage.system.cattle.call("ping", {"options": {}}, agent=AGENT_ID, resource_type="agent")
    assert ping.state == "success"
    after = stage.system.cattle.stats()
    assert after["publishes"]["201"] == before["publishes"].get("201", 0) + 1
    assert after["unmatched"] == before["unmatched"]


def _ping_facts(data: Json) -> Json:
    resources = data["resources"]
    instances = [one for one in resources if one["type"] == "instance"]
    return {
        "options": data.get("options"),
        "types": sorted({one["type"] for one in resources}),
        "instances": [[one["uuid"], one["state"]] for one in instances],
        "has_figures": bool(sum(len(one.get("info") or {}) for one in resources)),
    }


def _differences(ours: Json, plain: Json, keys: tuple[str, ...]) -> Json:
    """Return what a container has other than a plain one of the same image."""
    found = {key: _normal(key, ours.get(key)) for key in keys}
    return {key: value for key, value in found.items() if value != _normal(key, plain.get(key))}


def _with_ports(text: str, ports: dict[str, str]) -> str:
    """Replace port numbers in a text, but not inside of longer words."""
    for old, new in ports.items():
        text = re.sub(rf"(?<!\w){old}(?!\w)", new, text)
    return text


def _normal(key: str, value: Any) -> Any:
    """Return a value in one form for all Engines: empty is None, capabilities have no prefix."""
    if key in {"CapAdd", "CapDrop"} and value:
        return [name.removeprefix("CAP_") for name in value]
    if key == "SecurityOpt" and value:
        return sorted({option.replace(":", "=", 1) for option in value})
    if key == "NetworkMode" and value in {"default", "bridge"}:
        return None
    return value or None
