"""Networks of an environment, and the network card of an instance in one of them.

With subnets cattle allots the address before the start and keeps it, whatever the agent reports.
Without subnets (per-host-subnet, l2-flat) the card has no address until the reply's `dockerIp`
gives one, and no other source exists.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

Row = dict[str, Any]

CREATED_MS = 1_795_726_330_000
FIRST_HOST = 2
ENDS_BEFORE = 5
"""cattle allots from the second address to the fifth last: 10.42.0.2 to 10.42.255.250."""
DNS = {"dns": ["169.254.169.250"], "dnsSearch": ["rancher.internal"]}
CNI_CONFIG = {
    "10-rancher.conf": {
        "name": "rancher-cni-network",
        "type": "rancher-bridge",
        "bridge": "docker0",
    }
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One network; `mode` is the networkMode that a user asks for to get it."""

    id: int
    kind: str
    name: str | None
    mode: str
    mac_prefix: str
    subnet: IPv4Network | None = None
    fields: dict[str, Any] = field(default_factory=dict, hash=False)
    driver_id: int | None = None

    @property
    def is_managed(self) -> bool:
        """Whether cattle gives the instances dns and, with a subnet, an address."""
        return self.mode == "managed"


BRIDGE = Network(
    id=8,
    kind="dockerBridge",
    name="Docker Bridge Network Mode",
    mode="bridge",
    mac_prefix="02:6f:ca",
)
CNI = Network(
    id=11,
    kind="cni",
    name="ipsec",
    mode="managed",
    mac_prefix="02:97:d9",
    subnet=IPv4Network("10.43.0.0/16"),
    fields={
        **DNS,
        "subnets": [{"networkAddress": "10.43.0.0/16", "cidrSize": 24}],
        "hostPorts": True,
        "defaultPolicyAction": "allow",
        "metadata": {"cniConfig": CNI_CONFIG},
    },
    driver_id=3,
)
PER_HOST_SUBNET = Network(
    id=12,
    kind="cni",
    name="per-host-subnet",
    mode="managed",
    mac_prefix="02:97:da",
    fields={
        **DNS,
        "hostPorts": True,
        "defaultPolicyAction": "allow",
        "metadata": {"cniConfig": CNI_CONFIG},
    },
    driver_id=4,
)


def network_row(network: Network) -> Row:
    """Return a network's row."""
    return {
        **dict.fromkeys(("description", "domain", "removeTime", "removed")),
        "id": network.id,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"network/{network.id}")),
        "name": network.name,
        "type": "network",
        "kind": network.kind,
        "state": "active",
        "accountId": 5,
        "isPublic": False,
        "networkDriverId": network.driver_id,
        "created": CREATED_MS,
        "data": {"fields": {**network.fields, "macPrefix": network.mac_prefix}},
    }


def mac_address(network: Network, instance_uuid: str) -> str:
    """Return the mac that cattle allots to an instance."""
    digest = hashlib.sha256(instance_uuid.encode()).hexdigest()
    return f"{network.mac_prefix}:{digest[:2]}:{digest[2:4]}:{digest[4:6]}"


def allotted_address(network: Network, instance_uuid: str) -> str | None:
    """Return the address that cattle allots to an instance; None in a network without subnets."""
    if network.subnet is None:
        return None
    free = network.subnet.num_addresses - FIRST_HOST - ENDS_BEFORE
    number = int(hashlib.sha256(instance_uuid.encode()).hexdigest(), 16)
    return str(network.subnet[FIRST_HOST + number % free])


def primary_address(network: Network, instance_uuid: str, docker_ip: str | None) -> str | None:
    """Return an instance's address: the allotted one, else the `dockerIp` of its last reply."""
    return allotted_address(network, instance_uuid) or docker_ip or None


def nic_row(
    network: Network, instance_id: int, instance_uuid: str, *, docker_ip: str | None = None
) -> Row:
    """Return the network card of an instance whose replies reported `docker_ip`."""
    primary = primary_address(network, instance_uuid, docker_ip)
    addresses = []
    if primary is not None:
        addresses = [_address_row(network, instance_id, instance_uuid, primary)]
    return {
        **dict.fromkeys(("description", "name", "removeTime", "removed")),
        "id": instance_id,
        "uuid": _uuid("nic", instance_uuid),
        "type": "nic",
        "kind": "nic",
        "state": "active",
        "deviceNumber": 0,
        "accountId": 5,
        "instanceId": instance_id,
        "networkId": network.id,
        "macAddress": mac_address(network, instance_uuid),
        "created": CREATED_MS,
        "data": {},
        "ipAddresses": addresses,
        "network": network_row(network),
    }


def _address_row(network: Network, instance_id: int, instance_uuid: str, primary: str) -> Row:
    """Return an address; one that a reply reported belongs to no network and no subnet."""
    is_allotted = network.subnet is not None
    return {
        **dict.fromkeys(("description", "hostname", "removeTime", "removed")),
        "id": instance_id,
        "uuid": _uuid("ipAddress", instance_uuid),
        "name": primary if is_allotted else None,
        "address": primary,
        "type": "ipAddress",
        "kind": "ipAddress" if is_allotted else "docker",
        "role": "primary",
        "state": "active",
        "accountId": 5,
        "isPublic": False,
        "networkId": network.id if is_allotted else None,
        "subnetId": 1 if is_allotted else None,
        "created": CREATED_MS,
        "data": {},
        "subnet": _subnet_row(network) if is_allotted else None,
    }


def _subnet_row(network: Network) -> Row:
    assert network.subnet is not None
    first, last = network.subnet[FIRST_HOST], network.subnet[-1 - ENDS_BEFORE]
    return {
        **dict.fromkeys(("description", "name", "removeTime", "removed")),
        "id": 1,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"subnet/{network.id}")),
        "type": "subnet",
        "kind": "subnet",
        "state": "active",
        "accountId": 5,
        "isPublic": False,
        "networkId": network.id,
        "networkAddress": str(network.subnet.network_address),
        "cidrSize": network.subnet.prefixlen,
        "gateway": str(network.subnet[1]),
        "startAddress": str(first),
        "endAddress": str(last),
        "created": CREATED_MS,
        "data": {"subnetIndex": 0},
    }


def _uuid(table: str, instance_uuid: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{table}/{instance_uuid}"))
