"""An instance: the container that an event is about, with the host and the process around it.

Row numbers (A, W) refer to docs/parity.md.
"""

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
    """The fields of an instance that finding, stopping and reporting its container need.

    Fields that only a create needs are not read: a container that another agent created from
    unusual fields must still be stopped and removed.
    """

    uuid: Text = Field(min_length=1)
    #: The Docker id, if cattle knows it.
    external_id: Text | None = None
    #: Whether a user created it with Docker and cattle only observes it.
    native_container: Flag = None
    #: For the reported address.
    nics: Annotated[tuple[Nic, ...], LISTED, WrapValidator(_if_readable)] = ()
    #: For the mounts of their drivers, which must be there before an existing container starts.
    volumes_from_data_volume_mounts: Annotated[
        tuple[Volume, ...], LISTED, WrapValidator(_if_readable)
    ] = ()
    host: Host = Field(default_factory=Host)
    process: Process = Field(default_factory=Process, alias="processData")

    @property
    def is_native(self) -> bool:
        """Whether a user created the container with Docker."""
        return self.native_container is True

    @property
    def primary_network(self) -> Network:
        """The network of the first NIC; a network without kind if there is none (A 8.1)."""
        return self.nics[0].network if self.nics else Network()

    @property
    def primary_address(self) -> str | None:
        """The primary address of the first NIC with its prefix length: `10.42.1.2/16` (A 5.3).

        None in a network without subnets.
        """
        for address in self.nics[0].ip_addresses if self.nics else ():
            if address.role == "primary" and address.address and address.subnet.cidr_size:
                return f"{address.address}/{address.subnet.cidr_size}"
        return None


class Instance(KnownInstance):
    """An instance of cattle with all fields that a create needs."""

    id: Text | None = None
    name: Text | None = None
    kind: Text | None = None
    hostname: Text | None = None
    agent_id: Text | None = None
    #: Its role in cattle; None for a user's container.
    system_container: Text | None = None
    #: Whether it is a system container, in newer servers.
    system: Flag = None
    #: Thousandths of a core.
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
        """The user's settings of the container."""
        return self.data.fields

    @property
    def image_reference(self) -> ImageReference | None:
        """The image to run, from all places that name it; None without any (A 3.4, W 1).

        Errors: PayloadError when a place is unreadable, or two contradict each other.
        """
        written = named_at("instance.data.fields.imageUuid", self.fields.image_uuid)
        return (self.image or Image()).named_in("instance.image", written)

    @property
    def network_services(self) -> frozenset[str]:
        """The kinds of the services in the network of NIC 0 (A 8.18)."""
        return frozenset(
            service.kind
            for nic in self.nics
            if nic.device_number == 0
            for service in nic.network.network_services
            if service.kind is not None
        )

    @property
    def mac_address(self) -> str | None:
        """The MAC address of the NIC with the lowest number (A 8.6)."""
        numbered = [nic for nic in self.nics if nic.device_number is not None] or list(self.nics)
        return (
            min(numbered, key=lambda nic: nic.device_number or 0).mac_address if numbered else None
        )

    @property
    def is_system(self) -> bool:
        """Whether it is a system container of cattle, by either field."""
        return bool(self.system_container) or self.system is True

    def label(self, name: str) -> str | None:
        """Return a label, the user's or else cattle's."""
        return self.fields.labels.get(name, self.labels.get(name))


def instance_of(data: object) -> Instance:
    """Parse the instance of an `instanceHostMap` event, with its host and `processData`.

    Errors: `PayloadError` when it is unreadable or the host is no Docker host.
    """
    return _of(Instance, data)


def known_instance_of(data: object) -> KnownInstance:
    """Parse only the fields of `KnownInstance`; errors as for `instance_of`."""
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
