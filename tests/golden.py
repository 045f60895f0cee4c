"""What the recorded events need: a stage to set scenes on, and how replies are compared."""

import io
import json
import re
import uuid
from typing import Any

from simulator.rig.containers import remove_containers
from simulator.rig.processes import PROJECT_DIR
from tests.system import System

GOLDEN_DIR = PROJECT_DIR.parent / "shared" / "golden"

UUID_LABEL = "io.rancher.container.uuid"
SYSTEM_LABEL = "io.rancher.container.system"

BASE = "cowpoke-golden:latest"
IMAGE = "ibuildthecloud/helloworld:latest"
PULLED_IMAGE = "tianon/true:latest"

#: The keys of a listed container that differ from Engine to Engine.
ENGINES_OWN = (
    *("Created", "Id", "Status", "State", "NetworkSettings", "HostConfig", "ImageID", "Mounts"),
)
CHOSEN_PORT = re.compile(r":\d{5}:")  # an Engine chooses from 32768 up

Json = dict[str, Any]


class Stage:
    """One system on an Engine of its own, and what a scene sets up on it."""

    def __init__(self, system: System, engine: Any) -> None:
        self.system = system
        self.docker = engine

    def golden(self, name: str) -> tuple[Json, Json]:
        """A recorded event and its reply."""
        return tuple(
            json.loads((GOLDEN_DIR / f"{name}.{kind}.json").read_text(encoding="utf-8"))
            for kind in ("request", "reply")
        )

    def send(self, event: Json) -> Json:
        """Send an event under a new id; the reply, without what every reply has of its own."""
        event = {**event, "id": str(uuid.uuid4())}
        call = self.system.cattle.call(raw_event=event, agent=91, wait_s=30)
        assert call.state == "success", call.message or call.state
        reply = dict(call.reply)
        assert reply.pop("id")
        assert reply.pop("time")
        assert reply.pop("previousIds") == [event["id"]]
        # The Engine's warnings differ from machine to machine.
        reply.pop("transitioningMessage", None)
        return {key: value for key, value in reply.items() if value is not None}

    def run(self, *, image: str = IMAGE, name: str | None = None, **labels: str) -> str:
        """A running container that stands on the host before the event; its id."""
        made = self.docker.create_container(image, name=name, labels=labels)
        self.docker.start(made["Id"])
        return made["Id"]

    def instance(
        self, instance_uuid: str, *, stopped: bool = False, image: str = IMAGE, **labels: str
    ) -> str:
        """A container of an instance."""
        found = self.run(image=image, **{UUID_LABEL: instance_uuid}, **labels)
        if stopped:
            self.docker.kill(found)
            self.docker.wait(found)
        return found

    def inspect(self, container_id: str) -> Json:
        """What Docker has of a container."""
        return self.docker.inspect_container(container_id)

    def build(self, name: str, *lines: str, base: str = BASE) -> str:
        """An image made of another; its id."""
        text = "\n".join((f"FROM {base}", *lines, ""))
        built = self.docker.build(fileobj=io.BytesIO(text.encode()), tag=name, rm=True, decode=True)
        errors = [message["error"] for message in built if "error" in message]
        assert not errors
        return self.docker.inspect_image(name)["Id"]

    def has_image(self, name: str) -> bool:
        """Whether an image of this name is on the Engine."""
        return bool(self.docker.images(name))

    def clear(self) -> None:
        """Take all containers away; the images that events start from are there again."""
        left = self.docker.containers(all=True)
        remove_containers(self.docker, *(one["Id"] for one in left))
        for name in (PULLED_IMAGE, f"{PULLED_IMAGE}random"):
            if self.has_image(name):
                self.docker.remove_image(name, force=True)
        repository, _, tag = IMAGE.rpartition(":")
        self.docker.tag(BASE, repository, tag)


def without_chance(reply: Json) -> Json:
    """A reply about an instance, without what differs from Engine to Engine."""
    reply = json.loads(json.dumps(reply))
    for instance in (one["instance"] for one in reply["data"].values() if "instance" in one):
        data = instance["+data"]
        if "dockerInspect" in data:
            assert instance.pop("externalId") == data.pop("dockerInspect")["Id"]
        data.pop("dockerMounts", None)
        data["+fields"].pop("dockerIp", None)
        texts = data["+fields"]["dockerPorts"]
        data["+fields"]["dockerPorts"] = sorted(CHOSEN_PORT.sub(":1234:", text) for text in texts)
        container = data["dockerContainer"]
        for key in ENGINES_OWN:
            container.pop(key, None)
        if "Ports" in container:
            container["Ports"] = ports_of(container["Ports"])
    return reply


def ports_of(listed: list[Json]) -> list[Json]:
    """Ports without the public number and without IPv6, sorted."""
    ports = [
        {key: value for key, value in port.items() if key != "PublicPort"}
        for port in listed
        if port.get("IP") != "::"
    ]
    return sorted(ports, key=lambda port: json.dumps(port, sort_keys=True))


def recorded(reply: Json) -> Json:
    """A recorded reply as it comes out of cattle.

    Without the ids, which `Stage.send` has checked; without `previousNames`, which cattle's publish
    drops; without nulls, which python-agent wrote where a newer server leaves the key out.
    """
    apart = ("previousIds", "previousNames")
    return {key: value for key, value in reply.items() if value is not None and key not in apart}


def labels_in(golden: Json) -> Json:
    """The container's labels in a recorded reply."""
    instance = golden["data"]["instanceHostMap"]["instance"]
    return instance["+data"]["dockerContainer"]["Labels"]


def check_instance(reply: Json, golden: Json) -> None:
    """The reply is the recorded one; a recording without `Ports` has them as texts only."""
    reply, golden = without_chance(reply), without_chance(recorded(golden))
    (ours,), (theirs,) = (
        [one["instance"]["+data"]["dockerContainer"] for one in side["data"].values()]
        for side in (reply, golden)
    )
    if "Ports" not in theirs:
        del ours["Ports"]
    assert reply == golden


def check_host(host: Json, golden: Json) -> None:
    """The host's names as recorded; its figures have the recorded names and kinds."""
    info, recorded_info = host.pop("info"), golden.pop("info")
    labels, recorded_labels = host.pop("labels"), golden.pop("labels")
    for scheduled in ("memory", "milliCpu", "localStorageMb"):  # newer than the recording (B.6)
        assert host.pop(scheduled) > 0
    assert host == golden
    for name in recorded_labels:
        assert re.fullmatch(r"\d+\.\d+", labels[name])
    newer = labels.keys() - recorded_labels.keys()  # kvm where the machine has it, os (A 14.6, B.6)
    assert newer <= {"io.rancher.host.kvm", "io.rancher.host.os"}
    assert info.keys() >= {"cpuInfo", "diskInfo", "memoryInfo", "osInfo", "iopsInfo"}
    if recorded_info is None:
        return
    assert kinds(info["cpuInfo"]) == kinds(recorded_info["cpuInfo"])
    assert kinds(info["memoryInfo"]) == kinds(recorded_info["memoryInfo"])
    (mount,) = recorded_info["diskInfo"]["mountPoints"].values()
    assert info["diskInfo"]["mountPoints"]
    for found in info["diskInfo"]["mountPoints"].values():
        assert kinds(found) == kinds(mount)
    assert info["osInfo"].keys() == {"operatingSystem", "kernelVersion", "dockerVersion"}
    pattern = r"Docker version \S+, build \w+"
    assert re.fullmatch(pattern, recorded_info["osInfo"]["dockerVersion"])
    assert re.fullmatch(pattern, info["osInfo"]["dockerVersion"])


def kinds(value: object) -> object:
    """The shape of a group of figures: whole and broken numbers are one kind."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [kinds(value[0])]
    return "number" if isinstance(value, int | float) else type(value).__name__


def instances_of(resources: list[Json]) -> list[Json]:
    """A ping's instances without Docker's ids and times, and without their images' labels."""
    instances = [
        {key: value for key, value in one.items() if key not in {"dockerId", "created"}}
        for one in resources
        if one["type"] == "instance"
    ]
    for one in instances:
        if one["labels"].get(SYSTEM_LABEL) == "rancher-agent":
            one["labels"] = {k: v for k, v in one["labels"].items() if k != SYSTEM_LABEL}
    return instances
