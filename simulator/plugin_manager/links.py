"""Network links of containers: what the CNI plugins of Rancher make, by iproute2."""

from __future__ import annotations

import ipaddress
import subprocess

from simulator.rig.engine_leftovers import run_ip
from simulator.rig.packages import find_program

INTERFACE = "eth0"


class PlugError(Exception):
    """An interface could not be made."""


def count_links(pid: int) -> int:
    """Return the number of interfaces in the namespace of a process; `lo` is one of them."""
    return len(_in_namespace(pid, "-o link show").splitlines())


def plug(
    pid: int, container_id: str, address: ipaddress.IPv4Interface, mac: str | None
) -> ipaddress.IPv4Address:
    """Give a process eth0 with the address and a default route; return the gateway.

    The other end of the link stays in our namespace, connected to nothing.

    Errors:
        PlugError: the process is gone, or iproute2 refused.
    """
    gateway = gateway_of(address)
    outer = f"cn{container_id[:12]}"
    own_mac = f" address {mac}" if mac else ""
    try:
        peer = f"peer name {INTERFACE}{own_mac} netns {pid}"
        run_ip(*f"link add name {outer} type veth {peer}".split())
        run_ip("link", "set", outer, "up")
    except OSError as error:
        raise PlugError(str(error)) from error
    _in_namespace(
        pid,
        "-batch -",
        f"address add {address} dev {INTERFACE}\n"
        f"link set {INTERFACE} up\n"
        f"route add default via {gateway} dev {INTERFACE}\n",
    )
    return gateway


def gateway_of(address: ipaddress.IPv4Interface) -> ipaddress.IPv4Address:
    """Return the first address of the subnet, or the second for its owner."""
    first = address.network.network_address + 1
    return first if first != address.ip else first + 1


def _in_namespace(pid: int, arguments: str, commands: str = "") -> str:
    done = subprocess.run(  # noqa: S603 -- numbers and names of ours
        [
            find_program("nsenter") or "nsenter",
            f"--net=/proc/{pid}/ns/net",
            find_program("ip") or "ip",
            *arguments.split(),
        ],
        input=commands,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PlugError(f"ip {arguments} in the namespace of {pid}: {done.stderr.strip()}")
    return done.stdout
