"""The host as an operation gets it, beside the event."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.engine.client import Engine
    from worker.host.identity import Identity
    from worker.host.locks import Locks
    from worker.settings import WorkerSettings

#: Reports progress to cattle: a sentence, and a percentage or None. Best effort and throttled; it
#: never raises.
ReportProgress = Callable[[str, int | None], None]
#: Adds a sentence without secrets to the reply of an event that succeeds: what the user asked for
#: and did not get.
Warn = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The host that an operation works on.

    `may_pull` is false in the compute lane. An operation that needs a missing image raises
    `ImageNeededError` there, and the event moves to the images lane.
    """

    settings: "WorkerSettings"
    identity: "Identity"
    engine: "Engine"
    locks: "Locks"
    report_progress: ReportProgress
    warn: Warn
    may_pull: bool
