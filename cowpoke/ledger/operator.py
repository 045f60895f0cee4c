"""What a person may do with an event that has no answer yet. Each is one step of the ledger."""

from enum import StrEnum

import redis

from cowpoke import keys
from cowpoke.envelopes import sealed_outcome
from cowpoke.ledger.script import Script
from cowpoke.outcomes import error
from cowpoke.seal import Keyring

#: The code of the error with which cattle hears of a dropped event.
DROPPED = "dropped"


class Did(StrEnum):
    """What became of a wish; the states of an event to which it does not apply are among it."""

    QUEUED = "queued"
    DROPPED = "dropped"
    #: It waits in its queue, not for its next try.
    WAITING = "waiting"
    #: Its deadline has passed.
    LATE = "late"
    RECORDED = "recorded"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    EXPIRED = "expired"
    GONE = "gone"
    #: Its state is one of a later version.
    UNKNOWN = "unknown"


class OperatorLedger:
    """The steps of a person, who has the rights of a bridge. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: Keyring) -> None:
        self._keyring = keyring
        self._script = Script(client, "recovery")

    def retry(self, host_uuid: str, event_id: str) -> Did:
        """Queue an event now that waits for its next try.

        Errors: redis.RedisError.
        """
        return _did(self._script("hurry", host_uuid, event_id))

    def drop(self, host_uuid: str, event_id: str, reason: str = "") -> Did:
        """Answer an event with the error `dropped`, whoever has it; cattle hears the reason.

        A worker that has it stops when it next asks whether it still does. What it has done by then
        stays done. Errors: redis.RedisError.
        """
        message = "an operator dropped this event" + (f": {reason}" if reason else "")
        content = sealed_outcome(self._keyring.host(host_uuid), event_id, error(DROPPED, message))
        ttls_ms = keys.ANSWERED_TTL_MS, keys.ANSWERED_PING_TTL_MS
        return _did(self._script("dismiss", host_uuid, event_id, content, *ttls_ms))


def _did(answer: object) -> Did:
    if answer is None:
        return Did.GONE
    return Did(str(answer)) if answer in set(Did) else Did.UNKNOWN
