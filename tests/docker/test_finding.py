"""Which container an event means, and what is found out about it, on the real Engine.

Row numbers (A) refer to docs/parity.md.
"""

import uuid

import pytest

from simulator.rig.containers import remove_containers
from simulator.rig.processes import wait_until
from tests import factories
from worker.container import Container
from worker.engine import containers
from worker.errors import PayloadError

ACTIVATE = "compute.instance.activate"
UUID_LABEL = "io.rancher.container.uuid"
PING = {"options": {"instances": True}}


@pytest.fixture
def made(docker_client, test_image):
    """Make a container by hand: `made(name, labels)` is its id; all go at the end."""
    ids = []

    def make(name=None, labels=None, **config):
        given = {"Image": test_image, "Labels": labels or {}, **config}
        ids.append(docker_client.create_container_from_config(given, name)["Id"])
        return ids[-1]

    yield make
    remove_containers(docker_client, *ids)


def found(host, own, external_id=None):
    """The id of the container that is found."""
    container = containers.find(host.host.engine, uuid=own, external_id=external_id)
    return container and container.id


def test_the_uuid_label_finds_in_every_state(host, made, docker_client):
    """Created, running, paused, stopped (A 2.5)."""
    own = str(uuid.uuid4())
    wanted = made(labels={UUID_LABEL: own})
    assert found(host, own) == wanted
    for step in ("start", "pause", "unpause", "kill"):
        getattr(docker_client, step)(wanted)
        assert found(host, own) == wanted


def test_a_name_is_the_uuid_of_a_container_without_label(host, made):
    """Exactly the name, and not where a label says otherwise (A 2.6)."""
    own, other = str(uuid.uuid4()), str(uuid.uuid4())
    wanted = made(own)
    made(other, {UUID_LABEL: "somebody-else"})
    assert found(host, own) == wanted
    assert found(host, own[:8]) is None
    assert found(host, other) is None


def test_an_empty_label_is_none(host, made):
    """The name counts then (A 2.10)."""
    own = str(uuid.uuid4())
    assert made(own, {UUID_LABEL: ""}) == found(host, own)


def test_without_label_and_cattles_name_the_id_is_in_the_uuid(host, made):
    """`no-uuid-<id>` is how such a container was reported, and how it is found (A 2.7)."""
    wanted = made()
    assert found(host, f"no-uuid-{wanted}") is None  # it has a name: Docker gives every one some
    for nameless in (Container(inspect={"Id": wanted}), Container(listing={"Id": wanted})):
        assert nameless.uuid == f"no-uuid-{wanted}"


def test_no_instance_no_container(host, made):
    """Nothing is found for nothing, whatever runs (A 2.12)."""
    made(labels={UUID_LABEL: ""})
    assert found(host, "") is None
    assert found(host, "", "") is None


def test_a_container_stopped_by_hand_is_only_started(
    host, new_instance, containers_of, docker_client
):
    """What happened outside needs no special care (A 3.13)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    (before,) = containers_of(data)
    docker_client.kill(before["Id"])
    docker_client.wait(before["Id"])  # newer Engines answer a kill before the end
    assert host.calls_of(ACTIVATE, data).get("container.create", 0) == 0
    (after,) = containers_of(data)
    assert (after["Id"], after["State"]["Running"]) == (before["Id"], True)


def test_remove_does_not_heed_the_no_op_flag(host, new_instance, containers_of):
    """Cattle cuts such a removal short itself; one that arrives is meant (A 2.14)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    flag = {"processData": {"containerNoOpEvent": True}}
    assert host.run("compute.instance.remove", {**data, **flag}) == {}
    assert containers_of(data) == []


# -- the list in a ping ----------------------------------------------------------------------------


def listed(host):
    """The ping's instances by Docker id."""
    resources = host.run("ping", PING)["resources"]
    return {one["dockerId"]: one for one in resources if one["type"] == "instance"}


def test_a_ping_knows_containers_by_the_same_rule(host, made, docker_client):
    """By label, else by name (A 14.9, 14.13)."""
    own = str(uuid.uuid4())
    labelled, named = made(labels={UUID_LABEL: own}), made(f"t-{own}")
    for one in (labelled, named):
        docker_client.start(one)
    told = listed(host)
    assert told[labelled]["uuid"] == own
    assert told[named]["uuid"] == f"t-{own}"
    assert set(told[named]) == {
        *("type", "uuid", "state", "systemContainer", "dockerId", "image", "labels", "created")
    }


def test_labels_are_a_map_and_created_ones_are_left_out(host, made, docker_client):
    """No label is an empty map; what never ran is no instance (A 14.10, 14.15)."""
    started, never = made(), made()
    docker_client.start(started)
    told = listed(host)
    assert told[started]["labels"] == {}
    assert told[started]["systemContainer"] is None
    assert never not in told


def test_a_paused_container_runs(host, made, docker_client):
    """Cattle would start it anew otherwise (A 14.16)."""
    paused = made()
    docker_client.start(paused)
    docker_client.pause(paused)
    assert listed(host)[paused]["state"] == "running"
    docker_client.unpause(paused)
    docker_client.kill(paused)
    # Newer Engines answer a kill before the end, and list it later still.
    wait_until(lambda: listed(host)[paused]["state"] == "stopped", 10, "the end in the list")


def test_a_system_container_is_known_by_its_image_else_by_its_label(host, made, docker_client):
    """The image's label wins, with and without `:latest` in the name (A 12.19, 14.14)."""
    label = "io.rancher.container.system"
    base = made(labels={label: "networkAgent"})
    docker_client.start(base)
    repository = f"cowpoke-{uuid.uuid4().hex[:12]}"
    docker_client.commit(base, repository, "latest", conf={"Labels": {label: "rancher-agent"}})
    try:
        by_image = made(Image=repository, labels={label: "ignored"})
        docker_client.start(by_image)
        told = listed(host)
        assert told[by_image]["systemContainer"] == "rancher-agent"
        assert told[base]["systemContainer"] == "networkAgent"
        remove_containers(docker_client, by_image)
    finally:
        docker_client.remove_image(f"{repository}:latest", force=True)


def test_the_disks_of_this_machine(host):
    """Capacity, use and the Engine's storage driver, in MB and percent (A 15.4 to 15.6)."""
    reply = host.run("ping", {"options": {"resources": True, "stats": True}})
    (about,) = [one for one in reply["resources"] if one["type"] == "host"]
    disks = about["info"]["diskInfo"]
    assert disks["fileSystems"]
    assert set(disks["fileSystems"]) == set(disks["mountPoints"])
    for use in disks["mountPoints"].values():
        assert set(use) == {"free", "total", "used", "percentUsed"}
        assert 0 <= use["percentUsed"] <= 100
    assert disks["dockerStorageDriver"]
    assert all(isinstance(text, str) for text in disks["dockerStorageDriverStatus"].values())


def test_another_kind_than_docker_is_refused(host):
    """An error reply instead of python-agent's silence (A 1.12)."""
    data = factories.instance_data(host={"id": 5, "kind": "libvirt"})
    with pytest.raises(PayloadError, match="kind must be 'docker'"):
        host.run(ACTIVATE, data)
