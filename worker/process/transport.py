"""kombu's Redis transport for the lanes of a host: what anybody puts into Redis stops no lane.

It differs from kombu's own in these points, and in those of `mailbox` and `redis_channel`:

- Items of the queue that are no message of ours go to the dead letters of the host (`received`).
- There is no emulation of acknowledgements (`unacked*`), which would cost two transactions per
  message. A message is acknowledged when its task begins; one that gets lost before is in no
  queue and not claimed, so the sweeper sends it again within seconds.
- An idle lane asks Redis for work every `BRPOP_S`. A key of its own beside the queue ends that
  wait at once, so that a lane that stops neither waits nor takes one more message.

`docs/private_api` lists the private parts of kombu and redis-py that are used here.
"""

import contextlib
import json
import select
import time
import uuid
from collections.abc import Iterable, Iterator
from queue import Empty
from typing import Any

import redis
from celery import Celery
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.backoff import NoBackoff
from redis.retry import Retry

from cowpoke import dead_letters, keys
from cowpoke.broker import sentinels_for
from cowpoke.log import logger
from cowpoke.redis_url import read_redis_url
from cowpoke.routes import LANES
from cowpoke.settings import BrokerSettings
from worker.process.received import UnreadableMessageError, task_message
from worker.process.redis_channel import RedisChannel, is_left_behind

_log = logger(__name__)

#: How long Redis lets an idle lane wait: the longer, the fewer commands.
BRPOP_S = 5
#: An answer that is so late will not come: the connection is dead.
OVERDUE_S = 4.0
#: An answer that is so late makes a lane ask the Sentinels.
LATE_S = 1.0
_OVERDUE_CHECK_S = 1.0
#: How long a lane that stops, or lost a connection, tries to give back what it took.
GIVE_BACK_S = 1.0
_WAKE_TTL_MS = 10_000
_SHOWN_BYTES = 4096
#: kombu has no types that help.
_QoS: Any = virtual.QoS
_Transport: Any = kombu_redis.Transport


class QoS(_QoS):  # type: ignore[misc]  # see above
    """Unacknowledged messages, kept in this process only."""

    def restore_unacked(self) -> list[Any]:
        """Give messages back to their queues, such as those that wait for a retry."""
        self._flush()
        messages = list(self._delivered.values())
        self._delivered.clear()
        self.channel.give_back(messages)
        return []  # what cannot be given back is sent again by the sweeper


class Channel(RedisChannel):
    """A channel of one process of a lane; see the module."""

    ack_emulation = False
    #: Of the lane's host; empty in a process that takes from no host's queue.
    host_uuid = ""
    from_transport_options = (*RedisChannel.from_transport_options, "host_uuid")
    #: Items of the queues that this process could not read.
    dead_lettered = 0
    #: When Redis last ended a wait of this process, by the monotonic clock.
    answered_s: float | None = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = QoS
        self._wake_key = keys.wake(self.host_uuid, uuid.uuid4().hex)

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        wait_s = self.brpop_timeout if timeout is None else timeout
        self._in_poll.send_command("BRPOP", *queues, self._wake_key, wait_s)

    def _brpop_read(self, **options: object) -> bool:
        try:
            taken = self._taken(**options)
            if taken is None:
                raise Empty
            queue, content = taken
            self._queue_cycle.rotate(queue)
            try:
                message = task_message(content, queue=queue, names=LANES)
            except UnreadableMessageError as problem:
                self._put_aside(queue, str(problem), content)
                raise Empty from None
            self.connection._deliver(message, queue)  # noqa: SLF001 -- as kombu does
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _taken(self, **options: object) -> tuple[str, bytes] | None:
        """Return what BRPOP took; None when it took nothing of a queue.

        Errors: redis.ConnectionError and the like, after which kombu connects anew.
        """
        connection = self.client.connection
        try:
            taken = self.client.parse_response(connection, "BRPOP", **options)
        except redis.ResponseError as problem:
            if "WRONGTYPE" in str(problem):
                self._clear_wrong_keys()
                return None
            # Such as a replica that cannot be written to: another connection may reach better.
            connection.disconnect()
            raise redis.ConnectionError(f"Redis refused BRPOP: {problem}") from problem
        except self.connection_errors:
            connection.disconnect()
            raise
        Channel.answered_s = time.monotonic()
        if not taken or taken[0] == self._wake_key.encode():
            return None
        return taken[0].decode(), taken[1]

    def _clear_wrong_keys(self) -> None:
        """Remove what stands in place of the queues; it would refuse every message."""
        with self.conn_or_acquire() as client:
            for key in [*self.active_queues, self._wake_key]:
                kind = client.type(key).decode()
                if kind in {"list", "none"}:
                    continue
                content = client.getrange(key, 0, _SHOWN_BYTES) if kind == "string" else b""
                self._put_aside(key, f"it is a {kind} under the key of a queue", content)
                client.delete(key)

    def _put_aside(self, where: str, reason: str, content: bytes) -> None:
        Channel.dead_lettered += 1
        _log.error(
            "message.dead_lettered",
            queue=where,
            reason=reason,
            count=Channel.dead_lettered,
            advice="another program writes to this queue; the dead letters of the host show what",
        )
        key = keys.dead_letters(self.host_uuid)
        with self.conn_or_acquire() as client:
            dead_letters.add(client, key, where=where, reason=reason, content=content)

    def drop_overdue_brpop(self) -> None:
        """Connect anew when Redis, or the way to it, does not end a wait for messages."""
        connection, sent_s = self._in_poll, self._brpop_sent_at
        if not connection or sent_s is None:
            return
        waited_s = time.monotonic() - sent_s
        if self.sentinels is not None and waited_s > self.brpop_timeout + LATE_S:
            with contextlib.suppress(redis.ConnectionError):
                self.sentinels.master()
        if not is_left_behind(connection) and (
            waited_s < self.brpop_timeout + OVERDUE_S or _has_answer(connection)
        ):
            return
        _log.warning("queue.disconnected", waited_s=round(waited_s, 1))
        connection.disconnect()

    def _basic_cancel(self, consumer_tag: str) -> None:
        super()._basic_cancel(consumer_tag)
        if not self.active_queues:
            self._end_brpop()

    def close(self) -> None:
        """Close; a message that is on its way to this process goes back to its queue."""
        self._end_brpop()
        super().close()

    def _end_brpop(self) -> None:
        """End the wait for messages at once, without losing one."""
        connection = self._in_poll
        if not connection:
            return
        try:
            with self._impatient_client() as client:
                with client.pipeline() as pipe:
                    pipe.lpush(self._wake_key, "")
                    pipe.pexpire(self._wake_key, _WAKE_TTL_MS)
                    pipe.execute()
                if not connection.can_read(timeout=GIVE_BACK_S):
                    raise redis.TimeoutError("Redis does not end BRPOP")
                taken = self.client.parse_response(connection, "BRPOP")
                if taken and taken[0] != self._wake_key.encode():
                    client.rpush(*taken)
                client.delete(self._wake_key)
        except (redis.RedisError, OSError) as problem:
            _log.warning("queue.wait_not_ended", reason=str(problem))
            connection.disconnect()
        finally:
            self._in_poll = None

    def give_back(self, messages: Iterable[Any]) -> None:
        """Put messages that this process took back into their queues, as the next ones."""
        raw = [(one.delivery_info["routing_key"], one._raw) for one in messages]  # noqa: SLF001 -- as kombu
        if not raw:
            return
        try:
            with self._impatient_client() as client, client.pipeline(transaction=False) as pipe:
                for queue, message in raw:
                    pipe.rpush(queue, json.dumps(message))
                pipe.execute()
        except (redis.RedisError, OSError) as problem:
            _log.warning("queue.requeue_failed", count=len(raw), reason=str(problem))

    def _restore(self, message: Any, *_: object, **__: object) -> None:  # noqa: ANN401 -- as kombu's
        self.give_back([message])

    @contextlib.contextmanager
    def _impatient_client(self) -> Iterator[Any]:
        """Yield a client with a connection of its own; kombu's may wait for ever."""
        options = {
            **self.pool.connection_kwargs,
            "socket_timeout": GIVE_BACK_S,
            "socket_connect_timeout": GIVE_BACK_S,
            "retry": Retry(NoBackoff(), 0),
        }
        pool = redis.ConnectionPool(connection_class=self.pool.connection_class, **options)
        try:
            yield redis.Redis(connection_pool=pool)
        finally:
            pool.disconnect()


class Transport(_Transport):  # type: ignore[misc]  # see above
    """The transport of a process of a lane; see the module."""

    Channel = Channel
    brpop_timeout = BRPOP_S

    def register_with_event_loop(self, connection: object, loop: Any) -> None:  # noqa: ANN401
        """Let kombu register its timers, and ours."""
        super().register_with_event_loop(connection, loop)
        # Celery cancels it with kombu's when the connection is lost.
        loop.call_repeatedly(_OVERDUE_CHECK_S, self._drop_overdue)

    def _drop_overdue(self) -> None:
        for channel in self.cycle._channels:  # noqa: SLF001 -- there is no other list
            channel.leave_former_master()
            channel.drop_overdue_brpop()


def use_transport(app: Celery, host_uuid: str, settings: BrokerSettings) -> None:
    """Let this process speak to Redis by this transport; call it before the worker is made."""
    url = read_redis_url(settings.redis_url.get_secret_value())
    # kombu takes the transport from an url of another scheme, and after a failure from the next
    # one of several: the lanes would lose theirs.
    app.conf.broker_url = url.lane_url
    app.conf.broker_transport = f"{__name__}:Transport"
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "host_uuid": host_uuid,
        "sentinels": sentinels_for(settings, url),
        "socket_path": url.socket_path,
    }


def takes_messages() -> bool:
    """Whether this process has read an answer of Redis's about its queue in the time of a wait."""
    answered_s = Channel.answered_s
    return answered_s is not None and time.monotonic() - answered_s < BRPOP_S + OVERDUE_S


def _has_answer(connection: Any) -> bool:  # noqa: ANN401 -- redis-py's
    """Whether an answer has come that nobody has read yet, as after the process was frozen."""
    sock = connection._sock  # noqa: SLF001 -- `can_read` would take the answer off the socket
    if sock is None:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
