"""Read the address of `eth0` in the network namespace of a process, from files of `/proc`.

The files need no privileges, only the pids of the host (`pid: host` for a worker in a container).
Entering the namespace would need CAP_SYS_ADMIN.
"""

import ipaddress
import re
from pathlib import Path

INTERFACE = "eth0"
_PROC = Path("/proc")
_MOST_BYTES = 1 << 20
#: An address in fib_trie, and on the next line whether it is an address of this namespace.
_LOCAL = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")


def address_of(pid: int, container_id: str, *, proc: Path = _PROC) -> str | None:
    """Return the first IPv4 address of eth0; None when there is none, or it cannot be read.

    The process must belong to the container. Without the pids of the host, another process may have
    the number.
    """
    process = proc / str(pid)
    try:
        if container_id not in _text(process / "cgroup"):
            return None
        interfaces = _text(process / "net/dev")
        routes = _text(process / "net/route")
        local = _LOCAL.findall(_text(process / "net/fib_trie"))
    except OSError:
        return None
    if not re.search(rf"^\s*{INTERFACE}:", interfaces, re.MULTILINE):
        return None
    addresses = [
        one for one in dict.fromkeys(map(ipaddress.IPv4Address, local)) if not one.is_loopback
    ]
    networks, others = _networks(routes)
    for one in addresses:
        if any(one in network for network in networks):
            return str(one)
    # An address of its own (/32) has no network; it is eth0's if there is no other interface.
    return str(addresses[0]) if addresses and not others else None


def _networks(routes: str) -> tuple[list[ipaddress.IPv4Network], set[str]]:
    """Return the networks of eth0 (not the default route), and other interfaces with routes."""
    networks: list[ipaddress.IPv4Network] = []
    others: set[str] = set()
    for line in routes.splitlines()[1:]:
        columns = line.split()
        if len(columns) < 8:  # noqa: PLR2004 - the mask is the eighth column
            continue
        destination, mask = (_address(columns[at]) for at in (1, 7))
        if columns[0] != INTERFACE:
            others.add(columns[0])
        elif int(mask):
            networks.append(ipaddress.IPv4Network(f"{destination}/{mask}", strict=False))
    return networks, others


def _address(text: str) -> ipaddress.IPv4Address:
    """Read an address as /proc/net/route has it: hexadecimal, in the machine's byte order."""
    return ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(text)[::-1]))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode(errors="replace")
