"""Recorded events of a real cattle through the whole system, against python-agent's own replies.

The recordings lie beside the repository, in `../shared/golden`, and are only read. Each event is
sent by a server that takes the bridge for a service account, as the recordings say `;agent=91`; its
id is made anew, because recordings share theirs. What differs from Engine to Engine is taken out on
both sides, as the recordings' README says; every other difference is a failure.

Not compared, because the recordings are older than the rule that decides (parity A.14, A.15):

    ping                   physicalHost, ipAddress and hostUuid, which a ping has today, are held
                           against their rules; the host's figures are this machine's, so their
                           names and kinds count; osInfo has the three names of A 15.3. An image's
                           label is inherited by its containers today, so it shows in their labels.
    ping_stat_exception    `info` is an object: figures that cannot be read are `{}` one by one
                           (A 15.1), and no state of a host makes all of them fail.
    instance_activate_pull the label that asks for the pull stays on the container, as every label
                           of a user's does (A 4.2, and the recording instance_activate_labels).
    instance_force_stop    nobody listens for its reply: the container must have stopped.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from simulator.rig.engine import start_private_engine
from simulator.rig.errors import RigError
from simulator.rig.image import build_image
from simulator.rig.processes import wait_until
from simulator.rig.registry import Registry
from tests.golden import (
    BASE,
    GOLDEN_DIR,
    IMAGE,
    PULLED_IMAGE,
    SYSTEM_LABEL,
    UUID_LABEL,
    Json,
    Stage,
    check_host,
    check_instance,
    instances_of,
    labels_in,
    recorded,
)
from tests.system import System

SLAVE_FOLDER = Path("/slave_test")  # an event's bind: Docker makes the folder on the host
SYSTEM_IMAGES = ("rancher/agent:v0.7.9", "rancher/agent:latest")

AGENT = {"access_key": "service-key", "secret_key": "service-secret-5f1d", "kind": "service"}
HOST_AGENT = {"access_key": "host-key", "secret_key": "unused", "agent_id": 91}


@pytest.fixture(scope="module")
def golden_folder(missing_part):
    """The folder of recordings, which is no part of the project."""
    if not GOLDEN_DIR.is_dir():
        missing_part(f"the recorded events are not here: wanted the folder {GOLDEN_DIR}")
    return GOLDEN_DIR


@pytest.fixture(scope="module")
def whole_stage(golden_folder, missing_part, redis_server, tmp_path_factory):
    """A registry, an Engine that finds Docker Hub's names in it, and a system on that Engine."""
    redis_server.client().flushall()
    with ExitStack() as stack:
        try:
            registry = stack.enter_context(Registry())
            engine = stack.enter_context(start_private_engine(f"--registry-mirror={registry.url}"))
            assert engine.private  # every container on it is taken away
            client = engine.client()
            stack.callback(client.close)
            build_image(client)
        except (RigError, OSError) as error:
            missing_part(error)
        system = System(
            redis=redis_server,
            state_dir=tmp_path_factory.mktemp("state"),
            engine_environment=engine.environment,
            host_uuid="testuuid",
            agent=AGENT,
            simulator={"SIMULATOR_AGENTS": json.dumps([AGENT, HOST_AGENT])},
            bridge={"CATTLE_AGENT_ID": "1a91"},
            worker={"CATTLE_PHYSICAL_HOST_UUID": "hostuuid", "CATTLE_HOSTNAME": "localhost"},
        )
        stage = Stage(system, client)
        stage.build(BASE, "EXPOSE 8080", base="cowpoke-test:latest")
        for name in (IMAGE, PULLED_IMAGE):
            registry.push(client, BASE, name)
        for name in SYSTEM_IMAGES:
            stage.build(name, f"LABEL {SYSTEM_LABEL}=rancher-agent")
        stack.enter_context(system)
        yield stage


@pytest.fixture
def stage(whole_stage):
    """The stage with nothing on it but images."""
    whole_stage.clear()
    folder_was_there = SLAVE_FOLDER.exists()
    yield whole_stage
    whole_stage.clear()
    if not folder_was_there and SLAVE_FOLDER.exists():
        SLAVE_FOLDER.rmdir()


# ---- the scenes: what stands on the host, the event, and what must come of it


def plainly(stage: Stage, event: Json, golden: Json) -> None:
    """The event alone, the recorded reply."""
    assert stage.send(event) == recorded(golden)


def started(stage: Stage, event: Json, golden: Json) -> Json:
    """The event starts a container; the reply's inspect."""
    reply = stage.send(event)
    check_instance(reply, golden)
    data = reply["data"]["instanceHostMap"]["instance"]["+data"]
    assert data["dockerInspect"]["State"]["Running"] is True
    return data["dockerInspect"]


def image_activate(stage: Stage, event: Json, golden: Json) -> None:
    """The image is missing and is pulled."""
    stage.docker.remove_image(IMAGE)
    plainly(stage, event, golden)
    assert stage.has_image(IMAGE)


def instance_activate_links(stage: Stage, event: Json, golden: Json) -> None:
    """The link service is there: the container is told of its links by variables."""
    variables = started(stage, event, golden)["Config"]["Env"]
    assert "MYSQL_NAME=/cattle/mysql" in variables
    assert "MYSQL_PORT_3307_UDP_PORT=3307" in variables
    assert "REDIS_1_ENV_ONE=TWO" in variables
    assert "ENV_REDIS_2_PORT_26_UDP_ADDR=redis" in variables


def instance_activate_links_no_service(stage: Stage, event: Json, golden: Json) -> None:
    """Nobody else makes links, so Docker does: both targets run."""
    for target in ("target_mysql", "target_redis"):
        stage.instance(target)
    links = started(stage, event, golden)["HostConfig"]["Links"]
    assert {link.rpartition("/")[2] for link in links} == {"mysql", "redis"}


def instance_activate_pull(stage: Stage, event: Json, golden: Json) -> None:
    """The label says always: an old image under the same name is replaced by the registry's."""
    stage.build(IMAGE, "LABEL age=old")
    labels = event["data"]["instanceHostMap"]["instance"]["data"]["fields"]["labels"]
    labels_in(golden).update(labels)
    inspect = started(stage, event, golden)
    assert inspect["Image"] == stage.docker.inspect_image(BASE)["Id"]


def instance_activate_volumes(stage: Stage, event: Json, golden: Json) -> None:
    """One container gives its volumes by its uuid, another one by its id."""
    by_uuid = stage.instance("target_volumes_from_by_uuid")
    by_id = stage.run()
    instance = event["data"]["instanceHostMap"]["instance"]
    instance["dataVolumesFromContainers"][1]["externalId"] = by_id
    inspect = started(stage, event, golden)
    assert inspect["HostConfig"]["VolumesFrom"] == [by_uuid, by_id]
    assert {"/proc:/host/proc:rw", "/sys:/host/sys:ro", "/slave_test:/slave_test:Z"} == set(
        inspect["HostConfig"]["Binds"]
    )
    assert "/random" in inspect["Config"]["Volumes"]


def instance_deactivate(stage: Stage, event: Json, golden: Json) -> None:
    """The container that the recorded activate starts is stopped."""
    stage.send(stage.golden("instance_activate")[0])
    reply = stage.send(event)
    check_instance(reply, golden)
    data = reply["data"]["instanceHostMap"]["instance"]["+data"]
    assert data["dockerInspect"]["State"]["Running"] is False


def instance_force_stop(stage: Stage, event: Json, golden: Json) -> None:
    """A container that is no instance's any more stops."""
    running = stage.run()
    event["data"]["instanceForceStop"]["id"] = running
    stage.send(event)
    wait_until(lambda: not stage.inspect(running)["State"]["Running"], 10, "the container's end")


def instance_inspect(stage: Stage, event: Json, golden: Json) -> None:
    """The container of that name comes back whole; the recording has an empty object for it."""
    running = stage.run(name="inspect_test")
    data = stage.send(event)["data"]
    assert data["instanceInspect"]["Id"] == running
    assert {**data, "instanceInspect": {}} == golden["data"]


def instance_pull(stage: Stage, event: Json, golden: Json) -> None:
    """The image is pulled, gets its temporary name, and comes back whole."""
    reply = stage.send(event)
    image = reply["data"]["fields"]["dockerImage"]
    assert image["Id"] == stage.docker.inspect_image(PULLED_IMAGE)["Id"]
    assert image["Id"] == stage.docker.inspect_image(f"{PULLED_IMAGE}random")["Id"]
    reply["data"]["fields"]["dockerImage"] = {}
    assert reply == recorded(golden)


def instance_remove(stage: Stage, event: Json, golden: Json) -> None:
    """A running container is removed."""
    stage.instance(event["data"]["instanceHostMap"]["instance"]["uuid"])
    plainly(stage, event, golden)
    assert stage.docker.containers(all=True) == []


def ping(stage: Stage, event: Json, golden: Json) -> None:
    """Containers in every state; one that was never started is not told of."""
    stage.instance("uuid-running")
    stage.instance("uuid-stopped", stopped=True)
    for instance_uuid, image in (("uuid-system", "v0.7.9"), ("uuid-sys-nover", "")):
        name = f"rancher/agent:{image}" if image else "rancher/agent"
        stage.instance(instance_uuid, stopped=True, image=name)
    stage.instance("uuid-agent-instance", stopped=True, **{SYSTEM_LABEL: "networkAgent"})
    stage.docker.create_container(IMAGE, labels={UUID_LABEL: "uuid-created"})
    ours, theirs = pinged(stage, event, golden)
    assert [one["state"] for one in ours] == [one["state"] for one in theirs]
    assert sorted(ours, key=by_uuid) == sorted(theirs, key=by_uuid)


def ping_stat_exception(stage: Stage, event: Json, golden: Json) -> None:
    """An empty host; the recording has no figures and no containers."""
    assert pinged(stage, event, golden) == ([], [])


def pinged(stage: Stage, event: Json, golden: Json) -> tuple[list[Json], list[Json]]:
    """Compare all of a ping but the instances; its instances and the recorded ones."""
    reply, golden = stage.send(event), recorded(golden)
    resources, theirs = (side["data"].pop("resources") for side in (reply, golden))
    assert reply == golden
    physical, host, pool, address, host_uuid = resources[:5]
    assert physical == {
        "type": "physicalHost",
        "kind": "physicalHost",
        "uuid": "hostuuid",
        "name": "localhost",
    }
    check_host(host, theirs[0])
    assert pool == theirs[1]
    assert address == {
        "type": "ipAddress",
        "uuid": "1.2.3.4",
        "address": "1.2.3.4",
        "hostUuid": "testuuid",
    }
    assert host_uuid == {"type": "hostUuid", "uuid": "testuuid"}
    return instances_of(resources), instances_of(theirs)


def by_uuid(told: Json) -> str:
    """What instances are sorted by."""
    return told["uuid"]


SCENES: dict[str, Callable[[Stage, Json, Json], object]] = {
    "image_activate": image_activate,
    "instance_activate": started,
    "instance_activate_command": started,
    "instance_activate_fields": started,
    "instance_activate_labels": started,
    "instance_activate_links": instance_activate_links,
    "instance_activate_links_no_service": instance_activate_links_no_service,
    "instance_activate_ports": started,
    "instance_activate_pull": instance_activate_pull,
    "instance_activate_volumes": instance_activate_volumes,
    "instance_deactivate": instance_deactivate,
    "instance_force_stop": instance_force_stop,
    "instance_inspect": instance_inspect,
    "instance_pull": instance_pull,
    "instance_remove": instance_remove,
    "ping": ping,
    "ping_stat_exception": ping_stat_exception,
    "volume_activate": plainly,
    "volume_deactivate": plainly,
    "volume_remove": plainly,
}


@pytest.mark.parametrize("name", SCENES)
def test_a_recorded_event_gets_its_recorded_reply(stage, name):
    """python-agent's reply to this event is ours, and the host is as the event wants it."""
    event, golden = stage.golden(name)
    SCENES[name](stage, event, golden)


def test_every_recorded_event_is_sent(golden_folder):
    """No recording lies there unused."""
    there = {path.name.removesuffix(".request.json") for path in golden_folder.glob("*.request.*")}
    assert there == SCENES.keys()
