"""The ports that the container exposes and the host publishes.

Row numbers (A) refer to docs/parity.md.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.create.addresses import IpAddress, bind_address, overlap
from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.create.network import network_mode
from worker.errors import PayloadError
from worker.payload import Instance, Port

Bindings = dict[str, list[dict[str, str]]]

ANY_IPV4 = ipaddress.IPv4Address("0.0.0.0")  # noqa: S104 - tunnels come from anywhere
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class _Published:
    """One port of the container on one address of the host; port 0 means any free port."""

    key: str
    address: IpAddress | None
    public_port: int

    def __str__(self) -> str:
        if self.address is None:
            return f"{self.public_port}:{self.key}"
        is_ipv4 = isinstance(self.address, ipaddress.IPv4Address)
        shown = str(self.address) if is_ipv4 else f"[{self.address}]"
        return f"{shown}:{self.public_port}:{self.key}"


def ports(instance: Instance, facts: Facts) -> Fragment:
    """Expose every port, and publish those with a public port on the host.

    Shape:  ExposedPorts, HostConfig.PortBindings, HostConfig.PublishAllPorts.
    Errors: `PayloadError` for a bind address that is no IP address, and for a public port that two
        ports of the container use; an unreadable port was refused with the payload (A 6.5).
    Source: A 4.18, 6.1 to 6.4, 8.8, 8.16. Without an own network nothing is published.
    """
    publish_all = instance.fields.publish_all_ports
    if not network_mode(instance, facts).has_endpoint:
        return Fragment(
            host_config=given({"PublishAllPorts": None if publish_all is None else False})
        )
    ipsec = _ipsec(instance)
    published = _without_repetitions([*_published(instance.ports), *ipsec])
    keys = [*(port.key for port in instance.ports), *(port.key for port in ipsec)]
    bindings: Bindings = {}
    for port in published:
        address = "" if port.address is None else str(port.address)
        bound = {"HostIp": address, "HostPort": str(port.public_port)}
        bindings.setdefault(port.key, []).append(bound)
    return Fragment(
        config=given({"ExposedPorts": {key: {} for key in keys}}),
        host_config=given({"PortBindings": bindings, "PublishAllPorts": publish_all}),
    )


def _published(wanted: Iterable[Port]) -> list[_Published]:
    return [
        _Published(port.key, _address(port), port.public_port)
        for port in wanted
        if port.public_port is not None
    ]


def _address(port: Port) -> IpAddress | None:
    text = port.data.fields.bind_address or ""
    try:
        return bind_address(text)
    except ValueError:
        shown = repr(text[:_SHOWN_CHARACTERS])
    raise PayloadError(
        f"cannot publish port {port.public_port}:{port.key}: its bindAddress {shown} is no IP "
        "address; give one such as 127.0.0.1 or ::1, or leave it empty for all addresses"
    )


def _without_repetitions(wanted: Sequence[_Published]) -> list[_Published]:
    """Return each port once, in order.

    cattle repeats ports that it read from a reply. The Engine refuses to start a container with a
    repeated port, with a misleading message.

    Errors: `PayloadError` that names both ports when they differ and cannot both be bound.
    """
    once: list[_Published] = []
    by_number: dict[tuple[str, int], list[_Published]] = {}
    for port in wanted:
        same = by_number.setdefault((_protocol(port.key), port.public_port), [])
        # Port 0 means any free port, so two of them do not conflict.
        if port.public_port != 0:
            if port in same:
                continue
            _refuse_overlap(port, same)
        same.append(port)
        once.append(port)
    return once


def _refuse_overlap(port: _Published, others: Iterable[_Published]) -> None:
    for other in others:
        if overlap(port.address, other.address):
            raise PayloadError(
                f"cannot publish port {port}: this container also publishes {other} on port "
                f"{port.public_port}/{_protocol(port.key)} of the host; give each a public port "
                "or an address of its own"
            )


def _protocol(key: str) -> str:
    return key.rpartition("/")[2].lower()


def _ipsec(instance: Instance) -> list[_Published]:
    """Return the IPsec ports of a network agent, on the public ports that cattle chose.

    Source: A 8.16.
    """
    is_network_agent = instance.agent_id and instance.system_container in (None, "NetworkAgent")
    if not is_network_agent or "ipsecTunnelService" not in instance.network_services:
        return []
    chosen = instance.data.ipsec.get(instance.host.id or "")
    if chosen is None:
        return []
    numbers = {"500/udp": chosen.isakmp, "4500/udp": chosen.nat}
    return [
        _Published(key, ANY_IPV4, number) for key, number in numbers.items() if number is not None
    ]
