"""What newer Engines ask for and answer differently, played by a scripted one with API 1.52."""

import pytest

from simulator import sample
from tests import factories
from tests.faults.faulty_system import FaultySystem, new_instance
from tests.faults.scripted_engine import Answer, ScriptedEngine
from tests.hosts import hosts_on
from worker.errors import PayloadError

ACTIVATE = "compute.instance.activate"
CREATE = "/containers/create"
CONTAINERD = {
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
}
LEGACY = {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "xfs"]]}
SIZE = {"storageOpt": {"size": "10G"}}
ENDPOINT = {
    "EndpointID": "e1",
    "Gateway": "172.17.0.1",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "172.17.0.9",
    "IPPrefixLen": 16,
    "IPv6Gateway": "",
    "MacAddress": "02:42:ac:11:00:09",
}


@pytest.fixture
def engine(tmp_path):
    """A scripted Engine that speaks API 1.52."""
    with ScriptedEngine(tmp_path, api="1.52", min_api="1.44") as started:
        started.images.add(factories.IMAGE)
        yield started


@pytest.fixture
def host(engine, tmp_path):
    """One host on that Engine."""
    with hosts_on(engine.host, tmp_path) as make:
        yield make()


def made_by(engine):
    """The body of the one container that was created."""
    (only,) = engine.containers.values()
    return only["Body"]


def test_native_container_is_reported_with_the_old_address_keys(engine, host):
    """W 12, W 13: the address is in the network only, the capabilities have a prefix."""
    engine.add_container("a" * 64, name="mine", running=True)
    native = engine.containers["a" * 64]
    native["NetworkSettings"]["Networks"] = {"bridge": ENDPOINT}
    native["HostConfig"] = {"CapAdd": ["CAP_NET_ADMIN"], "CapDrop": None}
    data = factories.instance_data(nativeContainer=True, externalId="a" * 64)
    no_op = {**data, "processData": {"containerNoOpEvent": True}}
    replies = [host.run(ACTIVATE, one) for one in (data, no_op)]
    told = [one["instanceHostMap"]["instance"]["+data"]["dockerInspect"] for one in replies]
    inspected = host.run(
        "compute.instance.inspect", {"instanceInspect": {"kind": "docker", "id": "a" * 64}}
    )
    for one in (*told, inspected["instanceInspect"]):
        assert ENDPOINT.items() <= one["NetworkSettings"].items()
        assert one["HostConfig"] == {"CapAdd": ["NET_ADMIN"], "CapDrop": None}


def test_interface_sysctl_is_sent_with_the_endpoint(engine, host):
    """W 14: Engines from 28 on refuse it among the container's own."""
    host.run(ACTIVATE, factories.instance_data({"sysctls": {"net.ipv4.conf.eth0.rp_filter": 2}}))
    body = made_by(engine)
    assert "Sysctls" not in body["HostConfig"]
    assert body["NetworkingConfig"]["EndpointsConfig"]["bridge"]["DriverOpts"] == {
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.rp_filter=2"
    }


def test_size_limit_that_is_not_enforced_is_warned_of(engine, host):
    """W 14: the limit is sent as it is, and the operation warns."""
    engine.script("GET", "/info", Answer(200, CONTAINERD))
    host.run(ACTIVATE, factories.instance_data(SIZE))
    assert made_by(engine)["HostConfig"]["StorageOpt"] == {"size": "10G"}
    (warning,) = host.warned
    assert "storageOpt.size 10G is not enforced" in warning


@pytest.mark.parametrize(
    ("fields", "facts"), [(SIZE, LEGACY), (SIZE, {"DriverStatus": None}), ({}, CONTAINERD)]
)
def test_other_sizes_are_not_warned_of(engine, host, fields, facts):
    """W 14: other stores refuse what they cannot enforce; without a limit there is no question."""
    engine.script("GET", "/info", Answer(200, facts))
    host.run(ACTIVATE, factories.instance_data(fields))
    assert host.warned == []


def test_refused_instance_leaves_nothing(engine, host):
    """W 16, W 24: a bad port is refused before an image is pulled and a volume is made."""
    labels = {"io.rancher.container.pull_image": "always"}
    fields = {"dataVolumes": ["named:/data"], "labels": labels}
    bad = {"privatePort": 80, "publicPort": 80, "data": {"fields": {"bindAddress": "localhost"}}}
    with pytest.raises(PayloadError, match="bindAddress 'localhost'"):
        host.run(ACTIVATE, factories.instance_data(fields, ports=[bad]))
    assert {method for method, _ in engine.requests} == {"GET"}


def test_warnings_reach_the_message_of_the_reply(engine, redis_server, tmp_path):
    """W 14: ours and the Engine's own, in a reply that is a success."""
    redis_server.client().flushall()
    engine.script("GET", "/info", Answer(200, CONTAINERD))
    engine.add_container("a" * 64, name="other")
    created = {"Id": "a" * 64, "Warnings": ["swap is not limited", "swap is not limited"]}
    engine.script("POST", CREATE, Answer(201, created))
    event = sample.instance_activate(new_instance())
    fields = event.data["instanceHostMap"]["instance"]["data"].setdefault("fields", {})
    fields.update(SIZE)
    with FaultySystem(engine, redis=redis_server, state_dir=tmp_path / "state") as system:
        call = system.ask(event)
    assert call.state == "success"
    ours, _, engines = (call.message or "").partition("; ")
    assert "storageOpt.size 10G is not enforced" in ours
    assert engines == "swap is not limited"
    assert call.reply["data"].keys() == {"instanceHostMap"}
