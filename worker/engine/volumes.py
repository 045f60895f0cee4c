"""What we ask of the Engine about volumes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.engine.client import Call, Engine, segment
from worker.errors import EngineError, VolumeInUseError, VolumeMissingError


def inspect(engine: Engine, name: str) -> dict[str, Any] | None:
    """The volume of this name; None when there is none."""
    try:
        found: dict[str, Any] = engine.run(
            Call(
                "GET",
                f"/volumes/{segment(name)}",
                kind="volume.inspect",
                wanted=f"inspect volume {name}",
                refusal=_refusal,
            )
        )
    except VolumeMissingError:
        return None
    return found


def created_s(volume: Mapping[str, Any]) -> float | None:
    """When a volume was made (Unix time in s); None where its driver does not say."""
    try:
        return datetime.fromisoformat(str(volume.get("CreatedAt"))).timestamp()
    except ValueError:
        return None


def create(engine: Engine, name: str, *, driver: str, options: Mapping[str, str]) -> None:
    """Create a volume; one that is there with the same driver is fine."""
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
    """Remove a volume; gone already is fine.

    Errors: VolumeInUseError when a container still has it.
    """
    try:
        engine.run(
            Call(
                "DELETE",
                f"/volumes/{segment(name)}",
                kind="volume.remove",
                wanted=f"remove volume {name}",
                timeout_s=engine.work_timeout_s,
                refusal=_refusal,
            )
        )
    except VolumeMissingError:
        return


def _refusal(status: int, words: str) -> type[EngineError] | None:
    match status:
        case 404:
            return VolumeMissingError
        case 409:
            return VolumeInUseError
        case 500 if "no such volume" in words:
            # Some volume drivers answer a missing volume so.
            return VolumeMissingError
    return None
