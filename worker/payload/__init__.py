"""Frozen models of the events' `data`, parsed once.

Each `*_of` function takes the `data` of an event and returns a model or raises `PayloadError`. No
other code reads cattle's JSON. This package depends neither on Docker nor on Celery.
"""

from worker.payload.base import Payload
from worker.payload.fields import InstanceFields
from worker.payload.host import (
    ForceStop,
    Host,
    Inspect,
    Process,
    force_stop_of,
    inspect_of,
    process_of,
)
from worker.payload.image import (
    Build,
    Image,
    ImagePull,
    RegistryCredential,
    UnreadableCredential,
    image_of,
    pull_of,
)
from worker.payload.instance import Instance, KnownInstance, instance_of, known_instance_of
from worker.payload.parts import ContainerRef, Link, Network, Nic, Port
from worker.payload.requests import (
    ConfigUpdate,
    Delegation,
    config_update_of,
    delegation_of,
)
from worker.payload.volume import StoragePool, Volume, volume_of

__all__ = [
    "Build",
    "ConfigUpdate",
    "ContainerRef",
    "Delegation",
    "ForceStop",
    "Host",
    "Image",
    "ImagePull",
    "Inspect",
    "Instance",
    "InstanceFields",
    "KnownInstance",
    "Link",
    "Network",
    "Nic",
    "Payload",
    "Port",
    "Process",
    "RegistryCredential",
    "StoragePool",
    "UnreadableCredential",
    "Volume",
    "config_update_of",
    "delegation_of",
    "force_stop_of",
    "image_of",
    "inspect_of",
    "instance_of",
    "known_instance_of",
    "process_of",
    "pull_of",
    "volume_of",
]
