"""Network modes and what they forbid; DNS search domains; shared memory.

Row numbers (A, B, W) refer to docs/parity.md.
"""

import pytest

from tests.factories import instance_data, link, nic
from tests.unit.worker.create.mapping import body, host_config
from worker.create import Facts, facts_needed
from worker.errors import PayloadError
from worker.payload import instance_of

PORTS = [{"privatePort": 80, "publicPort": 8080, "protocol": "tcp"}]
OTHER = {"uuid": "other"}
OLD = Facts(api_version=(1, 43))
MAC = "02:03:04:05:06:07"


def full(kind, **changes):
    """The body of an instance that wants a host name, a MAC, ports and a link."""
    wishes = {
        "hostname": "web-1",
        "ports": PORTS,
        "instanceLinks": [link()],
        "networkContainer": OTHER,
        "nics": [nic(kind)],
        **changes,
    }
    return body({"publishAllPorts": True}, **wishes)


@pytest.mark.parametrize("kind", [None, "dockerBridge", "hostOnlyNetwork"])
def test_bridge(kind):
    """A 8.1: an unknown or missing kind is Docker's bridge, with all that was wished."""
    made = full(kind, facts=OLD)
    assert made["Hostname"] == "web-1"
    assert made["MacAddress"] == MAC
    assert made["ExposedPorts"] == {"80/tcp": {}}
    assert "NetworkMode" not in made["HostConfig"]
    assert made["HostConfig"]["PublishAllPorts"] is True
    assert made["HostConfig"]["Links"] == ["uuid-of-db:db"]


@pytest.mark.parametrize(
    ("kind", "mode", "hostname", "disabled"),
    [
        pytest.param("dockerHost", "host", None, None, id="A 8.2"),
        pytest.param("dockerNone", "none", "web-1", True, id="A 8.3"),
        pytest.param("dockerContainer", "container:other", None, None, id="A 8.4"),
        pytest.param("cni", "none", "web-1", None, id="B.2"),
    ],
)
def test_modes_without_a_network_of_their_own(kind, mode, hostname, disabled):
    """A 8.2, A 8.3, A 8.4, A 8.8, B.2: no ports, no MAC, no links; host names where they may be."""
    made = full(kind)
    assert made["HostConfig"] == {"NetworkMode": mode, "PublishAllPorts": False}
    assert made.get("Hostname") == hostname
    assert made.get("NetworkDisabled") is disabled
    assert {"ExposedPorts", "MacAddress", "NetworkingConfig"}.isdisjoint(made)


@pytest.mark.parametrize("kind", ["dockerHost", "dockerContainer"])
def test_no_hostname_is_no_error(kind):
    """A 8.5: host and container networks need no host name to leave out."""
    assert "Hostname" not in full(kind, hostname=None)


def test_hostname():
    """A 4.27: the host name is the instance's, null is none."""
    assert body(hostname="web-1")["Hostname"] == "web-1"
    assert "Hostname" not in body(hostname=None)


def test_network_of_another_container_by_id():
    """A 8.4: the other container is named by its Docker id, where it is known."""
    made = full("dockerContainer", facts=Facts(container_ids={"other": "id-of-other"}))
    assert made["HostConfig"]["NetworkMode"] == "container:id-of-other"


@pytest.mark.parametrize("other", [None, {}])
def test_network_of_nobody_is_refused(other):
    """A 8.4: another container's network without the other container is an error."""
    with pytest.raises(PayloadError, match="networkContainer"):
        full("dockerContainer", networkContainer=other)


def test_first_card_decides():
    """A 8.1: the first card in the list decides the mode, whatever its number."""
    nics = [nic("dockerHost", deviceNumber=1), nic("dockerNone", deviceNumber=0)]
    assert host_config(nics=nics) == {"NetworkMode": "host"}


@pytest.mark.parametrize("nics", [None, []])
def test_no_cards(nics):
    """A 8.7: an instance without cards gets Docker's default."""
    assert host_config(nics=nics) == {}


def test_mac_of_the_container_on_old_engines():
    """A 8.6: before API 1.44 the MAC is the container's."""
    made = body(nics=[nic(deviceNumber=1, macAddress="x"), nic(deviceNumber=0)], facts=OLD)
    assert made["MacAddress"] == MAC
    assert "NetworkingConfig" not in made


def test_mac_of_the_endpoint_on_new_engines():
    """A 8.6: from API 1.44 on the MAC is the endpoint's."""
    made = body(nics=[nic()], facts=Facts(api_version=(1, 44)))
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"bridge": {"MacAddress": MAC}}}
    assert made["HostConfig"]["NetworkMode"] == "bridge"
    assert "MacAddress" not in made


def test_null_mac():
    """A 8.6: a card without MAC leaves the choice to the Engine."""
    assert set(body(nics=[nic(macAddress=None)])) == {"Image", "HostConfig", "Labels"}


def made_with(sysctls, api_version, **changes):
    """The kernel settings of the container, the endpoint's option, and the network mode."""
    facts = Facts(api_version=api_version)
    made = body({"sysctls": sysctls}, facts=facts, **changes)
    endpoints = made.get("NetworkingConfig", {}).get("EndpointsConfig", {})
    options = endpoints.get("bridge", {}).get("DriverOpts", {})
    return (
        made["HostConfig"].get("Sysctls", {}),
        options.get("com.docker.network.endpoint.sysctls"),
        made["HostConfig"].get("NetworkMode"),
    )


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("net.ipv4.conf.eth0.rp_filter", "net.ipv4.conf.IFNAME.rp_filter=2"),
        ("net.ipv6.conf.eth0.accept_ra", "net.ipv6.conf.IFNAME.accept_ra=2"),
        ("net.ipv6.neigh.eth0.gc_stale_time", "net.ipv6.neigh.IFNAME.gc_stale_time=2"),
        ("net.mpls.conf.eth0.input", "net.mpls.conf.IFNAME.input=2"),
    ],
)
def test_sysctl_of_the_interface_goes_with_its_endpoint(name, written):
    """W 14: from API 1.46 on it is the endpoint's driver option, before the container's own."""
    assert made_with({name: "2"}, (1, 46)) == ({}, written, "bridge")
    assert made_with({name: "2"}, (1, 52)) == ({}, written, "bridge")
    assert made_with({name: "2"}, (1, 45)) == ({name: "2"}, None, None)


@pytest.mark.parametrize(
    "name",
    [
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.default.rp_filter",
        "net.ipv4.conf.lo.rp_filter",
        "net.ipv4.conf.eth1.rp_filter",
        "net.ipv4.conf.eth01.rp_filter",
        "net.ipv4.ip_forward",
        "net.core.somaxconn",
        "kernel.eth0.x.y",
    ],
)
def test_other_sysctl_stays_the_containers(name):
    """W 14: only the first interface is known by its name; the Engine judges the others."""
    assert made_with({name: "2"}, (1, 52)) == ({name: "2"}, None, None)


def test_sysctls_of_both_kinds_and_a_mac():
    """W 14, A 8.6: several are joined, the rest stays; the MAC is in the same endpoint."""
    sysctls = {
        "net.ipv4.conf.eth0.rp_filter": 2,
        "net.core.somaxconn": 1024,
        "net.ipv6.conf.eth0.accept_ra": "0",
        "net.ipv4.conf.eth0.odd": "1,2",
    }
    facts = Facts(api_version=(1, 46))
    made = body({"sysctls": sysctls}, nics=[nic()], facts=facts)
    written = "net.ipv4.conf.IFNAME.rp_filter=2,net.ipv6.conf.IFNAME.accept_ra=0"
    endpoint = {
        "MacAddress": MAC,
        "DriverOpts": {"com.docker.network.endpoint.sysctls": written},
    }
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"bridge": endpoint}}
    left = {"net.core.somaxconn": "1024", "net.ipv4.conf.eth0.odd": "1,2"}
    assert made["HostConfig"] == {"NetworkMode": "bridge", "Sysctls": left}


@pytest.mark.parametrize("kind", ["dockerHost", "dockerNone", "dockerContainer", "cni"])
def test_sysctl_without_an_endpoint_of_its_own_stays(kind):
    """W 14: the network of others has no endpoint to give it to."""
    sysctls = {"net.ipv4.conf.eth0.rp_filter": "2"}
    made = body(
        {"sysctls": sysctls},
        nics=[nic(kind)],
        networkContainer=OTHER,
        facts=Facts(api_version=(1, 52)),
    )
    assert made["HostConfig"]["Sysctls"] == sysctls
    assert "NetworkingConfig" not in made


RANCHER = ["web.rancher.internal", "rancher.internal"]
DOMAINS = Facts(search_domains=("a.example", "rancher.internal", "b.example"))


def search(domains, **changes):
    """The search domains of an instance."""
    return host_config(
        {"dnsSearch": domains, **changes.pop("fields", {})}, facts=DOMAINS, **changes
    )


def test_host_domains_in_front():
    """A 7.1: the host's domains come before Rancher's, in their order, none twice."""
    assert search(RANCHER) == {"DnsSearch": ["a.example", "b.example", *RANCHER]}


def test_host_domains_only_beside_ranchers():
    """A 7.1, A 4.16: a domain of the user's own keeps the host's out."""
    assert search([*RANCHER, "mine.example"]) == {"DnsSearch": [*RANCHER, "mine.example"]}


@pytest.mark.parametrize("changes", [{"systemContainer": "x"}, {"system": True}])
def test_host_domains_not_for_system_containers(changes):
    """A 7.2: system containers keep what they asked for."""
    assert search(RANCHER, **changes) == {"DnsSearch": RANCHER}


def test_host_domains_not_for_nothing():
    """A 7.2: an empty list stays empty."""
    assert search([]) == {}


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        ("service_last", ["a.example", "b.example", *RANCHER]),
        ("service_first", [*RANCHER, "a.example", "b.example"]),
    ],
)
def test_dns_priority_label(priority, expected):
    """A 7.1, B.2: a label decides which domains are asked first."""
    fields = {"labels": {"io.rancher.container.dns.priority": priority}}
    assert search(RANCHER, fields=fields) == {"DnsSearch": expected}


def test_ipc_of_another_container():
    """B.1: the container whose memory is shared is named by its id."""
    facts = Facts(container_ids={"other": "id-of-other"})
    fields = {"ipcMode": "container:other"}
    assert host_config(fields, facts=facts) == {"IpcMode": "container:id-of-other"}
    assert host_config(fields) == {"IpcMode": "container:other"}


def needed(fields=None, **changes):
    """What an instance needs looked up."""
    return facts_needed(instance_of(instance_data(fields, **changes)))


def test_nothing_is_looked_up_for_nothing():
    """An instance without such wishes costs no look-up at all."""
    need = needed({"dataVolumes": ["/a:/b"], "dnsSearch": ["x.example"]}, networkContainer=OTHER)
    assert (need.containers, need.search_domains, need.default_disk, need.docker_root) == (
        (),
        False,
        False,
        False,
    )


def test_look_ups_by_wish():
    """A 6.11, A 7.1, A 9.2: resolv.conf, the measured disk and Docker's folder, each on demand."""
    assert needed({"dnsSearch": RANCHER}).search_domains
    assert needed({"blkioDeviceOptions": {"DEFAULT_DISK": {}}}).default_disk
    assert needed({"dataVolumes": ["/var/lib/docker/x:/x"]}).docker_root


def test_containers_to_find():
    """A 6.9, A 8.4, A 8.9: containers are looked up where a rule wants them by id, each once."""
    need = needed(
        {"ipcMode": "container:memory"},
        nics=[nic("dockerContainer")],
        networkContainer=OTHER,
        dataVolumesFromContainers=[OTHER, {"externalId": "x"}, {}],
        instanceLinks=[link("db")],
    )
    assert [ref.key for ref in need.containers] == ["memory", "other", "x"]
    assert [ref.key for ref in needed(instanceLinks=[link("db")]).containers] == ["uuid-of-db"]
