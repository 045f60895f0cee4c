"""The container report sent to cattle."""

from typing import Any

from worker.engine.containers import Found
from worker.operations.context import Host
from worker.payload import KnownInstance
from worker.report import instance_data


def reported(found: Found | None, instance: KnownInstance, host: Host) -> dict[str, Any]:
    """Return the body of an instance's reply (A 10.1 to 10.8).

    One inspect gives it, or the list entry of a container that cannot be inspected.
    """
    return instance_data(
        found.inspect if found is not None else None,
        listing=dict(found.listing) if found is not None and found.listing is not None else None,
        instance=instance,
        host_ip=host.identity.host_ip,
    )
