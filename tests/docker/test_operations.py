"""What the operations make of a real Engine.

Row numbers (A, B, C, W) refer to docs/parity.md.
"""

import copy
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from simulator.rig.containers import remove_containers
from simulator.rig.processes import wait_until
from tests import factories
from tests.floor import allowed_s
from worker.errors import EngineError, ImageNeededError, PayloadError, ProtectedContainerError

ACTIVATE = "compute.instance.activate"
DEACTIVATE = "compute.instance.deactivate"
REMOVE = "compute.instance.remove"
INSPECT = "compute.instance.inspect"
FORCE_STOP = "compute.instance.force.stop"


def stopping(data, timeout_s):
    """The same instance's data, as a deactivate event has it."""
    return {**data, "processData": {"timeout": timeout_s}}


def managed(name, **changes):
    """The data of a volume event for a volume of Docker's own driver."""
    return factories.volume_data({"driver": "local", "driverOpts": None}, name=name, **changes)


# -- activate --------------------------------------------------------------------------------------


def test_activate_creates_and_starts(host, new_instance, containers_of):
    """The container runs, is called as cattle says, and the reply has its inspect (A 10.1)."""
    data = new_instance()
    reply = host.run(ACTIVATE, data)
    (found,) = containers_of(data)
    instance = reply["instanceHostMap"]["instance"]
    assert found["State"]["Running"]
    assert found["Name"] == f"/r-{data['instanceHostMap']['instance']['name']}"
    assert instance["externalId"] == found["Id"]
    assert instance["+data"]["dockerInspect"]["Id"] == found["Id"]
    assert instance["+data"]["+fields"]["dockerHostIp"] == "1.2.3.4"
    assert instance["+data"]["+fields"]["dockerIp"]


def test_activate_costs_five_calls_whatever_else_runs(host, new_instance):
    """List by label, inspect by name, create, start, inspect: however many others run (C 27)."""
    host.host.engine.version()
    expected = {
        "container.list": 1,
        "container.inspect": 2,
        "container.create": 1,
        "container.start": 1,
    }
    first = new_instance()
    host.run(ACTIVATE, new_instance())
    assert host.calls_of(ACTIVATE, first) == expected
    assert host.calls_of(ACTIVATE, new_instance()) == expected


def test_a_repeated_activate_costs_two_calls_and_changes_nothing(host, new_instance, containers_of):
    """Running is found and reported (A 1.19, 3.1)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    before = containers_of(data)
    assert host.calls_of(ACTIVATE, data) == {"container.list": 1, "container.inspect": 1}
    assert [one["State"] for one in containers_of(data)] == [one["State"] for one in before]


def test_three_at_once_make_one_container(make_host, new_instance, containers_of):
    """The lock lets one create, the others find (A 2.1, 2.4, C 13)."""
    data = new_instance()
    hosts = [make_host(WORKER_LOCK_WAIT_S="30") for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda n: hosts[n % 2].run(ACTIVATE, data), range(3)))
    (found,) = containers_of(data)
    ids = {one["instanceHostMap"]["instance"]["externalId"] for one in replies}
    assert ids == {found["Id"]}


def test_a_stopped_container_is_started_not_made_anew(host, new_instance, containers_of):
    """Its configuration is not compared (A 3.2)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    (before,) = containers_of(data)
    host.run(DEACTIVATE, stopping(data, 0))
    host.run(ACTIVATE, data)
    (after,) = containers_of(data)
    assert (after["Id"], after["State"]["Running"]) == (before["Id"], True)


def test_a_short_life_is_a_success(host, new_instance, containers_of):
    """Nobody checks whether it still runs (A 3.3)."""
    data = new_instance({"command": ["/bin/true"]})
    reply = host.run(ACTIVATE, data)
    assert reply["instanceHostMap"]["instance"]["externalId"] == containers_of(data)[0]["Id"]


def test_a_refused_start_leaves_nothing(host, new_instance, containers_of):
    """The container this call made is removed, the reason is Docker's (A 3.9)."""
    data = new_instance({"command": ["/no/such/program"]})
    with pytest.raises(EngineError, match="/no/such/program"):
        host.run(ACTIVATE, data)
    assert containers_of(data) == []


def test_a_refused_start_keeps_an_older_container(
    host, new_instance, containers_of, docker_client, test_image
):
    """What was there before stays, whatever the start says (A 3.9)."""
    data = new_instance()
    own = data["instanceHostMap"]["instance"]["uuid"]
    config = {
        "Image": test_image,
        "Cmd": ["/no/such/program"],
        "Labels": {"io.rancher.container.uuid": own},
    }
    made = docker_client.create_container_from_config(config)
    with pytest.raises(EngineError):
        host.run(ACTIVATE, data)
    assert [one["Id"] for one in containers_of(data)] == [made["Id"]]


def test_two_instances_of_one_name_both_run(host, new_instance, containers_of):
    """The second one's name has the first part of its uuid too (A 3.5, C 14, W 8)."""
    first = new_instance()
    name = first["instanceHostMap"]["instance"]["name"]
    second = new_instance(name=name)
    host.run(ACTIVATE, first)
    host.run(ACTIVATE, second)
    (found,) = containers_of(second)
    part = second["instanceHostMap"]["instance"]["uuid"].partition("-")[0]
    assert found["Name"] == f"/r-{name}-{part}"
    host.run(ACTIVATE, second)
    assert len(containers_of(second)) == 1
    assert found["State"]["Running"]


def test_a_no_op_activate_reports_and_touches_nothing(host, new_instance, containers_of):
    """containerNoOpEvent: stopped stays stopped, missing stays missing (A 2.13, 3.15)."""
    data = new_instance()
    no_op = {**data, "processData": {"containerNoOpEvent": True}}
    missing = host.run(ACTIVATE, no_op)["instanceHostMap"]["instance"]
    assert missing["+data"]["dockerInspect"] is None
    assert "externalId" not in missing
    assert containers_of(data) == []
    host.run(ACTIVATE, data)
    host.run(DEACTIVATE, stopping(data, 0))
    reply = host.run(ACTIVATE, no_op)
    (found,) = containers_of(data)
    assert not found["State"]["Running"]
    assert reply["instanceHostMap"]["instance"]["externalId"] == found["Id"]


def test_a_container_made_by_the_user_is_found_by_its_id(
    host, new_instance, docker_client, test_image
):
    """No label, another name: externalId finds it, exactly (A 2.8, 3.14)."""
    made = docker_client.create_container_from_config({"Image": test_image})
    try:
        data = new_instance(nativeContainer=True, externalId=made["Id"])
        reply = host.run(ACTIVATE, data)
        assert reply["instanceHostMap"]["instance"]["externalId"] == made["Id"]
        assert docker_client.inspect_container(made["Id"])["State"]["Running"]
        prefix = copy.deepcopy(data)
        prefix["instanceHostMap"]["instance"]["externalId"] = made["Id"][:12]
        assert host.run(REMOVE, prefix) == {}
        assert docker_client.inspect_container(made["Id"])["State"]["Running"]
    finally:
        remove_containers(docker_client, made["Id"])


def test_a_missing_image_goes_to_the_lane_for_images(make_host, new_instance):
    """Docker's 404 becomes a request for another lane (A 3.6)."""
    data = new_instance(image=factories.image("cowpoke-none/here:1"))
    with pytest.raises(ImageNeededError, match="cowpoke-none/here:1"):
        make_host(may_pull=False).run(ACTIVATE, data)


def test_an_instance_without_image_is_refused(host, new_instance):
    """In python-agent's words (A 3.4)."""
    with pytest.raises(PayloadError, match="Can not start container with no image"):
        host.run(ACTIVATE, new_instance(image=None))


def test_zero_arrives_at_the_engine(host, new_instance, containers_of):
    """Zeros are sent, not dropped: swappiness 0 is not "unset" (A 4, 3.9 of the style)."""
    data = new_instance({"oomScoreAdj": 0, "memorySwappiness": 0, "shmSize": 67108864})
    host.run(ACTIVATE, data)
    (found,) = containers_of(data)
    assert found["HostConfig"]["OomScoreAdj"] == 0


def test_volumes_of_mounts_are_made_first(host, new_instance, volume_name, docker_client):
    """A managed volume exists before the container that mounts it (A 6.10)."""
    volume = managed(volume_name)["volumeStoragePoolMap"]["volume"]
    data = new_instance(
        {"dataVolumes": [f"{volume_name}:/data"]}, volumesFromDataVolumeMounts=[volume]
    )
    host.run(ACTIVATE, data)
    assert docker_client.inspect_volume(volume_name)["Driver"] == "local"
    host.run(REMOVE, data)


# -- deactivate, force.stop, remove ----------------------------------------------------------------


def test_a_stop_timeout_of_zero_is_meant(host, new_instance, containers_of):
    """A process that ignores TERM is killed at once (A 11.1)."""
    data = new_instance({"command": ["/bin/sh", "-c", "trap '' TERM; sleep 600"]})
    host.run(ACTIVATE, data)
    began_s = time.monotonic()
    reply = host.run(DEACTIVATE, stopping(data, 0))
    assert time.monotonic() - began_s < allowed_s(5)
    assert not containers_of(data)[0]["State"]["Running"]
    assert (
        reply["instanceHostMap"]["instance"]["+data"]["dockerInspect"]["State"]["Running"] is False
    )


def test_a_paused_container_can_be_stopped(host, new_instance, containers_of, docker_client):
    """Paused counts as running, and ends (A 2.15)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    docker_client.pause(containers_of(data)[0]["Id"])
    host.run(DEACTIVATE, stopping(data, 1))
    assert not containers_of(data)[0]["State"]["Running"]


def test_deactivating_what_is_not_there_is_a_success(host, new_instance):
    """With the body, nulls in it (A 10.7, 11.3)."""
    reply = host.run(DEACTIVATE, new_instance())
    assert reply["instanceHostMap"]["instance"]["+data"]["dockerInspect"] is None


def test_a_no_op_deactivate_lets_it_run(host, new_instance, containers_of):
    """ContainerNoOpEvent (A 2.13)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    host.run(DEACTIVATE, {**data, "processData": {"containerNoOpEvent": True, "timeout": 0}})
    assert containers_of(data)[0]["State"]["Running"]


def test_a_running_container_is_removed(host, new_instance, containers_of):
    """By force, and once more with success (A 10.7, 11.5, C 15)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    assert host.run(REMOVE, data) == {}
    assert containers_of(data) == []
    assert host.run(REMOVE, data) == {}


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"memory": "512m"}, {}),
        ({"restartPolicy": "always"}, {}),
        ({"ulimits": [{"name": "nofile"}]}, {}),
        ({}, {"ports": [{"privatePort": None, "publicPort": 80}]}),
        ({}, {"instanceLinks": [{"targetInstanceId": 1}]}),
        ({}, {"nics": [{"deviceNumber": "first"}]}),
        ({}, {"image": {"registryCredential": {"secretValue": None}}}),
    ],
)
def test_a_container_of_odd_wishes_is_reported_stopped_and_removed(
    host, new_instance, containers_of, fields, changes
):
    """What only a create reads must not keep it alive for ever (A 6.5, 11.1 to 11.7)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    odd = copy.deepcopy(data)
    odd["instanceHostMap"]["instance"].update(changes)
    odd["instanceHostMap"]["instance"]["data"]["fields"].update(fields)
    for event in (odd, {**odd, "processData": {"containerNoOpEvent": True}}):
        assert host.run(ACTIVATE, event)["instanceHostMap"]["instance"]["externalId"]
    host.run(DEACTIVATE, stopping(odd, 0))
    assert not containers_of(data)[0]["State"]["Running"]
    assert host.run(REMOVE, odd) == {}
    assert containers_of(data) == []


def test_a_wish_that_docker_does_not_fulfil_any_more_is_told_of(host, new_instance):
    """A 4.19, B.1: a limit somebody believes in must not be gone in silence."""
    with capture_logs() as logs:
        host.run(ACTIVATE, new_instance({"kernelMemory": 4194304, "healthState": "healthy"}))
    (told,) = [log for log in logs if log["event"] == "field.not_applied"]
    assert told["log_level"] == "warning"
    assert told["warning"] == "kernelMemory is ignored: Docker no longer supports it"
    assert told["warning"] in host.warned


def test_force_stop_stops_by_id(host, new_instance, containers_of):
    """An id is all the event has; an unknown one is fine (A 11.8)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    found = containers_of(data)[0]["Id"]
    assert host.run(FORCE_STOP, {"instanceForceStop": {"kind": "docker", "id": found}}) == {}
    assert not containers_of(data)[0]["State"]["Running"]
    assert host.run(FORCE_STOP, {"instanceForceStop": {"kind": "docker", "id": "f" * 64}}) == {}


def test_our_own_part_is_not_removed(host, native_part, docker_client):
    """The label protects it (parity B.6, C 18)."""
    data = native_part("worker")
    with pytest.raises(ProtectedContainerError):
        host.run(REMOVE, data)
    container_id = data["instanceHostMap"]["instance"]["externalId"]
    assert docker_client.inspect_container(container_id)["State"]["Running"]


# -- inspect ---------------------------------------------------------------------------------------


def test_inspect_by_id_by_name_and_not_at_all(host, new_instance, containers_of):
    """Id and name are exact; a beginning of either is nobody (A 11.9 to 11.11)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    (found,) = containers_of(data)
    name = found["Name"][1:]

    def inspected(**request):
        reply = host.run(INSPECT, {"instanceInspect": {"kind": "docker", **request}})
        return (reply["instanceInspect"] or {}).get("Id")

    assert inspected(id=found["Id"]) == found["Id"]
    assert inspected(name=name) == found["Id"]
    assert inspected(id="f" * 64, name=name) == found["Id"]
    assert inspected(id=found["Id"][:12]) is None
    assert inspected(name=name[:-1]) is None


# -- ping ------------------------------------------------------------------------------------------


def test_ping_tells_of_the_host_and_its_containers(host, new_instance, containers_of):
    """Resources, figures and a complete list in one answer (A.14, A.15)."""
    data = new_instance()
    host.run(ACTIVATE, data)
    own = data["instanceHostMap"]["instance"]["uuid"]
    reply = host.run("ping", {"options": {"resources": True, "stats": True, "instances": True}})
    assert reply["options"] == {"instances": True}
    kinds = [one["type"] for one in reply["resources"][:5]]
    assert kinds == ["physicalHost", "host", "storagePool", "ipAddress", "hostUuid"]
    about = reply["resources"][1]
    assert set(about["info"]) == {"memoryInfo", "osInfo", "diskInfo", "cpuInfo", "iopsInfo"}
    assert about["labels"]["io.rancher.host.docker_version"].count(".") == 1
    assert about["info"]["osInfo"]["dockerVersion"].startswith("Docker version ")
    assert about["info"]["diskInfo"]["dockerStorageDriver"]
    (shown,) = [one for one in reply["resources"] if one.get("uuid") == own]
    (found,) = containers_of(data)
    assert (shown["state"], shown["dockerId"]) == ("running", found["Id"])
    assert shown["labels"] == found["Config"]["Labels"]


# -- the Engine comes back -------------------------------------------------------------------------


def test_hung_up_connections_are_replaced(host, new_instance, containers_of):
    """After the pool was closed, the next event connects again."""
    data = new_instance()
    host.run(ACTIVATE, data)
    host.host.engine.close()
    host.run(REMOVE, data)
    wait_until(lambda: not containers_of(data), 5, "the container to be gone")
