"""The channels on which hosts announce a change: an outcome, a lease, a container event, a join.

A host's Redis user may publish on the channel of its host only, so the channel says for certain
which host a message came from. A message may be lost with a connection: whenever the doorbell
listens anew, `missed` says so, and everything is looked at once.
"""

import asyncio
import threading
import time
from collections.abc import Callable

import redis

from cowpoke import keys
from cowpoke.container_events import CONTAINER_EVENTS_ADDED
from cowpoke.joined import JOINED
from cowpoke.ledger.outbox import OUTBOX_FILLED
from cowpoke.liveness import LEASE_CHANGED
from cowpoke.log import logger

_log = logger(__name__)

#: How often the thread looks whether it is to end.
_POLL_S = 1.0
_RETRY_S = 0.5
#: A connection that was cut without a word looks like one on which nobody publishes.
_PING_EVERY_S = 2.0
_SILENT_AFTER_S = 6.0


class Announcements:
    """The hosts that announced one kind of change, until somebody looks."""

    def __init__(self) -> None:
        self._hosts: set[str] = set()
        self._missed = True
        self._some = asyncio.Event()
        self._some.set()

    def add(self, host_uuid: str) -> None:
        """Note a host."""
        self._hosts.add(host_uuid)
        self._some.set()

    def mark_missed(self) -> None:
        """Note that any host may have announced something that was not heard."""
        self._missed = True
        self._some.set()

    async def take(self, within_s: float) -> tuple[set[str], bool]:
        """Return the hosts since the last call, and whether others may have been missed.

        Waits for the first one, for `within_s` at most.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._some.wait()
        except TimeoutError:
            pass
        return self.take_now()

    def take_now(self) -> tuple[set[str], bool]:
        """Return the same without waiting."""
        hosts, missed = self._hosts, self._missed
        self._hosts, self._missed = set(), False
        self._some.clear()
        return hosts, missed


class Doorbell:
    """Listens in a thread of its own; its findings belong to the event loop that made it."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._loop = asyncio.get_running_loop()
        self._over = threading.Event()
        self.outboxes = Announcements()
        self.leases = Announcements()
        self.container_events = Announcements()
        #: Hosts whose note was written or deleted, see `cowpoke/joined.py`.
        self.joined = Announcements()

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._listen_forever, name="doorbell", daemon=True).start()

    def stop(self) -> None:
        """End the thread soon."""
        self._over.set()

    def _listen_forever(self) -> None:
        while not self._over.is_set():
            try:
                self._listen()
            except Exception as problem:  # noqa: BLE001 -- the outermost loop of this thread
                _log.debug("doorbell.blocked", reason=repr(problem))
            self._over.wait(_RETRY_S)

    def _listen(self) -> None:
        with self._redis.pubsub() as listener:  # type: ignore[no-untyped-call]
            listener.psubscribe(f"{keys.DOORBELL_PREFIX}*")
            heard_s = pinged_s = time.monotonic()
            while not self._over.is_set():
                message = listener.get_message(timeout=_POLL_S)
                now_s = time.monotonic()
                if now_s - pinged_s > _PING_EVERY_S:
                    listener.ping()
                    pinged_s = now_s
                if message is None:
                    if now_s - heard_s > _SILENT_AFTER_S:
                        raise redis.ConnectionError("the subscription does not answer")
                    continue
                heard_s = now_s
                if message["type"] == "psubscribe":
                    # Also after a connection that broke: it subscribes again by itself.
                    self._call(self._miss)
                elif message["type"] == "pmessage":
                    host_uuid = str(message["channel"]).removeprefix(keys.DOORBELL_PREFIX)
                    self._hear(host_uuid, message["data"])

    def _hear(self, host_uuid: str, what: object) -> None:
        if not keys.is_host_uuid(host_uuid):
            return
        if what == OUTBOX_FILLED:
            self._call(self.outboxes.add, host_uuid)
        elif what == LEASE_CHANGED:
            self._call(self.leases.add, host_uuid)
        elif what == CONTAINER_EVENTS_ADDED:
            self._call(self.container_events.add, host_uuid)
        elif what == JOINED:
            self._call(self.joined.add, host_uuid)

    def _miss(self) -> None:
        self.outboxes.mark_missed()
        self.leases.mark_missed()
        self.container_events.mark_missed()

    def _call(self, step: Callable[..., None], *args: str) -> None:
        try:
            self._loop.call_soon_threadsafe(step, *args)
        except RuntimeError:  # the loop is closed: the bridge is ending
            self._over.set()
