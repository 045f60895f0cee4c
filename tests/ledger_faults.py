"""What may happen to a ledger: a sweeper that dies or is slow, lost keys, older data."""

import redis

from cowpoke import keys
from tests.ledgers import GrownSweeper

KINDS = {
    "open": "cowpoke:open:*",
    "due": keys.DUE,
    "hosts": keys.HOSTS,
    "fifo": "cowpoke:fifo:*",
    "workers": "cowpoke:workers:*",
    "event": "cowpoke:event:*",
    "queue": "host.*",
    "outbox": "cowpoke:outbox:*",
    "lease": "cowpoke:lease:*",
}


class SweeperKilledError(Exception):
    """Raised in place of a kill."""


class MachineSweeper(GrownSweeper):
    """A sweeper that can be killed between two steps, or act on what it saw a while ago."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        #: Steps until it is killed.
        self.killed_after: int | None = None
        #: Where it writes its decisions instead of acting.
        self.late: list | None = None
        self.decided: list = []

    def _act(self, host_uuid, entry, decision):
        if self.killed_after == 0:
            raise SweeperKilledError
        if self.killed_after is not None:
            self.killed_after -= 1
        if self.late is not None:
            self.late.append((host_uuid, entry, decision))
            return False
        return super()._act(host_uuid, entry, decision)

    def act_late(self) -> None:
        """Do what was decided."""
        for host_uuid, entry, decision in self.decided:
            super()._act(host_uuid, entry, decision)
        self.decided = []


def lose_key(client: redis.Redis, kind: str, pick: int) -> str | None:
    """Delete a key of a kind; None when there is none."""
    found = sorted(client.scan_iter(KINDS[kind]))
    if not found:
        return None
    key = found[pick % len(found)]
    client.delete(key)
    return key


class Snapshot:
    """All of Redis at one moment; the client must not decode."""

    def __init__(self, raw: redis.Redis, passed_ms: int) -> None:
        self._passed_ms = passed_ms
        self._keys = [(key, max(raw.pttl(key), 0), raw.dump(key)) for key in raw.scan_iter()]

    def restore(self, raw: redis.Redis, passed_ms: int) -> int:
        """Put everything back as it was; how long ago that was, which its times do not say yet."""
        raw.flushall()
        for key, ttl_ms, content in self._keys:
            if content is not None:
                raw.restore(key, ttl_ms, content)
        return passed_ms - self._passed_ms
