"""Remove containers, also those that the Engine is removing already or cannot inspect.

Row numbers (A, B, C, W) refer to docs/parity.md.
"""

import time

from worker import deadline
from worker.container import Container
from worker.engine.client import Call, Engine, segment
from worker.engine.containers import inspect, inspect_or_list
from worker.engine.refusals import remove_refusal
from worker.errors import ContainerMissingError, EngineBusyError

_GONE_POLL_S = 0.2


def remove(engine: Engine, container_id: str, *, with_volumes: bool = False) -> None:
    """Remove a container by force; a missing one is no error (A 11.5). Named volumes stay.

    Errors: EngineBusyError when a removal already in progress does not end in time (A 11.7).
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


def discard(engine: Engine, container: Container) -> None:
    """Remove a container; if it never ran, remove its anonymous volumes as well.

    Its volumes include those of containers whose volumes it shares (`VolumesFrom`). The Engine
    removes a volume only if no other container uses it. So volumes are removed only while all
    those containers exist.
    """
    with_volumes = (
        container.has_never_run
        and container.inspect is not None
        and all(inspect(engine, one) for one in container.volumes_from)
    )
    remove(engine, container.id, with_volumes=with_volumes)


def _wait_until_gone(engine: Engine, container_id: str) -> None:
    began_s = time.monotonic()
    until_s = began_s + min(engine.work_timeout_s, deadline.left_s())
    while inspect_or_list(engine, container_id) is not None:
        now_s = time.monotonic()
        if now_s >= until_s:
            raise EngineBusyError(
                f"cannot remove container {container_id[:12]}: the removal that is already in "
                f"progress did not end within {now_s - began_s:.1f} s"
            )
        time.sleep(_GONE_POLL_S)
