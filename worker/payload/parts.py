"""The parts of an instance: NICs, ports, links and other containers."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from worker.payload.base import (
    LISTED,
    MAPPED,
    WHOLE,
    NeededWhole,
    Payload,
    Text,
    Texts,
    Whole,
)

PortNumber = Annotated[NeededWhole, Field(ge=1, le=65535)]
PublicPortNumber = Annotated[Annotated[int, Field(ge=0, le=65535)] | None, WHOLE]


class Subnet(Payload):
    """The subnet of an address."""

    cidr_size: Whole = None


class IpAddress(Payload):
    """One address of a NIC."""

    address: Text | None = None
    role: Text | None = None
    subnet: Subnet = Field(default_factory=Subnet)


class NetworkService(Payload):
    """A service of a network, such as links or IPsec tunnels."""

    kind: Text | None = None


class Network(Payload):
    """A network of cattle; its kind decides Docker's network mode."""

    name: Text | None = None
    kind: Text | None = None
    network_services: Annotated[tuple[NetworkService, ...], LISTED] = ()


class Nic(Payload):
    """One network interface card (NIC)."""

    mac_address: Text | None = None
    device_number: Whole = None
    ip_addresses: Annotated[tuple[IpAddress, ...], LISTED] = ()
    network: Network = Field(default_factory=Network)


class PortFields(Payload):
    """The fields of a port that we use."""

    bind_address: Text | None = None


class PortData(Payload):
    """The data column of a port."""

    fields: PortFields = Field(default_factory=PortFields)


class Port(Payload):
    """A port of the container, published on the host if it has a public port."""

    private_port: PortNumber
    public_port: PublicPortNumber = None
    protocol: Text = "tcp"
    data: PortData = Field(default_factory=PortData)

    @property
    def key(self) -> str:
        """The port as the Engine writes it: `8080/tcp`."""
        return f"{self.private_port}/{self.protocol}"


class TargetConfig(Payload):
    """The part of a linked container's inspect that is copied."""

    env: Texts = Field(default=(), alias="Env")


class TargetInspect(Payload):
    """The inspect of a linked container, as cattle stores it."""

    config: TargetConfig = Field(default_factory=TargetConfig, alias="Config")


class ContainerData(Payload):
    """The data column of another container."""

    docker_inspect: TargetInspect = Field(default_factory=TargetInspect)


class ContainerRef(Payload):
    """A reference to another container."""

    id: Text | None = None
    uuid: Text | None = None
    external_id: Text | None = None
    name: Text | None = None
    data: ContainerData = Field(default_factory=ContainerData)

    @property
    def key(self) -> str | None:
        """Its key in `Facts`: its uuid, else its Docker id, else its name."""
        return self.uuid or self.external_id or self.name

    @property
    def environment(self) -> tuple[str, ...]:
        """Its environment as `KEY=value` lines, as far as cattle knows it."""
        return self.data.docker_inspect.config.env


class LinkPort(Payload):
    """A port of a link's target."""

    private_port: PortNumber
    protocol: Text = "tcp"


class LinkFields(Payload):
    """The fields of a link that we use."""

    ports: Annotated[tuple[LinkPort, ...], LISTED] = ()
    instance_names: Texts = ()


class LinkData(Payload):
    """The data column of a link."""

    fields: LinkFields = Field(default_factory=LinkFields)


class Link(Payload):
    """A link to another container under a name."""

    link_name: Text = Field(min_length=1)
    target_instance_id: Text | None = None
    target_instance: ContainerRef | None = None
    data: LinkData = Field(default_factory=LinkData)


class IpsecPorts(Payload):
    """The public ports for the IPsec tunnel of a network agent."""

    isakmp: PublicPortNumber = None
    nat: PublicPortNumber = None


IpsecByHost = Annotated[Mapping[str, IpsecPorts], MAPPED]
