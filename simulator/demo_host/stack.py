"""The steps about containers: a managed network, a volume of a storage driver, a kill by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from simulator import sample
from simulator.demo_host.stage import DRIVER, Stage
from simulator.narration import StepFailedError, ask, checked, say
from simulator.networks import BRIDGE, CNI, PER_HOST_SUBNET, allotted_address
from simulator.plugin_manager.manager import LATE_LABEL, POOL
from simulator.rig.processes import wait_until
from simulator.volumes import DataVolume, removal
from worker.create.managed_network import WAIT_PROGRAM

if TYPE_CHECKING:
    from simulator.sample import Instance

#: How late the stand-in connects a container: the program in it waits that long.
LATE_S = 1.0
SHOW_ADDRESS = "ip -4 -o address show eth0"
NOTE = "written by one container, read by another"
WITHIN_S = 20.0


def managed(stage: Stage) -> None:
    """Start two containers whose addresses cattle chose, and one whose address it learns."""
    checked(ask(stage.cattle, sample.image_activate(stage.new_instance("web", CNI))))
    for name in ("web", "db"):
        instance = stage.new_instance(name, CNI)
        wanted = str(allotted_address(CNI, instance.uuid))
        say("cattle", f"{instance.name} is to get {wanted}")
        started = _connected(stage, instance)
        _want(_address(started), wanted, "the address of the reply")
        say("cattle", f"the reply has {wanted}, as assigned")


def without_subnet(stage: Stage) -> None:
    """Start a container in a network without subnets: the reply is the only source."""
    instance = stage.new_instance("local", PER_HOST_SUBNET)
    say("cattle", f"{instance.name} has no address: the network {PER_HOST_SUBNET.name} has none")
    address = _address(_connected(stage, instance))
    if not address.startswith(str(POOL.network_address).removesuffix("0.0")):
        raise StepFailedError(f"wanted an address of {POOL} in the reply, found {address!r}")
    (known,) = [one for one in stage.cattle.instances() if one["uuid"] == instance.uuid]
    _want(known["primaryIpAddress"], address, "the address that cattle has")
    say("cattle", f"learns the address from the reply: {address}")


def volume(stage: Stage) -> DataVolume:
    """Let one container write a file into a volume of the driver, and another one read it."""
    notes = DataVolume(
        id=90,
        name=f"notes-{stage.mark}",
        driver=DRIVER,
        driver_opts={"host": "192.0.2.7", "export": "/notes"},
    )
    writer = stage.new_instance("writer", BRIDGE)
    script = f"echo '{NOTE}' >/data/new && mv /data/new /data/note"
    stage.activate(writer, script, volumes=(notes,))
    path = stage.driver.folder_of(notes.name) / "note"
    wait_until(path.exists, WITHIN_S, f"the file {path}")
    say("docker", f"{writer.name} wrote /data/note")
    reader = stage.activate(
        stage.new_instance("reader", BRIDGE), "cat /data/note", volumes=(notes,)
    )
    _want(_first_line(stage, reader), NOTE, "what the reader printed")
    say("docker", f"{reader.name} read {NOTE!r}")
    return notes


def kill(stage: Stage) -> None:
    """Kill a container by hand, and see that cattle knows."""
    victim = stage.instances[0]
    container_id = str(victim.external_id)
    say("you", f"docker kill {container_id[:12]}    ({victim.name})")
    began_ms = time.time() * 1000
    stage.client.kill(container_id)

    def stopped_ms() -> float:
        (known,) = [one for one in stage.cattle.instances() if one["uuid"] == victim.uuid]
        return float(known["history"][-1]["ms"]) if known["state"] == "stopped" else 0

    took_ms = wait_until(stopped_ms, WITHIN_S, f"cattle to see {victim.name} stop") - began_ms
    say("cattle", f"{victim.name} is stopped: seen {took_ms:.0f} ms after the kill")
    events = stage.cattle.container_events(container=container_id, inspect=False)
    told = ", ".join(one["event"]["externalStatus"] for one in events)
    say("cattle", f"container events of it so far: {told}")


def remove(stage: Stage, notes: DataVolume) -> None:
    """Let cattle stop and remove all containers and the volume."""
    for instance in stage.instances:
        if stage.inspect(instance)["State"]["Running"]:
            checked(ask(stage.cattle, sample.instance_deactivate(instance, stop_timeout_s=2)))
        checked(ask(stage.cattle, sample.volume_remove(instance)))
    stage.driver.removing.add(notes.name)
    row = removal(stage.instances[-1], notes)
    event = sample.SampleEvent(
        name=row["name"],
        resource_type=row["resourceType"],
        resource_id=row["resourceId"],
        data=row["data"],
    )
    checked(ask(stage.cattle, event))


def gone(stage: Stage, notes: DataVolume) -> None:
    """See that no container, volume or host is left."""
    left = stage.client.containers(all=True, filters={"ancestor": stage.image})
    if left:
        raise StepFailedError(f"wanted no container any more, the Engine has {left}")
    if stage.driver.folder_of(notes.name).exists():
        raise StepFailedError(f"wanted no volume {notes.name} any more, {DRIVER} has it")
    say("docker", "no container of the stack")
    say("storage", "no volume")


def _connected(stage: Stage, instance: Instance) -> Instance:
    """Start an instance in a managed network, and show that its program waited for it."""
    started = stage.activate(instance, SHOW_ADDRESS, labels={LATE_LABEL: f"{LATE_S:g}"})
    entry_point = stage.inspect(started)["Config"]["Entrypoint"]
    _want(entry_point[0], WAIT_PROGRAM, "the entry point")
    line = _first_line(stage, started)
    if f"inet {_address(started)}/" not in line:
        raise StepFailedError(f"wanted {_address(started)} on eth0 at once, found {line!r}")
    say("docker", f"entry point {WAIT_PROGRAM} waits: the network comes {LATE_S:g} s late")
    say("docker", f"its program's first look: {' '.join(line.split()[:4])}")
    return started


def _address(instance: Instance) -> str:
    return str(instance.fields["dockerIp"])


def _first_line(stage: Stage, instance: Instance) -> str:
    what = f"a line that {instance.name} prints"
    return wait_until(lambda: stage.printed(instance), WITHIN_S, what).splitlines()[0]


def _want(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise StepFailedError(f"{what}: wanted {wanted!r}, found {found!r}")
