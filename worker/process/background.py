"""What a starting worker does for its machine, beside its events and without haste."""

import threading
from collections.abc import Callable

from cowpoke.log import logger
from worker.host.cloud import detect_cloud
from worker.host.preparation import prepare_host
from worker.settings import WorkerSettings

_log = logger(__name__)


def start_host_care(settings: WorkerSettings) -> None:
    """Prepare the machine and look for its cloud, each in a thread that nobody waits for.

    All workers of a host start them; the host's locks choose who does the work.
    """
    for part in (prepare_host, detect_cloud):
        name = part.__name__.replace("_", "-")
        threading.Thread(target=_run, args=(part, settings), name=name, daemon=True).start()


def _run(part: Callable[[WorkerSettings], None], settings: WorkerSettings) -> None:
    try:
        part(settings)
    except Exception:  # noqa: BLE001 -- no event needs any of this
        _log.exception("host.care_failed", part=part.__name__)
