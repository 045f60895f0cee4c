"""Removing containers, also those that the Engine removes already or can no longer inspect."""

import time

from worker import deadline
from worker.engine.client import Call, Engine, segment
from worker.engine.containers import Found, inspect, look
from worker.engine.refusals import remove_refusal
from worker.errors import ContainerMissingError, EngineBusyError

_GONE_POLL_S = 0.2


def remove(engine: Engine, container_id: str, *, with_volumes: bool = False) -> None:
    """Remove it by force; gone already is fine (A 11.5). Named volumes always stay.

    Errors: EngineBusyError when a removal by somebody else does not end in time (A 11.7).
    """
    try:
        engine.run(
            Call(
                "DELETE",
                f"/containers/{segment(container_id)}",
                kind="container.remove",
                wanted=f"remove container {container_id[:12]}",
                params={"force": "1", "v": str(int(with_volumes))},
                timeout_s=engine.work_timeout_s,
                refusal=remove_refusal,
                takes_slot=True,
            )
        )
    except ContainerMissingError:
        return
    except EngineBusyError:
        _wait_until_gone(engine, container_id)


def discard(engine: Engine, found: Found) -> None:
    """Remove a container; if it never ran, its anonymous volumes go as well.

    Its list of volumes also has those of containers whose volumes it was to share. The Engine
    removes such a volume only when no other container has it, so all go only while those are there.
    """
    sources = ((found.inspect or {}).get("HostConfig") or {}).get("VolumesFrom") or ()
    with_volumes = (
        found.has_never_run
        and found.inspect is not None
        and all(inspect(engine, str(one).partition(":")[0]) for one in sources)
    )
    remove(engine, found.id, with_volumes=with_volumes)


def _wait_until_gone(engine: Engine, container_id: str) -> None:
    began_s = time.monotonic()
    until_s = began_s + min(engine.work_timeout_s, deadline.left_s())
    while look(engine, container_id) is not None:
        now_s = time.monotonic()
        if now_s >= until_s:
            raise EngineBusyError(
                f"cannot remove container {container_id[:12]}: the removal that is already in "
                f"progress did not end within {now_s - began_s:.1f} s"
            )
        time.sleep(_GONE_POLL_S)
