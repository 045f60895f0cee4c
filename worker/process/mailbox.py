"""A kombu channel for a worker process: what it sends, and the remote-control messages it gets.

It uses no tables of bindings (`_kombu.*`): the exchange of an event has its queue's name, and the
queue of a reply follows from its address. So nobody can lead messages elsewhere by changing such a
table, or stop a worker by making it unreadable.
"""

from typing import Any

import redis
from kombu.transport import redis as kombu_redis

from cowpoke.log import logger
from worker.process.received import REPLY_EXCHANGE, UnreadableMessageError, command_message

_log = logger(__name__)

#: Nobody waits longer for an answer of remote control.
_REPLY_TTL_MS = 60_000
#: kombu has no types that help.
_Base: Any = kombu_redis.Channel


class MailboxChannel(_Base):  # type: ignore[misc]  # see above
    """A channel without tables; it passes on only remote-control messages that are well formed."""

    #: Remote-control messages that this process could not read.
    unreadable_commands = 0

    def _lookup(self, exchange: str, routing_key: str, *_: object) -> list[str]:
        if exchange == REPLY_EXCHANGE:
            return [f"{routing_key}.{exchange}"]
        return [exchange or routing_key]

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- as kombu's
        if not queue.endswith(f".{REPLY_EXCHANGE}"):
            super()._put(queue, message, **kwargs)
            return
        try:
            super()._put(queue, message, **kwargs)
            with self.conn_or_acquire() as client:
                # Whoever asked may be gone.
                client.pexpire(queue, _REPLY_TTL_MS)
        except redis.ResponseError as problem:
            _log.warning("remote_control.reply_lost", reason=str(problem))

    def _put_fanout(self, exchange: str, message: Any, routing_key: str, **kwargs: Any) -> None:  # noqa: ANN401
        try:
            super()._put_fanout(exchange, message, routing_key, **kwargs)
        except redis.ResponseError as problem:
            # Celery would keep all monitoring events of a worker that may not publish them.
            _log.debug("monitoring.refused", reason=str(problem))

    def _queue_bind(self, exchange: str, routing_key: str, _pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, routing_key.replace("#", "*"))

    def _delete(self, *_: object, **__: object) -> None:
        """Do nothing: a mailbox is a subscription, not a key."""

    def _size(self, _queue: str) -> int:
        # Asked for when a queue is declared; nobody uses it.
        return 0

    def maybe_refresh_binding_expiry(self) -> None:
        """Do nothing: there are no bindings."""

    def _receive_one(self, c: Any) -> bool | None:  # noqa: ANN401 -- as kombu's
        try:
            response = c.parse_response()
        except redis.ResponseError as problem:
            _log.error(
                "remote_control.not_subscribed",
                reason=str(problem),
                advice="`celery inspect` and Flower do not see this process; events are run",
            )
            return None
        except self.connection_errors:
            self._in_listen = None
            raise
        if not isinstance(response, list | tuple):
            return None
        heard = self._handle_message(c, response)
        if not _text(heard["type"]).endswith("message"):
            return None
        # Such as `/0.celery.pidbox`.
        exchange = _text(heard["channel"]).partition(".")[2].partition("/")[0]
        if exchange not in self._fanout_to_queue:
            return None
        try:
            message = command_message(heard["data"])
        except UnreadableMessageError as problem:
            MailboxChannel.unreadable_commands += 1
            _log.warning(
                "remote_control.rejected",
                reason=str(problem),
                count=MailboxChannel.unreadable_commands,
            )
            return None
        self.connection._deliver(message, self._fanout_to_queue[exchange])  # noqa: SLF001 -- as kombu
        return True


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
