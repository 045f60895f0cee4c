"""The workers of many hosts, as far as Redis sees them at rest: each prolongs its lease.

One thread sends the commands of all supervisors, spread over the time of a renewal. It packs the
commands once, because packing would cost more than everything else here.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Self

import hiredis
import redis

from cowpoke import keys
from cowpoke.lease import LaneProcess, Lease, lease_text
from cowpoke.liveness import LEASE_CHANGED, LEASE_TTL_MS, REJOIN_EVERY, RENEW_EVERY_S
from cowpoke.routes import LANES, Lane
from cowpoke.seal import ClusterKeyring
from cowpoke.version import VERSION

#: Groups of hosts that renew at the same moment.
SLICES = 30
_AT_ONCE = 500
_TIMEOUT_S = 30.0
_READ_BYTES = 256 * 1024
#: Sealing the leases of all hosts takes a while; the first renewal ends this.
_FIRST_TTL_MS = 600_000


def host_name(number: int) -> str:
    """Return the uuid of a simulated host."""
    return f"scale-host-{number:05d}"


def lease_of(host_uuid: str, fingerprints: tuple[str, ...]) -> Lease:
    """Return the lease of the one worker of a host, with all lanes."""
    worker_id = _worker_id(host_uuid)
    return Lease(
        worker_id=worker_id,
        host_uuid=host_uuid,
        lanes=tuple(
            LaneProcess(
                lane=lane,
                boot_id=f"{worker_id}.{lane}.1",
                node=f"{lane}-1-{worker_id}@{host_uuid}",
            )
            for lane in Lane
        ),
        events=tuple(LANES),
        fingerprints=fingerprints,
        hostname=host_uuid,
        lock_domain=host_uuid,
        version=VERSION,
        process="4026531836:17",
    )


class Fleet:
    """Live workers of many hosts in one Redis; they die when the context ends."""

    def __init__(
        self, client: redis.Redis, port: int, keyring: ClusterKeyring, hosts: Sequence[str]
    ) -> None:
        self._redis = client
        self._port = port
        self._keyring = keyring
        self._hosts = tuple(hosts)
        self._dead: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew_forever, name="fleet", daemon=True)
        self._ttl_ms = _FIRST_TTL_MS
        #: Leases that a renewal found expired: the machine was too busy for the figures to count.
        self.lost = 0

    def __enter__(self) -> Self:
        for start in range(0, len(self._hosts), _AT_ONCE):
            self._announce(self._hosts[start : start + _AT_ONCE])
        self._ttl_ms = LEASE_TTL_MS
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_TIMEOUT_S)

    def kill(self, host_uuid: str) -> None:
        """Let the worker of a host die right after a renewal: its lease lasts as long as it can."""
        self._dead.add(host_uuid)
        self._redis.pexpire(_lease_key(host_uuid), LEASE_TTL_MS)

    def revive(self, host_uuid: str) -> None:
        """Let the worker of a host live again."""
        self._dead.discard(host_uuid)
        self._announce([host_uuid])

    def boot_id(self, host_uuid: str, lane: Lane) -> str:
        """Return the boot id of a lane of a host."""
        lease = lease_of(host_uuid, ())
        return next(one.boot_id for one in lease.lanes if one.lane == lane)

    def _announce(self, hosts: Sequence[str]) -> None:
        if not hosts:
            return
        with self._redis.pipeline(transaction=False) as pipe:
            for host_uuid in hosts:
                sealer = self._keyring.host(host_uuid)
                lease = lease_of(host_uuid, sealer.fingerprints)
                text = lease_text(lease, sealer)
                pipe.set(_lease_key(host_uuid), text, px=self._ttl_ms)
                pipe.sadd(keys.workers(host_uuid), lease.worker_id)
                pipe.publish(keys.doorbell(host_uuid), LEASE_CHANGED)
            pipe.execute()

    def _renew_forever(self) -> None:
        prolong = {
            host: _packed("GETEX", _lease_key(host), "PX", LEASE_TTL_MS) for host in self._hosts
        }
        rejoin = {
            host: _packed("SADD", keys.workers(host), _worker_id(host)) for host in self._hosts
        }
        slices = [self._hosts[number::SLICES] for number in range(SLICES)]
        began_s = time.monotonic()
        turn = 0
        with socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_S) as connection:
            while not self._over.is_set():
                for number, some in enumerate(slices):
                    alive = [host_uuid for host_uuid in some if host_uuid not in self._dead]
                    answers = _send(connection, [prolong[host_uuid] for host_uuid in alive])
                    # A supervisor whose lease expired writes it again.
                    lost = [host for host, one in zip(alive, answers, strict=True) if one is None]
                    self.lost += len(lost)
                    self._announce(lost)
                    if turn % REJOIN_EVERY == number % REJOIN_EVERY:
                        _send(connection, [rejoin[host_uuid] for host_uuid in alive])
                    due_s = began_s + (turn + (number + 1) / SLICES) * RENEW_EVERY_S
                    self._over.wait(max(due_s - time.monotonic(), 0))
                turn += 1


def _send(connection: socket.socket, commands: Sequence[bytes]) -> list[Any]:
    """Send commands, and return their answers."""
    connection.sendall(b"".join(commands))
    reader = hiredis.Reader()
    found: list[Any] = []
    while len(found) < len(commands):
        answer = reader.gets()
        if answer is not False:
            found.append(answer)
            continue
        read = connection.recv(_READ_BYTES)
        if not read:
            raise ConnectionError("Redis closed the connection of the fleet")
        reader.feed(read)
    return found


def _worker_id(host_uuid: str) -> str:
    return f"w{host_uuid.rpartition('-')[2]}"


def _lease_key(host_uuid: str) -> str:
    return keys.lease(host_uuid, _worker_id(host_uuid))


def _packed(*parts: str | int) -> bytes:
    """Return a command as Redis reads it."""
    texts = [str(part).encode() for part in parts]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(t), t) for t in texts)
