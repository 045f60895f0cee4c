"""The one table from an event's name to the lane it runs in, and from a lane to its queue."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Lane(StrEnum):
    """Work of one kind, which waits for work of its own kind only.

    A ping never waits for a container, a container never waits for an image pull.
    """

    COMPUTE = "compute"
    CONTROL = "control"
    IMAGES = "images"


#: The event that holds another event.
DELEGATE = "delegate.request"
#: The event of a pull task, which shows only the internal text of an error.
PULL = "compute.instance.pull"
#: The event whose answer may name items that the bridge reports to cattle.
CONFIG_UPDATE = "config.update"

#: cattle's event name -> lane. The name is also the name of the Celery task.
LANES: Mapping[str, Lane] = MappingProxyType(
    {
        "ping": Lane.CONTROL,
        "compute.instance.activate": Lane.COMPUTE,
        "compute.instance.deactivate": Lane.COMPUTE,
        "compute.instance.remove": Lane.COMPUTE,
        "compute.instance.force.stop": Lane.COMPUTE,
        "compute.instance.inspect": Lane.CONTROL,
        PULL: Lane.IMAGES,
        "storage.image.activate": Lane.IMAGES,
        "storage.volume.activate": Lane.COMPUTE,
        "storage.volume.deactivate": Lane.COMPUTE,
        "storage.volume.remove": Lane.COMPUTE,
        # Of a driver's volume that no container ever mounted; the old agents did not know it.
        "volume.remove": Lane.COMPUTE,
        CONFIG_UPDATE: Lane.COMPUTE,
        DELEGATE: Lane.COMPUTE,
    }
)

#: Sent one way by cattle with a `replyTo` nobody listens to; a reply to that is refused with 403.
ONE_WAY_REPLY_TO = frozenset({"compute.instance.force.stop.reply"})


def base_name(event_name: str) -> str:
    """An event's name without its subscription suffix: the name of the Celery task."""
    return event_name.partition(";")[0]


def queue_for(host_uuid: str, lane: Lane) -> str:
    """The queue of one lane of one host: `host.<uuid>`, `.control`, `.images`."""
    return f"host.{host_uuid}" if lane is Lane.COMPUTE else f"host.{host_uuid}.{lane}"
