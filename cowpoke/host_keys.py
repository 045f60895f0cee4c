"""Bridges and the workers of a host recognize each other's keys before they use them.

A bridge leaves each host a note that is sealed with the host's key and lists the keys the bridge
opens. A worker that opens the note of a bridge has the right key, and knows with which of its keys
to seal. A note that somebody forged opens for nobody, and is ignored beside a true one.

The lease of a bridge (`bridge_lease.py`) says the same to people: `cowpoke key usage` shows who has
which keys.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from cowpoke import keys
from cowpoke.broker import answers, concerns_one_key
from cowpoke.liveness import Leases
from cowpoke.seal import SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyCheck:
    """What a worker knows of the bridges' keys."""

    #: Why it must not take events; None when it may.
    mismatch: str | None = None
    #: Fingerprints of its keys that the bridges open whose notes it can open: those that all of
    #: them open, else those that one of them opens. Empty without any bridge.
    opened_by_bridges: tuple[str, ...] = ()
    #: Bridges whose notes it cannot open; they have other keys, or the notes are forged.
    unreadable: tuple[str, ...] = ()


def leave_notes(client: "redis.Redis", bridge_id: str, sealers: Mapping[str, Sealer]) -> None:
    """Tell the workers of hosts which of their keys a bridge opens; `sealers` is by host uuid.

    The notes of bridges that do not live are removed; the bridge itself must live by now.
    Errors: redis.RedisError.
    """
    with client.pipeline(transaction=False) as pipe:
        for host_uuid, sealer in sealers.items():
            key = keys.host_keys(host_uuid)
            pipe.hset(key, bridge_id, _note(bridge_id, host_uuid, sealer))
            pipe.pexpire(key, keys.OPEN_TTL_MS)
            pipe.hkeys(key)
        listed = dict(zip(sealers, answers(pipe)[2::3], strict=True))
        # Something else lies in the key: it is of no use to anybody.
        wrong = [host for host, found in listed.items() if not isinstance(found, list)]
        others = {host: set(map(str, found)) for host, found in listed.items() if host not in wrong}
        live = Leases(client).live_bridges(sorted(set().union(*others.values())))
        for host_uuid, found in others.items():
            if found - live - {bridge_id}:
                pipe.hdel(keys.host_keys(host_uuid), *(found - live - {bridge_id}))
        if wrong:
            pipe.delete(*map(keys.host_keys, wrong))
        pipe.execute()


def _note(bridge_id: str, host_uuid: str, sealer: Sealer) -> str:
    return sealer.seal(
        {
            "v": CONTRACT_VERSION,
            "bridge": bridge_id,
            "host": host_uuid,
            "fingerprints": sealer.fingerprints,
        }
    )


def check_keys(client: "redis.Redis", host_uuid: str, sealer: Sealer) -> KeyCheck:
    """Compare a worker's keys with those of the bridges; without live ones, of those that ran last.

    Errors: redis.RedisError.
    """
    try:
        found: Any = client.hgetall(keys.host_keys(host_uuid))
    except redis.ResponseError as problem:
        if not concerns_one_key(problem):
            raise
        # No bridge wrote it; the next one that notes something replaces it.
        found = {}
    notes: Mapping[str, Any] = {str(bridge_id): note for bridge_id, note in found.items()}
    if not notes:
        return KeyCheck()
    live = Leases(client).live_bridges(sorted(notes))
    opened = {
        bridge_id: _opened(str(notes[bridge_id]), sealer, bridge_id, host_uuid)
        for bridge_id in sorted(live or notes)
    }
    readable = {bridge_id: theirs for bridge_id, theirs in opened.items() if theirs is not None}
    unreadable = tuple(sorted(set(opened) - set(readable)))
    if not readable:
        return KeyCheck(
            mismatch="this worker's key opens nothing that a bridge sealed for this host",
            unreadable=unreadable,
        )
    # Without a common one, a note is of a bridge that skipped a round of a key rotation, or was put
    # back by somebody: a bridge that cannot open an outcome leaves it to the one that can.
    theirs = list(map(set, readable.values()))
    usable = _listed(sealer, set.intersection(*theirs)) or _listed(sealer, set().union(*theirs))
    if not usable:
        return KeyCheck(
            mismatch="no bridge opens what this worker seals with its first key",
            unreadable=unreadable,
        )
    return KeyCheck(opened_by_bridges=usable, unreadable=unreadable)


def _listed(sealer: Sealer, fingerprints: Collection[str]) -> tuple[str, ...]:
    return tuple(one for one in sealer.fingerprints if one in fingerprints)


def _opened(note: str, sealer: Sealer, bridge_id: str, host_uuid: str) -> tuple[str, ...] | None:
    """The fingerprints in a note; None when the bridge did not write it for this host."""
    try:
        content = sealer.open(note)
    except SealBrokenError:
        return None
    fingerprints = content.get("fingerprints")
    if (content.get("bridge"), content.get("host")) != (bridge_id, host_uuid):
        return None
    return tuple(map(str, fingerprints)) if isinstance(fingerprints, list) else None
