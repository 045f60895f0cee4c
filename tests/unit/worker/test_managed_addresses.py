"""The address of a container in a managed network: state files and network namespaces.

Row numbers (B) refer to docs/parity.md.
"""

import json

import pytest

from worker.container import Container
from worker.network.addresses import Found, look_up
from worker.network.namespace import address_of

ID = "0123456789abcdef" * 4
STARTED = "2018-03-01T12:00:00.12345678Z"
RESULT = {"ip4": {"ip": "10.42.17.9/16", "gateway": "10.42.0.1", "routes": []}, "dns": {}}
NOTHING = Found()

DEV = """Inter-|   Receive  |  Transmit
 face |bytes
    lo:       0
  eth0:    1234
"""
ROUTE_HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DEFAULT = "eth0\t00000000\t01002A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
SUBNET = "eth0\t00002A0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
OTHER_SUBNET = "eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"


def trie(*local):
    """A fib_trie with these addresses of the namespace."""
    leaves = "".join(f"     |-- {one}\n        /32 host LOCAL\n" for one in ("127.0.0.1", *local))
    noise = "     |-- 10.42.255.255\n        /32 link BROADCAST\n"
    table = f"  +-- 0.0.0.0/0 3 0 5\n{leaves}{noise}"
    return f"Main:\n{table}Local:\n{table}"


def running(**state):
    """A running container."""
    return Container(
        inspect={"Id": ID, "State": {"Running": True, "Pid": 0, "StartedAt": STARTED, **state}}
    )


@pytest.fixture
def write(tmp_path):
    """Write a state file of the container."""

    def write(content, name=STARTED):
        folder = tmp_path / ID
        folder.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)

    return write


def test_address_of_the_state_file(tmp_path, write):
    """B.2: without its prefix length, as Docker reports addresses."""
    write(RESULT)
    assert look_up(running(), tmp_path) == Found(address="10.42.17.9")


def test_keys_have_any_case(tmp_path, write):
    """B.2: Go reads keys so, and other plugins write them so."""
    write({"IP4": {"Ip": "10.42.17.9/16"}})
    assert look_up(running(), tmp_path) == Found(address="10.42.17.9")


def test_error_of_the_state_file(tmp_path, write):
    """B.2: the words of CNI."""
    write({"Error": "Couldn't bring up network: no configuration"})
    found = look_up(running(), tmp_path)
    assert found == Found(problem="Couldn't bring up network: no configuration")


def test_address_that_is_none(tmp_path, write):
    """B.2: a result that cannot be read is a failure, not a wait without end."""
    write({"ip4": {"ip": "10.42.17.999/16"}})
    assert "10.42.17.999/16" in look_up(running(), tmp_path).problem


@pytest.mark.parametrize(
    "name",
    [
        "2018-03-01T12:00:00.123456780Z",
        "2018-03-01T11:00:00.12345678Z",
        f"{STARTED}-12345",
    ],
)
def test_only_the_file_of_this_start_counts(tmp_path, write, name):
    """B.2: files of earlier starts and unfinished files are not read."""
    write(RESULT, name)
    assert look_up(running(), tmp_path) == NOTHING


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '"text"', "{}", '{"ip4": null}', '{"ip6": {"ip": "::1/8"}}']
)
def test_unreadable_file_is_no_answer(tmp_path, write, content):
    """B.2: the namespace is asked then."""
    write(content)
    assert look_up(running(), tmp_path) == NOTHING


def test_container_is_no_path(tmp_path):
    """B.2: neither the id nor the start leads out of the folder."""
    assert look_up(running(StartedAt="../../etc/passwd"), tmp_path) == NOTHING
    assert look_up(running(StartedAt=""), tmp_path) == NOTHING


@pytest.fixture
def process(tmp_path):
    """A process in a /proc of the test's own; its address."""

    def make(*, routes=DEFAULT + SUBNET, local=("10.42.17.9",), dev=DEV, cgroup=f"0::/docker/{ID}"):
        folder = tmp_path / "77" / "net"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "77/cgroup").write_text(f"{cgroup}\n")
        (folder / "dev").write_text(dev)
        (folder / "route").write_text(ROUTE_HEAD + routes)
        (folder / "fib_trie").write_text(trie(*local))
        return address_of(77, ID, proc=tmp_path)

    return make


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/docker/{ID}",
        f"0::/system.slice/docker-{ID}.scope",
        f"0::/../{ID}",
        f"4:memory:/x/{ID}",
    ],
)
def test_address_of_eth0(process, cgroup):
    """B.2: read from /proc of any process of the container, whatever the cgroup driver."""
    assert process(cgroup=cgroup) == "10.42.17.9"


def test_other_process_with_the_number(process):
    """B.2: a worker without the pids of the host must not report its own address."""
    assert process(cgroup="0::/docker/another") is None


def test_no_interface(process):
    """B.2: CNI has not connected the container yet."""
    assert process(dev="    lo: 0\n", routes="", local=()) is None
    assert process(routes="", local=()) is None


def test_other_interfaces_do_not_count(process):
    """B.2: only eth0 has the address in the managed network."""
    routes = OTHER_SUBNET + DEFAULT + SUBNET
    assert process(routes=routes, local=("192.168.0.5", "10.42.17.9")) == "10.42.17.9"
    assert process(routes=OTHER_SUBNET, local=("192.168.0.5",)) is None


def test_address_without_a_network(process):
    """B.2: plugins that route each address alone give it a prefix of 32 bits."""
    assert process(routes=DEFAULT, local=("10.42.17.9",)) == "10.42.17.9"


def test_process_that_is_gone(tmp_path):
    """B.2: the container ended between inspect and look-up."""
    assert address_of(78, ID, proc=tmp_path) is None
