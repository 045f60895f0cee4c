"""Devices, their I/O limits, and ulimits.

Row numbers (A, B) refer to docs/parity.md.
"""

from worker.create.facts import DEFAULT_DISK, Facts
from worker.create.fragment import Fragment, given
from worker.errors import PayloadError
from worker.payload import Instance

#: Default permissions of a device: read, write, make nodes.
ALL_PERMISSIONS = "rwm"

#: cattle's limit -> the Engine's list in HostConfig, all per second.
RATES = {
    "read_iops": "BlkioDeviceReadIOps",
    "write_iops": "BlkioDeviceWriteIOps",
    "read_bps": "BlkioDeviceReadBps",
    "write_bps": "BlkioDeviceWriteBps",
}


def devices(instance: Instance, facts: Facts) -> Fragment:
    """Return devices of the host, from `host[:container[:permissions]]` (A 4.24)."""
    return Fragment(
        host_config=given({"Devices": [_device(text) for text in instance.fields.devices]})
    )


def device_limits(instance: Instance, facts: Facts) -> Fragment:
    """Return I/O limits by device.

    Shape:  five HostConfig lists of {Path, Rate} or {Path, Weight}; empty ones are absent.
    Source: A 9.1, 9.2: `DEFAULT_DISK` is the measured disk; its limits are skipped without one.
    """
    limits: dict[str, list[dict[str, object]]] = {}
    for name, options in instance.fields.blkio_device_options.items():
        path = facts.default_disk if name == DEFAULT_DISK else name
        if path is None:
            continue
        for field, key in RATES.items():
            rate = getattr(options, field)
            if rate is not None:
                limits.setdefault(key, []).append({"Path": path, "Rate": rate})
        if options.weight is not None:
            weighed = {"Path": path, "Weight": options.weight}
            limits.setdefault("BlkioWeightDevice", []).append(weighed)
    return Fragment(host_config=limits)


def ulimits(instance: Instance, facts: Facts) -> Fragment:
    """Return the ulimits of the container's processes (B.1)."""
    limits = [
        {"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard}
        for limit in instance.fields.ulimits
    ]
    return Fragment(host_config=given({"Ulimits": limits}))


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):  # noqa: PLR2004 - host, container, permissions
        raise PayloadError(
            f"a device must be HOST, HOST:CONTAINER or HOST:CONTAINER:PERMISSIONS, found {text!r}"
        )
    on_host = parts[0]
    return {
        "PathOnHost": on_host,
        "PathInContainer": parts[1] if len(parts) > 1 else on_host,
        "CgroupPermissions": parts[2] if len(parts) > 2 else ALL_PERMISSIONS,  # noqa: PLR2004
    }
