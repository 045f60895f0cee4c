"""What a bridge asks the ledger before it sends a reply."""

import redis

from cowpoke import keys
from cowpoke.ledger.states import State


class ReplyLedger:
    """Questions about replies to one Redis. Thread-safe."""

    def __init__(self, client: "redis.Redis", bridge_id: str) -> None:
        self._redis = client
        self._bridge_id = bridge_id

    def list_is_current(self, host_uuid: str, claimed_ms: int) -> bool:
        """Return whether no activate of the host has ended well since a ping was claimed.

        cattle destroys what it knows and a list of containers lacks: one that was made after the
        list and reported before it would go. The time is from the sealed outcome that has the list:
        the ping may have come again and been claimed again since.
        """
        if not claimed_ms:
            return False
        started_ms = self._redis.get(keys.started(host_uuid))
        if started_ms is None:
            return True
        try:
            ahead_ms = int(started_ms) - claimed_ms
        except ValueError:
            return False
        # The server's clock was set back if it is far ahead: no pong is under way that long.
        return ahead_ms < 0 or ahead_ms > keys.STARTED_TTL_MS

    # About progress: never after the final reply, whichever bridge sends which.

    def begin_progress(self, host_uuid: str, event_id: str) -> bool:
        """Reserve the sending of progress; false when the final outcome is there already."""
        # Reserved first, looked second: a final outcome that comes in between sees the reservation.
        with self._redis.pipeline() as pipe:
            pipe.sadd(keys.posting(event_id), self._bridge_id)
            pipe.pexpire(keys.posting(event_id), keys.POSTING_TTL_MS)
            pipe.execute()
        if self._redis.hget(keys.event(host_uuid, event_id), "state") == State.CLAIMED:
            return True
        self.end_progress(event_id)
        return False

    def end_progress(self, event_id: str) -> None:
        """The progress was sent, or given up."""
        self._redis.srem(keys.posting(event_id), self._bridge_id)

    def progress_underway(self, event_id: str) -> bool:
        """Whether another live bridge is sending progress of this event right now."""
        others = self._redis.smembers(keys.posting(event_id)) - {self._bridge_id}
        return bool(others) and bool(self._redis.exists(*map(keys.bridge, map(str, others))))
