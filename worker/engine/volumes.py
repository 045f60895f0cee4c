"""The calls to the Engine about volumes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.engine.client import Call, Engine, segment
from worker.errors import EngineError, VolumeInUseError, VolumeMissingError

_DRIVER_FAILED = 500


def inspect(engine: Engine, name: str) -> dict[str, Any] | None:
    """Return the inspect of the volume, or None when there is none."""
    call = Call(
        "GET",
        f"/volumes/{segment(name)}",
        kind="volume.inspect",
        wanted=f"inspect volume {name}",
        refusal=_refusal,
    )
    found: dict[str, Any] | None = engine.run_unless_missing(call, VolumeMissingError)
    return found


def created_s(volume: Mapping[str, Any]) -> float | None:
    """Return when a volume was created (Unix time in s); None if its driver does not say."""
    try:
        return datetime.fromisoformat(str(volume.get("CreatedAt"))).timestamp()
    except ValueError:
        return None


def create(engine: Engine, name: str, *, driver: str, options: Mapping[str, str]) -> None:
    """Create a volume; an existing one with the same driver is no error."""
    engine.run(
        Call(
            "POST",
            "/volumes/create",
            kind="volume.create",
            wanted=f"create volume {name} with driver {driver}",
            body={"Name": name, "Driver": driver, "DriverOpts": dict(options)},
            timeout_s=engine.work_timeout_s,
        )
    )


def remove(engine: Engine, name: str) -> None:
    """Remove a volume; a missing one is no error.

    Errors: VolumeInUseError when a container uses it; EngineError when its driver refuses.
    """
    call = Call(
        "DELETE",
        f"/volumes/{segment(name)}",
        kind="volume.remove",
        wanted=f"remove volume {name}",
        timeout_s=engine.work_timeout_s,
        refusal=_removal_refusal,
    )
    engine.run_unless_missing(call, VolumeMissingError)


def _removal_refusal(status: int, words: str) -> type[EngineError] | None:
    # The Engine answers 500 for a driver that refuses, which is no outage.
    return _refusal(status, words) or (EngineError if status == _DRIVER_FAILED else None)


def _refusal(status: int, words: str) -> type[EngineError] | None:
    match status:
        case 404:
            return VolumeMissingError
        case 409:
            return VolumeInUseError
        case 500 if "no such volume" in words:
            # Some volume drivers answer 500 for a missing volume.
            return VolumeMissingError
    return None
