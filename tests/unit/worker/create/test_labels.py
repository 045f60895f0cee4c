"""Labels and names: by them the container is found again.

Row numbers (A, B, W) refer to docs/parity.md.
"""

import pytest

from tests.factories import UUID, instance_data, nic
from tests.unit.worker.create.mapping import body
from worker.create import container_names
from worker.payload import instance_of


def labels(fields=None, **changes):
    """The labels, without the prefix of ours."""
    made = body(fields, **changes)["Labels"]
    return {key.removeprefix("io.rancher.container."): value for key, value in made.items()}


def test_uuid_and_name():
    """A 5.1, A 5.2: a container carries its uuid and its name."""
    assert labels() == {"uuid": UUID, "name": "web"}


@pytest.mark.parametrize("name", [None, ""])
def test_nameless(name):
    """A 5.2: without a name there is no label for it."""
    assert labels(name=name) == {"uuid": UUID}


def test_ours_win():
    """A 4.1, A 4.2: the user's labels stay, but none replaces ours."""
    made = labels({"labels": {"team": "shop", "io.rancher.container.uuid": "x", "n": 1, "z": None}})
    assert made == {"team": "shop", "uuid": UUID, "name": "web", "n": "1", "z": ""}


def test_address():
    """A 5.3: the primary address of the first card, with the size of its network."""
    assert labels(nics=[nic("dockerBridge")])["ip"] == "10.42.1.2/16"


@pytest.mark.parametrize(
    "address",
    [
        {"address": "10.42.1.2", "role": "secondary", "subnet": {"cidrSize": 16}},
        {"address": "10.42.1.2", "role": "primary", "subnet": None},
        {"address": None, "role": "primary", "subnet": {"cidrSize": 16}},
    ],
)
def test_no_address(address):
    """A 5.3: an address that is not primary or not whole makes no label."""
    assert "ip" not in labels(nics=[nic(ipAddresses=[address])])


def test_system():
    """A 5.4: a system container says what it is."""
    assert labels(systemContainer="NetworkAgent")["system"] == "NetworkAgent"
    assert "system" not in labels(systemContainer=None)


def test_agent_id():
    """A 5.5: the agent's id is text, and there is no label without an agent."""
    assert labels(agentId=91)["agent_id"] == "91"
    assert "agent_id" not in labels({"labels": {"io.rancher.container.cattle_url": "true"}})


def test_mac_for_cni():
    """A 5.6, B.2: CNI's services find network, MAC and the wish to wait in labels."""
    made = labels(nics=[nic("cni")])
    assert made["mac_address"] == "02:03:04:05:06:07"
    assert made["io.rancher.cni.wait"] == "true"
    assert made["io.rancher.cni.network"] == "net"
    assert "mac_address" not in labels(nics=[nic("dockerBridge")])


@pytest.mark.parametrize("name", ["web", "web-1.x_Y", "0a"])
def test_good_names_are_tried_before_the_uuid(name):
    """A 3.5, W 8: the name, the name with the uuid's first part, the uuid."""
    names = container_names(instance_of(instance_data(name=name)))
    assert names == (f"r-{name}", f"r-{name}-5b2a8f0e", UUID)


@pytest.mark.parametrize("name", [None, "", "a", "-web", "we b", "web\n", "größe"])
def test_other_names_give_way_to_the_uuid(name):
    """A 3.5: a name that Docker would refuse is not tried."""
    assert container_names(instance_of(instance_data(name=name))) == (UUID,)


@pytest.mark.parametrize(
    ("uuid", "names"),
    [
        ("plain", ("r-web", "r-web-plain", "plain")),
        ("größe-1", ("r-web", "größe-1")),
    ],
)
def test_name_with_a_part_of_an_unusual_uuid(uuid, names):
    """W 8: a uuid without parts is a part, one that Docker would refuse is left out."""
    assert container_names(instance_of(instance_data(uuid=uuid))) == names
