"""The reports about containers, images and volumes that are sent to cattle.

Row numbers (A, B, W) refer to docs/parity.md.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cowpoke.events import Event
from tests.factories import event, image_data, instance_data, nic, volume_data
from worker.container import Container
from worker.inspected import for_cattle
from worker.payload import instance_of
from worker.report import (
    address,
    container_reply,
    human_duration,
    image_reply,
    inspect_reply,
    listing,
    port_texts,
    pull_reply,
    status_text,
    volume_reply,
    wrapped,
)

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
STARTED = "2024-05-01T11:59:57.123456789Z"
NEVER = "0001-01-01T00:00:00Z"
INSTANCE = instance_of(instance_data())
MOUNTS = [{"Type": "bind", "Source": "/a", "Destination": "/b", "Mode": "rw", "RW": True}]
NETWORKS = {"bridge": {"IPAddress": "172.17.0.2", "MacAddress": "02:03"}}


def inspect(**changes):
    """A running container as the Engine describes it."""
    return {
        "Id": "abc123",
        "Created": "2024-05-01T11:00:00.5Z",
        "Path": "/sleep.sh",
        "Args": ["60", "two words"],
        "State": {"Status": "running", "Running": True, "StartedAt": STARTED, "FinishedAt": NEVER},
        "Image": "sha256:feed",
        "Name": "/r-web",
        "HostConfig": {"NetworkMode": "bridge", "Memory": 1},
        "Mounts": MOUNTS,
        "Config": {"Image": "example/sleep:1.0", "Labels": {"a": "b"}},
        "NetworkSettings": {
            "Ports": {
                "80/tcp": [
                    {"HostIp": "0.0.0.0", "HostPort": "8080"},
                    {"HostIp": "::", "HostPort": "8080"},
                ],
                "53/udp": None,
            },
            "Networks": NETWORKS,
        },
        **changes,
    }


def report(found, *, entry=None, instance=INSTANCE):
    """The reply's body for a container."""
    container = Container(inspect=found, listing=entry)
    return container_reply(container, instance, host_ip="1.2.3.4", now=NOW)


def test_running_container():
    """A 10.1: list entry, inspect, mounts and fields are merged into the instance's data."""
    found = inspect()
    assert report(found) == {
        "instance": {
            "externalId": "abc123",
            "+data": {
                "dockerContainer": listing(Container(inspect=found), now=NOW),
                "dockerInspect": for_cattle(found),
                "dockerMounts": MOUNTS,
                "+fields": {
                    "dockerHostIp": "1.2.3.4",
                    "dockerPorts": ["0.0.0.0:8080:80/tcp", "53/udp"],
                    "dockerIp": "172.17.0.2",
                },
            },
        }
    }


def test_every_reply_with_an_inspect_has_it_in_cattles_form():
    """W 12, W 13: instances and inspects alike; the Engine's own JSON is not changed."""
    capabilities = {"NetworkMode": "bridge", "CapAdd": ["CAP_CHOWN"]}
    found = inspect(HostConfig=capabilities)
    told = [
        report(found)["instance"]["+data"]["dockerInspect"],
        inspect_reply(event_of("instanceInspect", {}), found)["instanceInspect"],
    ]
    for one in told:
        assert one["NetworkSettings"]["IPAddress"] == "172.17.0.2"
        assert one["HostConfig"]["CapAdd"] == ["CHOWN"]
    assert found == inspect(HostConfig={"NetworkMode": "bridge", "CapAdd": ["CAP_CHOWN"]})


def test_container_that_is_gone():
    """A 3.15: a container that is gone is reported with nulls and without an id."""
    fields = {"dockerHostIp": "1.2.3.4", "dockerPorts": [], "dockerIp": None}
    data = {"dockerContainer": None, "dockerInspect": None, "+fields": fields}
    body = {"instance": {"+data": data}}
    assert report(None) == container_reply(None, INSTANCE, host_ip="1.2.3.4") == body


def test_container_that_is_only_listed():
    """A 10.6: a listed container whose inspect failed is reported with inspect null."""
    entry = {"Id": "abc123", "Ports": [{"PrivatePort": 1, "Type": "tcp"}]}
    body = report(None, entry=entry)["instance"]
    assert body["externalId"] == "abc123"
    assert body["+data"]["dockerContainer"] == entry
    assert body["+data"]["dockerInspect"] is None
    assert body["+data"]["+fields"]["dockerPorts"] == ["1/tcp"]
    assert "dockerMounts" not in body["+data"]


def test_given_listing_is_reported_as_it_is():
    """A 10.8: an entry of the Engine's own list is not made again."""
    entry = {"Id": "abc123", "Names": ["/x"]}
    assert report(inspect(), entry=entry)["instance"]["+data"]["dockerContainer"] is entry


def test_host_ip():
    """A 10.2: the host's address is reported as it was configured, null when it was not."""
    body = container_reply(Container(inspect=inspect()), INSTANCE, host_ip=None, now=NOW)
    assert body["instance"]["+data"]["+fields"]["dockerHostIp"] is None


def test_mounts_only_if_known():
    """A 10.5: without mounts in the one inspect the key is left out."""
    found = inspect()
    del found["Mounts"]
    assert "dockerMounts" not in report(found)["instance"]["+data"]


def test_emptied_inspect():
    """A 10.6: an inspect from which the Engine left out all that is empty is no error."""
    body = report({"Id": "abc123"})["instance"]
    assert body["externalId"] == "abc123"
    assert body["+data"]["+fields"]["dockerPorts"] == []


@pytest.mark.parametrize(
    ("port", "text"),
    [
        ({"IP": "0.0.0.0", "PublicPort": 1, "PrivatePort": 2, "Type": "tcp"}, "0.0.0.0:1:2/tcp"),
        ({"IP": "127.0.0.1", "PrivatePort": 2, "Type": "udp"}, "127.0.0.1::2/udp"),
        ({"PrivatePort": 2, "Type": "udp"}, "2/udp"),
        ({"PublicPort": 1, "PrivatePort": 2, "Type": "tcp"}, "1:2/tcp"),
        ({"IP": "::", "PublicPort": 1, "PrivatePort": 2, "Type": "tcp"}, ":::1:2/tcp"),
    ],
)
def test_port_texts(port, text):
    """A 10.3: a port is written as cattle reads it."""
    assert port_texts([port]) == [text]


def test_duplicate_host_on_ipv6_are_left_out():
    """A 10.3: the Engine's own twin on `::` is left out, also where its number is another."""
    four = {"IP": "0.0.0.0", "PublicPort": 1, "PrivatePort": 2, "Type": "tcp"}
    twin = {**four, "IP": "::"}
    chosen = {**four, "IP": "::", "PublicPort": 3}
    udp = {**twin, "Type": "udp"}
    assert port_texts([four, twin]) == port_texts([four, chosen]) == ["0.0.0.0:1:2/tcp"]
    assert port_texts([four, udp]) == ["0.0.0.0:1:2/tcp", ":::1:2/udp"]
    asked = {"2/tcp": [{"HostIp": "", "HostPort": "1"}, {"HostIp": "::", "HostPort": "3"}]}
    assert port_texts([four, chosen], asked=asked) == ["0.0.0.0:1:2/tcp", ":::3:2/tcp"]
    assert port_texts(None) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"IPAddress": "172.17.0.9", "Networks": NETWORKS}, "172.17.0.9"),
        ({"IPAddress": "", "Networks": NETWORKS}, "172.17.0.2"),
        ({"Networks": {"a": {"IPAddress": "10.0.0.1"}, **NETWORKS}}, "172.17.0.2"),
        ({"Networks": {"a": {"IPAddress": ""}, "b": {"IPAddress": "10.0.0.2"}}}, "10.0.0.2"),
        ({"Networks": {"none": {"IPAddress": ""}}}, None),
        ({"Networks": None}, None),
        (None, None),
    ],
)
def test_address(settings, expected):
    """A 10.4: the top-level address, then the bridge's, then the first network that has one."""
    assert address(Container(inspect={"NetworkSettings": settings})) == expected


def test_address_of_a_cni_container():
    """A 10.4, B.2: Docker knows no address of such a container; running, it is cattle's own."""
    instance = instance_of(instance_data(nics=[nic("cni")]))
    running = Container(inspect={"State": {"Running": True}})
    stopped = Container(inspect={"State": {"Running": False}})
    assert address(running, instance) == "10.42.1.2"
    assert address(stopped, instance) is None
    assert address(Container(), instance) is None
    assert address(running, INSTANCE) is None


def test_address_in_a_managed_network():
    """B.2: what CNI gave comes first; a running container without one keeps what cattle has."""
    instance = instance_of(instance_data(nics=[nic("cni", ipAddresses=[])]))
    labels = {"Labels": {"io.rancher.cni.network": "net"}}
    running = Container(inspect={"State": {"Running": True}, "Config": labels})
    stopped = Container(inspect={"State": {"Running": False}, "Config": labels})

    def reported(container, managed_address=None):
        made = container_reply(container, instance, host_ip=None, managed_address=managed_address)
        return made["instance"]["+data"]["+fields"]

    assert reported(running, "10.1.2.3")["dockerIp"] == "10.1.2.3"
    assert "dockerIp" not in reported(running)
    assert reported(stopped)["dockerIp"] is None


def test_exposed_ports_of_the_image_without_published_ones():
    """B.2: Docker lists none for a container without a network of its own."""
    exposed = {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}
    running = Container(inspect={"State": {"Running": True}, "Config": exposed})
    stopped = Container(inspect={"State": {"Running": False}, "Config": exposed})

    def ports(container):
        made = container_reply(container, INSTANCE, host_ip=None)
        return made["instance"]["+data"]["+fields"]["dockerPorts"]

    assert ports(running) == ["53/udp", "80/tcp"]
    assert ports(stopped) == []


def test_listing():
    """A 10.8: the list entry has the Engine's names and the image's name as it was asked for."""
    assert listing(Container(inspect=inspect()), now=NOW) == {
        "Id": "abc123",
        "Names": ["/r-web"],
        "Image": "example/sleep:1.0",
        "ImageID": "sha256:feed",
        "Command": "/sleep.sh 60 'two words'",
        "Created": 1714561200,
        "Ports": [
            {"PrivatePort": 53, "Type": "udp"},
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        ],
        "Labels": {"a": "b"},
        "State": "running",
        "Status": "Up 2 seconds",
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": NETWORKS},
        "Mounts": MOUNTS,
    }


def test_listing_of_nearly_nothing():
    """A 10.8: every key of the inspect may be missing."""
    made = listing(Container(inspect={}), now=NOW)
    assert (made["Names"], made["Ports"], made["Created"], made["Status"]) == (
        [],
        [],
        None,
        "Created",
    )


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"Running": True, "StartedAt": STARTED}, "Up 2 seconds"),
        ({"Running": True, "Paused": True, "StartedAt": STARTED}, "Up 2 seconds (Paused)"),
        (
            {"Running": True, "Restarting": True, "ExitCode": 3, "FinishedAt": STARTED},
            "Restarting (3) 2 seconds ago",
        ),
        (
            {"Running": True, "StartedAt": STARTED, "Health": {"Status": "healthy"}},
            "Up 2 seconds (healthy)",
        ),
        (
            {"Running": True, "StartedAt": STARTED, "Health": {"Status": "starting"}},
            "Up 2 seconds (health: starting)",
        ),
        ({"Running": True, "StartedAt": STARTED, "Health": {"Status": "none"}}, "Up 2 seconds"),
        ({"RemovalInProgress": True}, "Removal In Progress"),
        ({"Dead": True}, "Dead"),
        ({"StartedAt": NEVER}, "Created"),
        ({"StartedAt": STARTED, "FinishedAt": NEVER}, ""),
        (
            {"StartedAt": STARTED, "FinishedAt": "2024-05-01T13:57:50+02:00", "ExitCode": 137},
            "Exited (137) 2 minutes ago",
        ),
    ],
)
def test_status(state, text):
    """A 10.8: the status is in the Engine's own words."""
    assert status_text(state, now=NOW) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(milliseconds=900), "Less than a second"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=59), "59 seconds"),
        (timedelta(seconds=60), "About a minute"),
        (timedelta(minutes=2), "2 minutes"),
        (timedelta(minutes=59), "59 minutes"),
        (timedelta(minutes=60), "About an hour"),
        (timedelta(minutes=89), "About an hour"),
        (timedelta(minutes=90), "2 hours"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(hours=48), "2 days"),
        (timedelta(days=13), "13 days"),
        (timedelta(days=14), "2 weeks"),
        (timedelta(days=59), "8 weeks"),
        (timedelta(days=60), "2 months"),
        (timedelta(days=729), "24 months"),
        (timedelta(days=730), "2 years"),
    ],
)
def test_human_durations(duration, text):
    """A 10.8: durations are said as docker's own tools say them."""
    assert human_duration(duration.total_seconds()) == text


def event_of(kind, data, **changes):
    """An event about a resource of this kind."""
    return Event.model_validate(event(resourceType=kind, data=data, **changes))


@pytest.mark.parametrize(
    ("kind", "data", "body"),
    [
        ("instanceHostMap", instance_data(), {"instance": {}}),
        ("imageStoragePoolMap", image_data(), image_reply()),
        ("volumeStoragePoolMap", volume_data(), volume_reply()),
    ],
)
def test_result_under_the_resource_type(kind, data, body):
    """A 1.18: a result stands under the request's resource type."""
    assert wrapped(event_of(kind, data), body) == {kind: body}


@pytest.mark.parametrize("kind", [None, "agent", "instancePull"])
def test_other_resources_have_no_result(kind):
    """A 1.18: a resource of another type has an empty result."""
    assert wrapped(event_of(kind, {"agent": {"type": "agent"}}), {"a": 1}) == {}


@pytest.mark.parametrize("data", [{}, {"instanceHostMap": {"id": 1}}, {"instanceHostMap": "x"}])
def test_resource_without_type_has_no_result(data):
    """A 1.18: a resource that does not say its type has an empty result."""
    assert wrapped(event_of("instanceHostMap", data), {"a": 1}) == {}


def test_image_and_volume():
    """A 12.17, A 13.5: an image is there, a volume is one of Docker's."""
    assert image_reply() == {}
    assert volume_reply() == {"volume": {"format": "docker"}}


@pytest.mark.parametrize("found", [None, {"Id": "abc"}])
def test_inspect(found):
    """A 11.9, A 11.10: the inspect goes under the request's resource type, null when not found."""
    assert inspect_reply(event_of("instanceInspect", {}), found) == {"instanceInspect": found}
    assert inspect_reply(event_of("other", {}), found) == {"other": found}


def test_pull():
    """A 11.12, A 11.13, A 11.15: a pulled image's inspect, or nothing."""
    assert pull_reply({"Id": "x"}) == {"fields": {"dockerImage": {"Id": "x"}}}
    assert pull_reply(None) == {}


@pytest.mark.parametrize(
    "name", ["image_activate", "volume_activate", "volume_deactivate", "volume_remove"]
)
def test_recorded_replies(name):
    """A 12.17, A 13.5, A 13.6: recorded pool events get their recorded results."""
    if not GOLDEN.is_dir():
        pytest.skip("the recorded events are not here")
    request = Event.model_validate(json.loads((GOLDEN / f"{name}.request.json").read_text()))
    body = image_reply() if name.startswith("image") else volume_reply()
    reply = json.loads((GOLDEN / f"{name}.reply.json").read_text())
    assert wrapped(request, body) == reply["data"]
