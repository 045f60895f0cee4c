"""Fields as users write them, on a real Engine of any version.

Row numbers (A, W) refer to docs/parity.md.
"""

import socket

import pytest

from worker.errors import PayloadError

ACTIVATE = "compute.instance.activate"


@pytest.fixture
def free_port():
    """A TCP port that is free on all addresses of this machine."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        return server.getsockname()[1]


def port(private, public, address=None):
    """A port in cattle's shape."""
    fields = {"fields": {"bindAddress": address}}
    return {"privatePort": private, "publicPort": public, "protocol": "tcp", "data": fields}


def told_of(reply):
    """The inspect that cattle is sent."""
    return reply["instanceHostMap"]["instance"]["+data"]["dockerInspect"]


@pytest.mark.parametrize(
    ("text", "address"), [("[::1]", "::1"), (" 127.0.0.1", "127.0.0.1"), ("::ffff:127.0.0.1", None)]
)
def test_port_is_bound_to_its_address_only(host, new_instance, free_port, text, address):
    """W 16: brackets, blanks and IPv4 in IPv6 form; never all addresses."""
    reply = host.run(ACTIVATE, new_instance(ports=[port(80, free_port, text)]))
    bound = told_of(reply)["NetworkSettings"]["Ports"]["80/tcp"]
    assert bound == [{"HostIp": address or "127.0.0.1", "HostPort": str(free_port)}]


@pytest.mark.parametrize("text", ["11127.0.0.1", "localhost", "[::1", "::1%lo"])
def test_port_bound_to_no_address_makes_no_container(host, new_instance, containers_of, text):
    """W 16: the Engine would bind all of these to all addresses or refuse them late."""
    data = new_instance(ports=[port(80, 18085, text)])
    with pytest.raises(PayloadError, match="bindAddress"):
        host.run(ACTIVATE, data)
    assert containers_of(data) == []


def test_container_with_a_repeated_port_starts(host, new_instance, free_port):
    """W 24: cattle repeats a port after the first start; a real Engine refuses to bind it twice."""
    reply = host.run(ACTIVATE, new_instance(ports=[port(80, free_port), port(80, free_port)]))
    bound = told_of(reply)["NetworkSettings"]["Ports"]["80/tcp"]
    assert {one["HostPort"] for one in bound} == {str(free_port)}


def test_both_families_share_a_port_number(host, new_instance, free_port):
    """W 24: one number on all IPv4 and all IPv6 addresses is two ports for the Engine too."""
    wanted = [port(80, free_port, "0.0.0.0"), port(80, free_port, "::")]
    bound = told_of(host.run(ACTIVATE, new_instance(ports=wanted)))["NetworkSettings"]["Ports"]
    assert {one["HostIp"] for one in bound["80/tcp"]} == {"0.0.0.0", "::"}


@pytest.mark.parametrize(
    ("log", "driver"),
    [
        ({"driver": "none"}, "none"),
        ({"driver": "local", "config": None}, "local"),
        ({"driver": "json-file", "config": {"max-size": "1m"}}, "json-file"),
    ],
)
def test_log_driver_is_the_one_asked_for(host, new_instance, log, driver):
    """W 24: with options and without."""
    config = told_of(host.run(ACTIVATE, new_instance({"logConfig": log})))["HostConfig"][
        "LogConfig"
    ]
    assert config == {"Type": driver, "Config": log.get("config") or {}}


def test_log_options_are_for_the_default_driver(host, new_instance, docker_client):
    """A 4.20, W 24: options without a driver are not lost."""
    log = {"config": {"max-size": "1m"}}
    config = told_of(host.run(ACTIVATE, new_instance({"logConfig": log})))["HostConfig"][
        "LogConfig"
    ]
    assert config["Config"]["max-size"] == "1m"
    assert config["Type"] == docker_client.info()["LoggingDriver"]


def test_capabilities_in_any_form_come_back_in_cattles(host, new_instance):
    """W 13: whatever form this Engine reports them in."""
    fields = {"capAdd": ["cap_sys_time", "SYS_NICE"], "capDrop": ["CAP_MKNOD", "mknod", "Chown"]}
    told = told_of(host.run(ACTIVATE, new_instance(fields)))["HostConfig"]
    assert sorted(told["CapAdd"]) == ["SYS_NICE", "SYS_TIME"]
    assert sorted(told["CapDrop"]) == ["CHOWN", "MKNOD"]


def test_reply_has_the_old_address_keys(host, new_instance):
    """W 12: filled by older Engines themselves."""
    settings = told_of(host.run(ACTIVATE, new_instance()))["NetworkSettings"]
    endpoint = settings["Networks"]["bridge"]
    for key in ("IPAddress", "IPPrefixLen", "Gateway", "MacAddress", "EndpointID"):
        assert settings[key] == endpoint[key] != ""


def test_sysctl_of_the_interface_is_set(host, new_instance, docker_client):
    """W 14: among the container's own on old Engines, with the endpoint on new ones."""
    fields = {"sysctls": {"net.ipv4.conf.eth0.log_martians": 1, "net.core.somaxconn": 1000}}
    container_id = told_of(host.run(ACTIVATE, new_instance(fields)))["Id"]
    names = ("net/ipv4/conf/eth0/log_martians", "net/core/somaxconn")
    files = [f"/proc/sys/{name}" for name in names]
    made = docker_client.exec_create(container_id, ["cat", *files])
    assert docker_client.exec_start(made["Id"]).split() == [b"1", b"1000"]


def test_system_container_has_the_hosts_proxies(make_host, new_instance):
    """W 22, A 7.4: six spellings in the container's environment, also over its own."""
    host = make_host(HTTP_PROXY="http://proxy:3128", no_proxy="localhost,.example")
    fields = {"environment": {"no_proxy": "mine", "NO_PROXY": "mine", "OWN": "kept"}}
    lines = told_of(host.run(ACTIVATE, new_instance(fields, system=True)))["Config"]["Env"]
    assert {
        "http_proxy=http://proxy:3128",
        "HTTP_PROXY=http://proxy:3128",
        "no_proxy=localhost,.example",
        "NO_PROXY=localhost,.example",
        "OWN=kept",
    } <= set(lines)
    assert not [line for line in lines if line.endswith("=mine")]
    users = told_of(host.run(ACTIVATE, new_instance(fields)))["Config"]["Env"]
    assert "no_proxy=mine" in users
    assert not [line for line in users if line.lower().startswith("http")]


def test_port_without_an_address_is_bound_to_all(host, new_instance, free_port):
    """W 16: empty text is the Engine's default, as it always was."""
    reply = host.run(ACTIVATE, new_instance(ports=[port(80, free_port, "")]))
    bound = told_of(reply)["NetworkSettings"]["Ports"]["80/tcp"]
    assert "0.0.0.0" in {one["HostIp"] for one in bound}
