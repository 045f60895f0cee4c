"""The Sentinels of a Redis, which know what server is the master now.

The programs ask only when they connect, so Sentinels cost nothing at rest. All connections of a
process share one `Sentinels`; see `cowpoke/master_connection.py`.
"""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cowpoke.log import logger

_log = logger(__name__)

Address = tuple[str, int]

#: Sentinels are near and answer from memory; one whose machine is gone must not cost more.
ASK_TIMEOUT_S = 1.0
#: One answer serves all connections that break at once.
FRESH_S = 0.25
#: A Sentinel that did not answer is not waited for again so soon, unless no other one answers.
SILENT_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SentinelAccess:
    """Where Sentinels are, and how to ask them for one master."""

    addresses: tuple[Address, ...]
    #: The name of the master in their configuration.
    master: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    #: As redis-py takes them; None without TLS.
    tls: Mapping[str, Any] | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """Return how redis-py connects to one of them."""
        tls = {} if self.tls is None else {"ssl": True, **self.tls}
        return {
            "username": self.username,
            "password": self.password,
            "socket_timeout": ASK_TIMEOUT_S,
            "socket_connect_timeout": ASK_TIMEOUT_S,
            **tls,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What one Sentinel says."""

    address: Address
    #: The count of changes of the configuration: the highest one is the newest.
    epoch: int
    #: Whether it does not reach the master.
    misses_master: bool
    #: Whether the Sentinels agree on that.
    master_is_down: bool


class Sentinels:
    """The Sentinels of one master, for one process. Thread-safe."""

    def __init__(self, access: SentinelAccess) -> None:
        self.access = access
        #: Counts the masters that this process has seen.
        self.generation = 0
        self._address: Address | None = None
        self._problem: str | None = None
        self._asked_s = float("-inf")
        #: Sentinel -> when it last did not answer.
        self._silent_s: dict[Address, float] = {}
        self._lock = threading.Lock()

    def master(self) -> Address:
        """Return where the master is.

        Errors: redis.ConnectionError when no Sentinel knows, or all say that it is down.
        """
        with self._lock:
            if time.monotonic() - self._asked_s > FRESH_S:
                self._find()
                self._asked_s = time.monotonic()
            if self._problem is not None or self._address is None:
                raise redis.ConnectionError(self._problem)
            return self._address

    def agree(self) -> bool:
        """Ask all Sentinels anew; whether more than half say that the known master is the one.

        A part of the network that has the old master, and few Sentinels, does not agree.
        """
        with self._lock:
            answers, _ = self._ask_all(self.access.addresses)
            self._choose(answers, ())
            agreeing = [
                one for one in answers if one.address == self._address and not one.master_is_down
            ]
        return len(agreeing) * 2 > len(self.access.addresses)

    def replicas(self) -> list[Address]:
        """Ask where the replicas of the master are, also those that are down.

        Errors: redis.ConnectionError.
        """
        self.master()
        for host, port in self.access.addresses:
            try:
                with self._client(host, port) as client:
                    found: Any = client.sentinel_slaves(self.access.master)
            except (redis.RedisError, OSError):
                continue
            return [(str(one["ip"]), int(one["port"])) for one in found]
        raise redis.ConnectionError("no Sentinel answers")

    def _find(self) -> None:
        now_s = time.monotonic()
        silent = [
            one
            for one in self.access.addresses
            if now_s - self._silent_s.get(one, float("-inf")) < SILENT_S
        ]
        answers, problems = self._ask_all([a for a in self.access.addresses if a not in silent])
        if not answers:
            answers, others = self._ask_all(silent)
            problems += others
        self._choose(answers, problems)

    def _choose(self, answers: "list[_Answer]", problems: "list[str] | tuple[str, ...]") -> None:
        if not answers:
            self._problem = f"no Sentinel names a master: {'; '.join(problems) or 'none asked'}"
            return
        newest = max(one.epoch for one in answers)
        best = [one for one in answers if one.epoch == newest]
        if any(one.master_is_down for one in best) or all(one.misses_master for one in best):
            host, port = best[0].address
            self._problem = f"the master {host}:{port} is down, and Sentinels have no other one yet"
            return
        self._problem = None
        address = best[0].address
        if address == self._address:
            return
        if self._address is not None:
            _log.warning("redis.master_changed", address=f"{address[0]}:{address[1]}")
        self._address = address
        self.generation += 1

    def _ask_all(self, addresses: "tuple[Address, ...] | list[Address]") -> tuple[Any, list[str]]:
        answers, problems = [], []
        for address in addresses:
            try:
                answers.append(self._ask(address))
                self._silent_s.pop(address, None)
            except redis.ResponseError as problem:
                # Such as a name that it does not know, or a password that it refuses.
                problems.append(f"{address[0]}:{address[1]}: {problem}")
            except (redis.RedisError, OSError) as problem:
                self._silent_s[address] = time.monotonic()
                problems.append(f"{address[0]}:{address[1]}: {problem}")
        return answers, problems

    def _ask(self, address: Address) -> _Answer:
        with self._client(*address) as client, client.pipeline(transaction=False) as pipe:
            # The first is right sooner: `SENTINEL MASTER` names the old one until all is done.
            pipe.sentinel_get_master_addr_by_name(self.access.master)
            pipe.sentinel_master(self.access.master)
            place, state = pipe.execute()
        if place is None:
            raise redis.ResponseError(f"it knows no master {self.access.master!r}")
        address = (str(place[0]), int(place[1]))
        # The flags are those of the old one while another one is being promoted.
        is_meant = address == (state["ip"], int(state["port"]))
        return _Answer(
            address=address,
            epoch=int(state["config-epoch"]),
            misses_master=is_meant and bool(state["is_sdown"]),
            master_is_down=is_meant and bool(state["is_odown"]),
        )

    def _client(self, host: str, port: int) -> "redis.Redis":
        # No connection is kept: 10,000 hosts ask, and hardly ever.
        options = {**self.access.options(), "retry": Retry(NoBackoff(), 0)}
        return redis.Redis(host=host, port=port, decode_responses=True, **options)

    def begin_anew_after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()


_known: list[Sentinels] = []


def sentinels_of(access: SentinelAccess) -> Sentinels:
    """Return what this process knows of these Sentinels."""
    for one in _known:
        if one.access == access:
            return one
    _known.append(Sentinels(access))
    return _known[-1]


def _after_fork() -> None:
    for one in _known:
        one.begin_anew_after_fork()


os.register_at_fork(after_in_child=_after_fork)
