"""Redis ACL rules: the least rights with which a bridge, the workers of a host and Flower work.

A rule set is data. `Rules.words()` returns the arguments of `ACL SETUSER`, `Rules.line()` returns
a line of an ACL file. Redis 7.0 or later is needed: earlier versions have no read-only keys (`%R~`)
and no selectors. `cowpoke/keys.py` lists the keys.

What the user of one host can still do to others:

- Publish false Celery events: Flower shows them.
- Send false replies to `celery inspect`.
- Block the server with an endless script, or fill its memory and connections. No ACL prevents that.

Only Flower's user can publish remote-control commands, and workers obey inspection only.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cowpoke import keys

#: Redis before this has no `CLIENT SETINFO`, and refuses a rule that names it. redis-py sends it.
_SETINFO = "client|setinfo"
_SETINFO_SINCE = (7, 2)
LEAST_REDIS = (7, 0)
#: Begins the name of the user of a host; its uuid follows.
HOST_USER = "cowpoke-host-"

#: The decision on each key of `cowpoke/keys.py`. Keys that the workers of a host read and write:
HOST_KEYS: tuple[Callable[..., str], ...] = (
    *(keys.event, keys.open_events, keys.fifo, keys.outbox, keys.lease, keys.workers),
    *(keys.started, keys.dead_letters, keys.wake, keys.joined, keys.container_events, keys.figures),
)
#: Keys that they only read.
READABLE_KEYS: tuple[Callable[..., str], ...] = (
    *(keys.host_keys, keys.bridge, keys.removed, keys.served),
)
#: Keys that only bridges use.
BRIDGE_KEYS: tuple[Callable[..., str] | str, ...] = (
    *(keys.posting, keys.agent, keys.reporting, keys.websockets, keys.history, keys.RECENT),
    *(*keys.OUTCOME_STREAMS, keys.DUE, keys.HOSTS, keys.ALIVE, keys.SEEN),
    keys.BRIDGE_DEAD_LETTERS,
)

_CONNECT = ("auth", "client|id", "client|setname", "hello", "ping", "select")
_SCRIPTS = ("eval", "evalsha", "script|exists", "script|load")
_TRANSACTIONS = ("discard", "exec", "multi", "unwatch", "watch")
_SUBSCRIBE = ("psubscribe", "punsubscribe", "subscribe", "unsubscribe")

#: What the ledger's scripts and `cowpoke` itself call, for bridges and workers alike.
_LEDGER = (
    *("info", "time", "publish", "multi", "exec", "wait"),
    *("del", "exists", "get", "getex", "mget", "pexpire", "set", "type"),
    *("hdel", "hget", "hincrby", "hmget", "hset", "hsetnx"),
    *("lindex", "lpop", "lpos", "lpush", "lrem", "ltrim", "rpush"),
    *("sadd", "smembers", "srem"),
    *("zadd", "zrange", "zrem", "zscore"),
    "xadd",
)
#: SCAN shows the names of other keys too.
_BRIDGE = (
    *("getrange", "scan", "pttl", "hgetall", "hkeys", "llen", "lrange", "sscan", "zcard"),
    *("unlink", "zrangebyscore", "zscan"),
    *("xack", "xclaim", "xdel", "xgroup|create", "xgroup|delconsumer", "xinfo|consumers"),
    *("xinfo|groups", "xinfo|stream", "xlen", "xpending", "xrange", "xreadgroup"),
    *("xread", "xrevrange"),
)
#: With those of a lane that takes messages, and removes a key of another type under its queue's
#: name.
_WORKER = ("hgetall", "brpop", "getrange")
#: What kombu's own transport calls, for Flower and `celery inspect`.
_KOMBU = ("brpop", "rpop", "sismember", "zrevrangebyscore")

#: The names of kombu's keys, see kombu/transport/redis.py.
_BINDING = "_kombu.binding"
_PERMANENT_BINDING = "_kombu.binding_permanent"
_DEADLINES = "_kombu.binding_deadlines"
_PIDBOX = "celery.pidbox"
_EVENTS = "celeryev"
_REPLIES = f"reply.{_PIDBOX}"
#: The reply queue of an inspection, named by a uuid. No key of ours has a name of this form.
_REPLY_QUEUE = f"????????-????-????-????-????????????.{_REPLIES}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """A set of commands, and the keys and channels on which they are allowed."""

    commands: tuple[str, ...]
    #: Patterns for reading and writing.
    keys: tuple[str, ...] = ()
    readable_keys: tuple[str, ...] = ()
    writable_keys: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def words(self) -> tuple[str, ...]:
        """Return the words of Redis's ACL language."""
        return (
            *(f"~{key}" for key in self.keys),
            *(f"%R~{key}" for key in self.readable_keys),
            *(f"%W~{key}" for key in self.writable_keys),
            *(f"&{channel}" for channel in self.channels),
            "-@all",
            *(f"+{command}" for command in self.commands),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """Everything that one Redis user may do."""

    user: str
    grant: Grant
    #: Further grants. A command is allowed when one grant alone covers all of it.
    selectors: tuple[Grant, ...] = ()

    def words(self) -> tuple[str, ...]:
        """Return the rules as arguments of `ACL SETUSER`; they replace the rules the user had.

        They contain no password and keep the one the user has. A new user has none: it cannot log
        in.
        """
        selectors = (f"({' '.join(selector.words())})" for selector in self.selectors)
        # `reset` would also take the password away.
        return (
            "on",
            "resetkeys",
            "resetchannels",
            "clearselectors",
            *self.grant.words(),
            *selectors,
        )

    def line(self, *, password: str | None = None) -> str:
        """Return the line of an ACL file, with the SHA-256 of the password."""
        return " ".join(("user", self.user, *password_words(password), *self.words()))


def password_words(password: str | None) -> tuple[str, ...]:
    """Return the word that adds a password, as its SHA-256; nothing without one."""
    return () if password is None else (f"#{hashlib.sha256(password.encode()).hexdigest()}",)


def bridge_rules(*, user: str = "cowpoke-bridge", redis: tuple[int, int] = LEAST_REDIS) -> Rules:
    """Return the rules for bridges, and for the commands of operators."""
    return Rules(
        user=user,
        grant=Grant(
            commands=_sorted(_connect(redis), _SCRIPTS, _LEDGER, _BRIDGE, _SUBSCRIBE),
            keys=("cowpoke:*", "host.*"),
            channels=(f"{keys.DOORBELL_PREFIX}*",),
        ),
    )


def host_rules(
    host_uuid: str,
    *,
    user: str | None = None,
    database: int = 0,
    redis: tuple[int, int] = LEAST_REDIS,
) -> Rules:
    """Return the rules for the workers of one host; `database` is the number in REDIS_URL.

    They fit the transport of the lanes (`worker/process/transport.py`), which uses no key that
    hosts share.

    Errors: ValueError when no key pattern can tell the uuid from that of another host.
    """
    _check_host_uuid(host_uuid)
    return Rules(
        user=user or f"{HOST_USER}{host_uuid}",
        grant=Grant(
            commands=_sorted(_connect(redis), _SCRIPTS, _LEDGER, _WORKER),
            keys=(*(_pattern(key, host_uuid) for key in HOST_KEYS), *keys.queues(host_uuid)),
            readable_keys=tuple(_pattern(key, host_uuid) for key in READABLE_KEYS),
            writable_keys=(_REPLY_QUEUE,),
            channels=(keys.doorbell(host_uuid), f"/{database}.{_EVENTS}/*"),
        ),
        # Apart from PUBLISH: a worker receives remote-control commands and must not send any.
        selectors=(Grant(commands=_SUBSCRIBE, channels=(f"/{database}.{_PIDBOX}",)),),
    )


def flower_rules(
    *, user: str = "cowpoke-flower", database: int = 0, redis: tuple[int, int] = LEAST_REDIS
) -> Rules:
    """Return the rules for Flower and `celery inspect`: ask workers, and read the queues."""
    tables = (_PIDBOX, _REPLIES, _EVENTS)
    return Rules(
        user=user,
        grant=Grant(
            commands=_sorted(
                _connect(redis),
                _SCRIPTS,
                _TRANSACTIONS,
                _SUBSCRIBE,
                _KOMBU,
                ("publish", "time"),
                ("del", "exists", "get", "set", "pexpire", "llen", "lpush", "rpush", "info"),
                ("hdel", "hget", "hset", "sadd", "smembers", "srem"),
                ("zadd", "zrange", "zrangebyscore", "zrem"),
            ),
            keys=(
                *(f"{_BINDING}.{table}" for table in tables),
                *(f"{_PERMANENT_BINDING}.{table}" for table in tables),
                *(_DEADLINES, _REPLY_QUEUE, f"{_EVENTS}.*"),
                *("unacked", "unacked_index", "unacked_mutex"),
            ),
            readable_keys=("host.*",),
            channels=(f"/{database}.{_PIDBOX}", f"/{database}.{_EVENTS}/*"),
        ),
    )


def _pattern(key: Callable[..., str], host_uuid: str) -> str:
    """Return the pattern for all keys of one kind, and of one host where they name it."""
    parameters = inspect.signature(key).parameters
    return key(*(host_uuid if name == "host_uuid" else "*" for name in parameters))


def _check_host_uuid(host_uuid: str) -> None:
    if host_uuid.endswith(keys.RESERVED_ENDS):
        raise ValueError(
            f"a host uuid must not end with {', '.join(keys.RESERVED_ENDS)}: it would name a queue "
            "of another host; set another one with CATTLE_DOCKER_UUID"
        )
    if not keys.is_host_uuid(host_uuid):
        raise ValueError(
            "a host uuid has 1 to 255 letters, digits, dots, underscores and hyphens; other "
            "characters have a meaning in Redis key patterns"
        )


def _connect(redis: tuple[int, int]) -> tuple[str, ...]:
    if redis < LEAST_REDIS:
        raise ValueError(
            f"Redis {redis[0]}.{redis[1]} has no read-only keys and no selectors; Redis "
            f"{LEAST_REDIS[0]}.{LEAST_REDIS[1]} or later is needed"
        )
    return (*_CONNECT, _SETINFO) if redis >= _SETINFO_SINCE else _CONNECT


def _sorted(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({command for group in groups for command in group}))
