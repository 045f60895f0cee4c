"""Volumes of Docker's drivers, among them those drivers of Rancher that leave mounting to Docker.

Row numbers (A, C) refer to docs/parity.md.
"""

import time

from cowpoke.log import logger
from worker import deadline
from worker.engine import volumes
from worker.errors import EngineError, EngineUnavailableError
from worker.host.name_store import orphan_volumes
from worker.operations.context import Host
from worker.payload import Volume

#: How often a removal is tried before the volume is left to the janitor (B.3).
REMOVE_TRIES = 3
REMOVE_EVERY_S = 1.0

_MOVED = "moved"
_SHOULD_RETRY = "should retry"
_log = logger(__name__)


def ensure_in_docker(volume: Volume, host: Host) -> None:
    """Create a managed volume if it is missing; again if its driver moved it (A 13.4)."""
    assert volume.name is not None
    assert volume.driver is not None
    keep_volume(volume.name, host)
    with host.locks.hold(f"volume:{volume.name}"):
        found = volumes.inspect(host.engine, volume.name)
        if found is not None and found.get("Mountpoint") == _MOVED:
            volumes.remove(host.engine, volume.name)
            found = None
        if found is None:
            options = volume.driver_opts
            volumes.create(host.engine, volume.name, driver=volume.driver, options=options)
            _log.info("volume.created", volume=volume.name, driver=volume.driver)


def keep_volume(name: str, host: Host) -> None:
    """Delete the orphan record of a volume that is wanted again, so that the janitor keeps it."""
    with host.locks.hold(f"volume:{name}"):
        orphan_volumes(host.settings.state_dir).discard(name)


def remove_from_docker(name: str, host: Host) -> None:
    """Remove a volume from Docker; after some refusals leave it to the janitor.

    Errors: the refusal if its words say `Should retry`; EngineUnavailableError.
    """
    orphans = orphan_volumes(host.settings.state_dir)
    with host.locks.hold(f"volume:{name}"):
        refusal = _refusal_of_removal(name, host)
        if refusal is None:
            orphans.discard(name)
            return
        # The janitor removes it later; an error makes cattle retry for ever (A 13.8, C 28).
        orphans.add(name, refusal.message)
        _log.warning(
            "volume.orphaned", volume=name, reason=refusal.message, orphans=orphans.count()
        )


def _refusal_of_removal(name: str, host: Host) -> EngineError | None:
    """Try to remove a volume; return the last refusal, or None when the volume is gone."""
    for number in range(1, REMOVE_TRIES + 1):
        try:
            volumes.remove(host.engine, name)
        except EngineUnavailableError:
            raise
        except EngineError as error:
            refusal = error
        else:
            return None
        if _SHOULD_RETRY in refusal.message.lower():
            raise refusal
        if number == REMOVE_TRIES or deadline.left_s() <= REMOVE_EVERY_S:
            break
        time.sleep(REMOVE_EVERY_S)
    return refusal
