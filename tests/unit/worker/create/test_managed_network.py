"""Containers in managed networks: labels, the wait program, its mount.

Row numbers (B) refer to docs/parity.md.
"""

import pytest

from tests.factories import instance_data, nic
from tests.unit.worker.create.mapping import body
from worker.create import Facts, ImageCommand, create_warnings, facts_needed
from worker.payload import instance_of

IMAGE = ImageCommand(entry_point=("/ep", "-x"), command=("serve",))
NETWORK_LABEL = "io.rancher.cni.network"
ADDRESS_LABEL = "io.rancher.container.ip"
MAC_LABEL = "io.rancher.container.mac_address"


def managed(fields=None, image=IMAGE, card=None, **changes):
    """The create body of an instance in a managed network."""
    changes.setdefault("nics", [nic("cni", **(card or {}))])
    return body(fields, facts=Facts(image_command=image), **changes)


def command(fields=None, image=IMAGE):
    """Entry point and command of the create body."""
    made = managed(fields, image)
    return made.get("Entrypoint"), made.get("Cmd")


@pytest.mark.parametrize(
    ("fields", "image", "wanted"),
    [
        pytest.param({}, IMAGE, (["/.r/r", "/ep", "-x"], ["serve"]), id="image has both"),
        pytest.param(
            {}, ImageCommand(command=("serve",)), (["/.r/r"], ["serve"]), id="image has a command"
        ),
        pytest.param(
            {}, ImageCommand(entry_point=("/ep",)), (["/.r/r", "/ep"], None), id="only entry point"
        ),
        pytest.param({}, ImageCommand(), (None, None), id="nothing at all"),
        pytest.param(
            {"command": "a 'b c'"}, IMAGE, (["/.r/r", "/ep", "-x"], ["a", "b c"]), id="own command"
        ),
        pytest.param(
            {"entryPoint": ["/own"]}, IMAGE, (["/.r/r", "/own"], None), id="own entry point"
        ),
        pytest.param(
            {"entryPoint": "/own -y", "command": ["z"]},
            IMAGE,
            (["/.r/r", "/own", "-y"], ["z"]),
            id="both own",
        ),
        pytest.param(
            {"entryPoint": [""], "command": ["z"]}, IMAGE, (["/.r/r"], ["z"]), id="no entry point"
        ),
        pytest.param({"entryPoint": [""]}, IMAGE, ([""], None), id="no entry point, no command"),
        pytest.param(
            {"entryPoint": [], "command": " "},
            IMAGE,
            (["/.r/r", "/ep", "-x"], ["serve"]),
            id="empty",
        ),
    ],
)
def test_entry_point_comes_behind_the_wait_program(fields, image, wanted):
    """B.2: own entry point, else the image's; the image's command only beside its entry point."""
    assert command(fields, image) == wanted


def test_other_networks_have_no_wait_program():
    """B.2: Docker connects those before the start."""
    made = body({"command": ["x"]}, facts=Facts(image_command=IMAGE), nics=[nic("dockerBridge")])
    assert (made.get("Entrypoint"), made["Cmd"]) == (None, ["x"])
    assert "Binds" not in made["HostConfig"]


@pytest.mark.parametrize(
    ("fields", "kind", "needed"),
    [
        ({}, "cni", True),
        ({"command": ["x"]}, "cni", True),
        ({"entryPoint": ["x"]}, "cni", False),
        ({}, "dockerBridge", False),
    ],
)
def test_image_is_inspected_only_where_its_entry_point_counts(fields, kind, needed):
    """B.2: one image inspect, and none with an entry point of the user."""
    instance = instance_of(instance_data(fields, nics=[nic(kind)]))
    assert facts_needed(instance).image_command is needed


def test_wait_program_is_mounted():
    """B.2: read-only, behind the user's binds; what the user mounts on its folder is dropped."""
    volumes = ["/a:/b", "x:/.r", "/y:/.r/:ro", "/.r", "/.rr:/.rr"]
    made = managed({"dataVolumes": volumes})
    binds = ["/a:/b:rw", "/.rr:/.rr:rw", "rancher-cni:/.r:ro"]
    assert made["HostConfig"]["Binds"] == binds
    assert "Volumes" not in made
    assert "Mounts" not in made["HostConfig"]
    instance = instance_of(instance_data({"dataVolumes": volumes}, nics=[nic("cni")]))
    assert "/.r" in " ".join(create_warnings(instance, Facts(image_command=IMAGE)))


def test_without_a_wait_program_nothing_is_dropped():
    """B.2: a container that is left alone keeps its mounts."""
    made = managed({"dataVolumes": ["/a:/.r"]}, ImageCommand())
    assert made["HostConfig"]["Binds"] == ["/a:/.r:rw"]


def test_volume_driver_of_the_user_is_not_asked_for_the_wait_program():
    """B.2: the Engine applies it to binds, but not to mounts."""
    made = managed({"volumeDriver": "rancher-nfs", "dataVolumes": ["v:/data"]})
    assert made["HostConfig"]["Binds"] == ["v:/data:rw"]
    (mount,) = made["HostConfig"]["Mounts"]
    wanted = {"Type": "volume", "Source": "rancher-cni", "Target": "/.r", "ReadOnly": True}
    assert mount == wanted
    assert managed({"volumeDriver": "local"})["HostConfig"]["Binds"] == ["rancher-cni:/.r:ro"]


def test_labels_have_the_form_of_the_fast_path():
    """B.2: the bridge plugin reads mac and ip from labels, and needs both."""
    labels = managed()["Labels"]
    assert labels["io.rancher.cni.wait"] == "true"
    assert labels[NETWORK_LABEL] == "net"
    assert labels[ADDRESS_LABEL] == "10.42.1.2/16"
    assert labels[MAC_LABEL] == "02:03:04:05:06:07"


def test_user_chooses_another_network():
    """B.2: only the name of the network is the user's to choose."""
    own = {NETWORK_LABEL: "other", "io.rancher.cni.wait": "false", ADDRESS_LABEL: "1.1.1.1/8"}
    labels = managed({"labels": own})["Labels"]
    assert labels[NETWORK_LABEL] == "other"
    assert labels["io.rancher.cni.wait"] == "true"
    assert labels[ADDRESS_LABEL] == "10.42.1.2/16"


def test_of_several_cards():
    """B.2: the mac of the lowest number, but network and address of the first in the list."""
    first = nic("cni", deviceNumber=1, macAddress="02:00:00:00:00:01")
    first["network"]["name"] = "first"
    second = nic("cni", deviceNumber=0, macAddress="02:00:00:00:00:02")
    second["ipAddresses"][0]["address"] = "10.9.9.9"
    labels = managed(nics=[first, second])["Labels"]
    assert labels[NETWORK_LABEL] == "first"
    assert labels[ADDRESS_LABEL] == "10.42.1.2/16"
    assert labels[MAC_LABEL] == "02:00:00:00:00:02"


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [{"address": "10.42.1.2", "role": "primary"}],
        [{"address": "10.42.1.2", "role": "primary", "subnet": {"cidrSize": 0}}],
        [{"address": "10.42.1.2", "role": "secondary", "subnet": {"cidrSize": 16}}],
    ],
)
def test_no_address_label_without_a_subnet(addresses):
    """B.2: then Rancher's plugins choose the address."""
    assert ADDRESS_LABEL not in managed(card={"ipAddresses": addresses})["Labels"]


def test_network_settings():
    """B.2: mode none, but networking on, so that Docker writes the DNS servers."""
    made = managed({"dns": ["169.254.169.250"], "dnsSearch": ["rancher.internal"]}, hostname="h")
    assert made["HostConfig"]["NetworkMode"] == "none"
    assert "NetworkDisabled" not in made
    assert made["HostConfig"]["Dns"] == ["169.254.169.250"]
    assert made["HostConfig"]["DnsSearch"] == ["rancher.internal"]
    assert made["Hostname"] == "h"
    assert "MacAddress" not in made
