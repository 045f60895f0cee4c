"""Why an event is tried again, in words that are public: Flower shows them.

The message of the error itself may quote the Engine or a registry, so it is only in the worker's
log. `cowpoke events show` shows the code of each retry.
"""

from collections.abc import Mapping
from types import MappingProxyType

from cowpoke.routes import Lane

#: The code of an error after which an event is retried -> what that means.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "container-unreadable": "the Engine cannot inspect the container",
        "engine-busy": "the Engine is busy with the same object",
        "engine-unavailable": "the Engine does not answer",
        "handle-shortage": "no free file handle",
        "image-needed": "the image must be pulled first",
        "lock-held": "another event works on the resource",
        "not-yet": "the container has no address in its network yet",
        "removal-under-way": "the container is being removed",
        "storage-driver-absent": "the storage driver does not run",
        "storage-driver-slow": "the storage driver does not answer",
    }
)


def retry_reason(code: str, *, delay_s: float, moved_to: Lane | None = None) -> str:
    """Return why and when an event runs again: `lock-held: another event ..., again in 1.2 s`."""
    reason = f"{code}: {REASONS[code]}" if code in REASONS else code
    when = f"again in {delay_s:.1f} s" if moved_to is None else f"goes on in the lane {moved_to}"
    return f"{reason}, {when}"
