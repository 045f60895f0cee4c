"""The end of the process of a bridge, whatever its threads wait for."""

import os
import threading

from cowpoke.log import flush, logger

_log = logger(__name__)


def end_in(seconds: float) -> None:
    """End this process by then, whatever its threads wait for.

    Python joins the threads of executors before it exits, and a call to a frozen Redis lasts longer
    than a bridge may take to stop. Nothing is lost: Redis holds the outcomes, cattle the events.
    """

    def end() -> None:
        _log.warning("bridge.threads_abandoned", advice="Redis does not answer; no data is lost")
        flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
