"""What an operation gets to work with besides the event: the host it runs on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.engine.client import Engine
    from worker.host.identity import Identity
    from worker.host.locks import Locks
    from worker.settings import WorkerSettings

#: Tells cattle how far the work is: a sentence, and a percentage where there is one.
#: Best effort and throttled; it never raises.
ReportProgress = Callable[[str, int | None], None]
#: Adds a sentence without secrets to the message of the event's reply if the operation succeeds:
#: what the user asked for and did not get.
Warn = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The host an operation works on.

    `may_pull` is false in the lane for containers: an operation that needs a missing image raises
    `ImageNeededError` there, and the event goes on in the lane for images.
    """

    settings: "WorkerSettings"
    identity: "Identity"
    engine: "Engine"
    locks: "Locks"
    report_progress: ReportProgress
    warn: Warn
    may_pull: bool
