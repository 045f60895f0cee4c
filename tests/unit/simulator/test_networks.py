"""Networks in events: allotted addresses, and networks where only the reply knows the address."""

from __future__ import annotations

import ipaddress
import re

import pytest

from simulator import networks, sample
from tests import recordings
from tests.container_posts import replied

CNI = sample.Instance(uuid="uuid-1", name="web", image="busybox", network=networks.CNI)
BARE = sample.Instance(uuid="uuid-1", name="web", image="busybox", network=networks.PER_HOST_SUBNET)


def nic_of(event):
    """The network card in an activate."""
    (nic,) = event.data["instanceHostMap"]["instance"]["nics"]
    return nic


def fields_of(event):
    """The fields of the instance in an activate."""
    return event.data["instanceHostMap"]["instance"]["data"]["fields"]


def paths(value, at=""):
    """All keys of nested objects as paths; those of maps that people fill end at the map."""
    if isinstance(value, list):
        return {path for one in value for path in paths(one, f"{at}[]")}
    if not isinstance(value, dict) or at.endswith("/cniConfig"):
        return {at}
    return {path for key, one in value.items() for path in paths(one, f"{at}/{key}")}


def test_a_cni_nic_has_the_keys_of_a_recorded_one(missing_part):
    """Address with its subnet, network with driver, dns and macPrefix."""
    if not recordings.RECORDINGS.is_file():
        missing_part(f"the recordings are not here: {recordings.RECORDINGS} does not exist")
    recorded = next(
        nic
        for frame in recordings.frames().values()
        if frame["name"] == "compute.instance.activate"
        for nic in frame["data"]["instanceHostMap"]["instance"]["nics"]
        if nic["network"]["kind"] == "cni"
    )
    assert paths(nic_of(sample.instance_activate(CNI))) == paths(recorded)


def test_an_instance_in_a_network_with_subnets_has_its_address_before_it_starts():
    """Always the same one, within the subnet; dns comes from the network."""
    event = sample.instance_activate(CNI)
    nic, fields = nic_of(event), fields_of(event)
    (address,) = nic["ipAddresses"]
    assert ipaddress.ip_address(address["address"]) in networks.CNI.subnet
    assert (address["role"], address["subnet"]["cidrSize"]) == ("primary", 16)
    assert re.fullmatch(r"02:97:d9(:[0-9a-f]{2}){3}", nic["macAddress"])
    assert nic["network"]["kind"] == "cni"
    assert (fields["networkMode"], fields["networkIds"]) == ("managed", [11])
    assert (fields["dns"], fields["dnsSearch"]) == (["169.254.169.250"], ["rancher.internal"])
    assert nic_of(sample.instance_activate(CNI)) == nic


def test_an_instance_in_a_network_without_subnets_has_none():
    """Nothing to put in a label; the kind is the same."""
    nic = nic_of(sample.instance_activate(BARE))
    assert nic["ipAddresses"] == []
    assert nic["network"]["kind"] == "cni"
    assert "subnets" not in nic["network"]["data"]["fields"]


def reply(docker_ip):
    """The data of a reply that reports an address."""
    data = {"dockerInspect": {}, "+fields": {"dockerIp": docker_ip, "dockerPorts": []}}
    return {"instanceHostMap": {"instance": {"externalId": "c" * 64, "+data": data}}}


@pytest.mark.parametrize(
    ("instance", "docker_ip", "wanted"),
    [
        (CNI, "10.1.2.3", networks.allotted_address(networks.CNI, "uuid-1")),
        (CNI, "", networks.allotted_address(networks.CNI, "uuid-1")),
        (BARE, "10.1.2.3", "10.1.2.3"),
        (BARE, "", None),
    ],
)
def test_docker_ip_is_the_address_only_where_no_other_is(instance, docker_ip, wanted):
    """The next event has it: an allotted one is kept, whatever the agent reports."""
    event = sample.instance_activate(sample.after(instance, reply(docker_ip)))
    addresses = [one["address"] for one in nic_of(event)["ipAddresses"]]
    assert addresses == ([] if wanted is None else [wanted])
    assert fields_of(event)["primaryIpAddress"] == wanted


def test_a_reported_address_belongs_to_no_subnet():
    """As recorded for Docker's bridge: kind `docker`, no network, no name."""
    event = sample.instance_activate(sample.after(BARE, reply("10.1.2.3")))
    (address,) = nic_of(event)["ipAddresses"]
    assert address["kind"] == "docker"
    assert [address[name] for name in ("name", "networkId", "subnetId", "subnet")] == [None] * 4


@pytest.mark.parametrize(
    ("instance", "wanted"),
    [(CNI, networks.allotted_address(networks.CNI, "uuid-1")), (BARE, "172.17.0.2")],
)
def test_the_server_shows_the_primary_address(run, host, with_client, instance, wanted):
    """By the same rule, from the replies that it gets."""

    async def scenario():
        async with host(replied) as side:
            await side.server.call(sample.instance_activate(instance).event)
            return await with_client(side.server, lambda client: client.instances())

    (shown,) = run(scenario())
    assert (shown["primaryIpAddress"], shown["state"]) == (wanted, "running")
