"""An instance: the container that an event is about, with the host and the process around it."""

from typing import Annotated, TypeVar

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from worker.image_reference import ImageReference
from worker.payload.base import (
    LISTED,
    Flag,
    OptionalTextMap,
    Payload,
    Text,
    Whole,
    member,
    only_docker,
    parse,
)
from worker.payload.fields import InstanceFields
from worker.payload.host import Host, Process
from worker.payload.image import Image
from worker.payload.image_names import named_at
from worker.payload.parts import ContainerRef, IpsecByHost, Link, Network, Nic, Port
from worker.payload.volume import Volume


class InstanceData(Payload):
    """The instance's own data column."""

    fields: InstanceFields = Field(default_factory=InstanceFields)
    ipsec: IpsecByHost = Field(default_factory=dict)


def _if_readable(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        return ()


class KnownInstance(Payload):
    """A container that may be there already: what finding, stopping and reporting it needs.

    What only a create needs is not read: a container that another agent once made of odder wishes
    must still be stopped and removed.
    """

    uuid: Text = Field(min_length=1)
    #: The Docker id, once cattle has heard of it.
    external_id: Text | None = None
    #: The user made it with Docker, cattle only watches it.
    native_container: Flag = None
    #: For the address that is reported.
    nics: Annotated[tuple[Nic, ...], LISTED, WrapValidator(_if_readable)] = ()
    host: Host = Field(default_factory=Host)
    process: Process = Field(default_factory=Process, alias="processData")

    @property
    def is_native(self) -> bool:
        """The user made the container with Docker."""
        return self.native_container is True

    @property
    def primary_network(self) -> Network:
        """The network of the first card; a network of no kind when there is none (A 8.1)."""
        return self.nics[0].network if self.nics else Network()

    @property
    def primary_address(self) -> str | None:
        """The primary address of the first card with its network's size: `10.42.1.2/16` (A 5.3)."""
        for address in self.nics[0].ip_addresses if self.nics else ():
            if (
                address.role == "primary"
                and address.address
                and address.subnet.cidr_size is not None
            ):
                return f"{address.address}/{address.subnet.cidr_size}"
        return None


class Instance(KnownInstance):
    """The container that cattle wants, as far as cattle knows it."""

    id: Text | None = None
    name: Text | None = None
    kind: Text | None = None
    hostname: Text | None = None
    agent_id: Text | None = None
    #: What it does for cattle; None for a user's container.
    system_container: Text | None = None
    #: The same in newer servers.
    system: Flag = None
    #: Thousandths of a processor.
    milli_cpu_reservation: Whole = None
    #: Bytes.
    memory_reservation: Whole = None
    image: Image | None = None
    data: InstanceData = Field(default_factory=InstanceData)
    nics: Annotated[tuple[Nic, ...], LISTED] = ()
    ports: Annotated[tuple[Port, ...], LISTED] = ()
    volumes: Annotated[tuple[Volume, ...], LISTED] = ()
    instance_links: Annotated[tuple[Link, ...], LISTED] = ()
    network_container: ContainerRef | None = None
    data_volumes_from_containers: Annotated[tuple[ContainerRef, ...], LISTED] = ()
    #: Volumes that must exist before the container (A 6.10).
    volumes_from_data_volume_mounts: Annotated[tuple[Volume, ...], LISTED] = ()
    labels: OptionalTextMap = Field(default_factory=dict)

    @property
    def fields(self) -> InstanceFields:
        """What the user said of the container."""
        return self.data.fields

    @property
    def image_reference(self) -> ImageReference | None:
        """The image to run, resolved from every place that names it; None without any (A 3.4, W 1).

        Errors: PayloadError when a place is unreadable, or two contradict each other.
        """
        written = named_at("instance.data.fields.imageUuid", self.fields.image_uuid)
        return (self.image or Image()).named_in("instance.image", written)

    @property
    def network_services(self) -> frozenset[str]:
        """What the network of card 0 does for the container (A 8.18)."""
        return frozenset(
            service.kind
            for nic in self.nics
            if nic.device_number == 0
            for service in nic.network.network_services
            if service.kind is not None
        )

    @property
    def mac_address(self) -> str | None:
        """The hardware address of the card with the lowest number (A 8.6)."""
        numbered = [nic for nic in self.nics if nic.device_number is not None] or list(self.nics)
        return (
            min(numbered, key=lambda nic: nic.device_number or 0).mac_address if numbered else None
        )

    @property
    def is_system(self) -> bool:
        """The container works for cattle itself; both spellings count."""
        return bool(self.system_container) or self.system is True

    def label(self, name: str) -> str | None:
        """Look a label up, the user's first, then cattle's."""
        return self.fields.labels.get(name, self.labels.get(name))


def instance_of(data: object) -> Instance:
    """Read the instance of an `instanceHostMap` event, with its host and `processData`.

    Errors: `PayloadError` when it is unreadable or the host is not one of Docker's.
    """
    return _of(Instance, data)


def known_instance_of(data: object) -> KnownInstance:
    """Read as much of it as a container that may be there needs; errors as for `instance_of`."""
    return _of(KnownInstance, data)


InstanceT = TypeVar("InstanceT", bound=KnownInstance)


def _of(model: type[InstanceT], data: object) -> InstanceT:
    host_map = member(data, "instanceHostMap")
    process = data.get("processData") if isinstance(data, dict) else None
    host = host_map.get("host")
    if host is None and host_map.get("hostId") is not None:
        host = {"id": host_map["hostId"]}
    merged = {**member(host_map, "instance"), "host": host, "processData": process}
    instance = parse(model, merged, "instanceHostMap.instance")
    only_docker(instance.host.kind, "instanceHostMap.host")
    return instance
