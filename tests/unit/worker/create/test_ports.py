"""Ports: which are published, on which address of the host, and which are refused.

Row numbers (A, W) refer to docs/parity.md.
"""

import pytest

from tests.factories import nic
from tests.unit.worker.create.mapping import body, host_config
from worker.errors import PayloadError


def port(private, public=None, protocol="tcp", address=None):
    """A port in cattle's shape."""
    fields = {"fields": {"bindAddress": address}} if address else {}
    return {"privatePort": private, "publicPort": public, "protocol": protocol, "data": fields}


def test_every_port_is_exposed():
    """A 6.1: a port is exposed with its protocol, which is tcp when not said."""
    made = body(ports=[port(80), port("53", protocol="udp"), {"privatePort": 1}])
    assert made["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}, "1/tcp": {}}


def test_only_public_ports_are_bound():
    """A 6.2: a port without public port is not published, not even on a random one."""
    assert host_config(ports=[port(80)]) == {}
    bindings = host_config(ports=[port(80, 8080)])["PortBindings"]
    assert bindings == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}


def test_bind_address():
    """A 6.3: a port may be published on one address only."""
    bindings = host_config(ports=[port(80, "8080", address="127.0.0.1")])["PortBindings"]
    assert bindings == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}


def test_many_public_ports():
    """A 6.4: one private port may be published many times."""
    bindings = host_config(ports=[port(80, 8080), port(80, 9090)])["PortBindings"]
    assert [bound["HostPort"] for bound in bindings["80/tcp"]] == ["8080", "9090"]


@pytest.mark.parametrize("broken", [{}, {"privatePort": "x"}, {"privatePort": 70000}, "80:80"])
def test_broken_ports_are_refused(broken):
    """A 6.5: one broken port is an error, not a shorter list."""
    with pytest.raises(PayloadError, match=r"ports\.1"):
        body(ports=[port(80), broken])


IPSEC = {
    "agentId": 91,
    "nics": [nic(network={"networkServices": [{"kind": "ipsecTunnelService"}]})],
    "data": {"fields": {}, "ipsec": {"5": {"isakmp": 10500, "nat": "14500"}}},
}


@pytest.mark.parametrize("system", [None, "NetworkAgent"])
def test_ipsec(system):
    """A 8.16: a network agent publishes its tunnel where cattle chose."""
    made = body(**IPSEC, systemContainer=system)
    assert made["ExposedPorts"] == {"500/udp": {}, "4500/udp": {}}
    assert made["HostConfig"]["PortBindings"] == {
        "500/udp": [{"HostIp": "0.0.0.0", "HostPort": "10500"}],
        "4500/udp": [{"HostIp": "0.0.0.0", "HostPort": "14500"}],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"agentId": None},
        {"systemContainer": "LoadBalancerAgent"},
        {"nics": [nic()]},
        {"host": {"id": 6}},
    ],
)
def test_no_ipsec_for_others(changes):
    """A 8.16: other agents, networks and hosts publish no tunnel."""
    assert "ExposedPorts" not in body(**{**IPSEC, **changes})


def bound(*wanted):
    """The addresses and public ports on which the host publishes, by the container's port."""
    bindings = host_config(ports=list(wanted)).get("PortBindings", {})
    return {key: [(one["HostIp"], one["HostPort"]) for one in bindings[key]] for key in bindings}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        (" 127.0.0.1\n", "127.0.0.1"),
        ("[127.0.0.1]", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        (" [ ::1 ] ", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("FE80::1", "fe80::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("::", "::"),
        ("[::]", "::"),
        ("::ffff:0.0.0.0", "0.0.0.0"),
        ("", ""),
        ("  ", ""),
        (None, ""),
    ],
)
def test_bind_address_is_sent_as_an_address(text, address):
    """W 16: brackets and blanks are removed; only empty text is left to the Engine."""
    assert bound(port(80, 18085, address=text)) == {"80/tcp": [(address, "18085")]}


@pytest.mark.parametrize(
    "text",
    [
        "11127.0.0.1",
        "localhost",
        "eth0",
        "127.0.0.1/8",
        "127.0.0.1/32",
        "127.0.0.01",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1,127.0.0.2",
        "127.0. 0.1",
        "*",
        "[::1",
        "::1]",
        "[[::1]]",
        "[]",
        "[::1]:80",
        "::1%lo",
        "fe80::1%eth0",
        "::ffff:127.0.0.1%lo",
        ":::",
        5,
        True,
    ],
)
def test_other_bind_address_is_refused_by_name(text):
    """W 16: the Engine would bind to all addresses; the error names the port and the text."""
    with pytest.raises(PayloadError) as caught:
        body(ports=[port(80, 18085, address=text)])
    shown = str(text).lower() if text is True else str(text)
    assert "bindAddress" in caught.value.message
    assert f"'{shown}'" in caught.value.message
    assert "18085:80/tcp" in caught.value.message


def test_long_bind_address_is_cut_in_the_error():
    """W 16: a text of any length gives a short error."""
    with pytest.raises(PayloadError) as caught:
        body(ports=[port(80, 18085, address="x" * 10_000)])
    assert len(caught.value.message) < 300


def test_bind_address_of_an_unpublished_port_is_not_read():
    """W 16: a port that is only exposed is bound nowhere."""
    assert body(ports=[port(80, address="eth0")])["ExposedPorts"] == {"80/tcp": {}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (port(80, 8080), port(80, 8080)),
        (port(80, 8080), port("80", "8080", address=" ")),
        (port(80, 8080, address="::1"), port(80, 8080, address="[::1]")),
        (port(80, 8080, address="127.0.0.1"), port(80, 8080, address="::ffff:127.0.0.1")),
    ],
)
def test_repeated_port_is_published_once(one, other):
    """W 24: a real cattle repeats a port after the first start, and the Engine would refuse it."""
    assert len(bound(one, other)["80/tcp"]) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (port(80, 8080), port(80, 8081)),
        (port(80, 8080), port(80, 8080, "udp")),
        (port(80, 8080, address="127.0.0.1"), port(80, 8080, address="127.0.0.2")),
        (port(80, 8080, address="0.0.0.0"), port(80, 8080, address="::")),
        (port(80, 8080, address="127.0.0.1"), port(81, 8080, address="::1")),
        (port(80, 0), port(80, 0)),
        (port(80, 0), port(81, 0)),
    ],
)
def test_ports_beside_each_other_are_both_published(one, other):
    """W 24: another number, protocol or address is another port; 0 is any free one."""
    assert sum(len(bindings) for bindings in bound(one, other).values()) == 2


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        (port(80, 8080), port(81, 8080), ("8080:80/tcp", "8080:81/tcp")),
        (port(53, 53, "udp"), port(54, 53, "udp"), ("53:53/udp", "53:54/udp")),
        (
            port(80, 8080),
            port(80, 8080, address="127.0.0.1"),
            ("8080:80/tcp", "127.0.0.1:8080:80/tcp"),
        ),
        (
            port(80, 8080, address="0.0.0.0"),
            port(80, 8080, address="10.0.0.1"),
            ("0.0.0.0:8080:80/tcp", "10.0.0.1:8080:80/tcp"),
        ),
        (
            port(80, 8080, address="::1"),
            port(81, 8080, address="::"),
            ("[::1]:8080:80/tcp", "[::]:8080:81/tcp"),
        ),
        (port(80, 8080), port(80, 8080, address="::"), ("8080:80/tcp", "[::]:8080:80/tcp")),
    ],
)
def test_two_ports_on_one_port_of_the_host_are_refused_by_name(one, other, names):
    """W 24: the Engine would say that the port is taken, and not that the container takes it."""
    for pair in ((one, other), (other, one)):
        with pytest.raises(PayloadError, match="this container also publishes") as caught:
            body(ports=list(pair))
        assert all(name in caught.value.message for name in names)


def test_a_users_port_on_the_tunnels_port_is_refused():
    """W 24, A 8.16: the ports of a network agent's tunnel count too."""
    with pytest.raises(PayloadError, match="10500:500/udp"):
        body(**IPSEC, ports=[port(1, 10500, "udp")])


def test_many_ports_are_read_in_one_pass():
    """W 24: 20,000 ports are no reason to wait."""
    wanted = [port(number % 65535 + 1, number % 50000 + 1) for number in range(20_000)]
    assert len(bound(*wanted, *wanted)) == 20_000
