"""What cattle is told of an instance's container."""

from typing import Any

from worker.engine.containers import Inspect
from worker.operations.context import Host
from worker.payload import KnownInstance
from worker.report import instance_data


def reported(found: Inspect | None, instance: KnownInstance, host: Host) -> dict[str, Any]:
    """The body of an instance's reply, made from one inspect (A 10.1 to 10.8)."""
    host_ip = host.identity.host_ip
    return instance_data(found, listing=None, instance=instance, host_ip=host_ip)
