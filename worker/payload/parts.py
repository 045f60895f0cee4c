"""The parts of an instance: its network cards, its ports, its links, other containers."""

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
    """The network that an address is in."""

    cidr_size: Whole = None


class IpAddress(Payload):
    """One address of a network card."""

    address: Text | None = None
    role: Text | None = None
    subnet: Subnet = Field(default_factory=Subnet)


class NetworkService(Payload):
    """Something that cattle's network does for its containers."""

    kind: Text | None = None


class Network(Payload):
    """A network of cattle's; its kind decides Docker's network mode."""

    name: Text | None = None
    kind: Text | None = None
    network_services: Annotated[tuple[NetworkService, ...], LISTED] = ()


class Nic(Payload):
    """One network card."""

    mac_address: Text | None = None
    device_number: Whole = None
    ip_addresses: Annotated[tuple[IpAddress, ...], LISTED] = ()
    network: Network = Field(default_factory=Network)


class PortFields(Payload):
    """The part of a port's fields that we use."""

    bind_address: Text | None = None


class PortData(Payload):
    """A port's own data column."""

    fields: PortFields = Field(default_factory=PortFields)


class Port(Payload):
    """A port of the container, published on the host where it has a public port."""

    private_port: PortNumber
    public_port: PublicPortNumber = None
    protocol: Text = "tcp"
    data: PortData = Field(default_factory=PortData)

    @property
    def key(self) -> str:
        """The port as the Engine writes it: `8080/tcp`."""
        return f"{self.private_port}/{self.protocol}"


class TargetConfig(Payload):
    """The part of another container's `inspect` that a link copies."""

    env: Texts = Field(default=(), alias="Env")


class TargetInspect(Payload):
    """Another container's `inspect`, as cattle keeps it."""

    config: TargetConfig = Field(default_factory=TargetConfig, alias="Config")


class ContainerData(Payload):
    """Another container's own data column."""

    docker_inspect: TargetInspect = Field(default_factory=TargetInspect)


class ContainerRef(Payload):
    """Another container that cattle mentions."""

    id: Text | None = None
    uuid: Text | None = None
    external_id: Text | None = None
    name: Text | None = None
    data: ContainerData = Field(default_factory=ContainerData)

    @property
    def key(self) -> str | None:
        """What facts call it: its uuid, else its Docker id, else its name."""
        return self.uuid or self.external_id or self.name

    @property
    def environment(self) -> tuple[str, ...]:
        """Its `KEY=value` lines, as far as cattle knows them."""
        return self.data.docker_inspect.config.env


class LinkPort(Payload):
    """A port that a link leads to."""

    private_port: PortNumber
    protocol: Text = "tcp"


class LinkFields(Payload):
    """The part of a link's fields that we use."""

    ports: Annotated[tuple[LinkPort, ...], LISTED] = ()
    instance_names: Texts = ()


class LinkData(Payload):
    """A link's own data column."""

    fields: LinkFields = Field(default_factory=LinkFields)


class Link(Payload):
    """Another container, by the name under which this one wants to see it."""

    link_name: Text = Field(min_length=1)
    target_instance_id: Text | None = None
    target_instance: ContainerRef | None = None
    data: LinkData = Field(default_factory=LinkData)


class IpsecPorts(Payload):
    """The host's ports for the tunnel of a network agent."""

    isakmp: PublicPortNumber = None
    nat: PublicPortNumber = None


IpsecByHost = Annotated[Mapping[str, IpsecPorts], MAPPED]
