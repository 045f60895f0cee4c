"""Who has which keys, and what in Redis is sealed with which: when a round of a rotation is over.

Keys are compared with those of a QUEUE_KEY, by their position in it: 1 seals, the others only open.
Nothing is changed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from cowpoke import keys
from cowpoke.bridge_lease import read_bridge_lease
from cowpoke.broker import answers
from cowpoke.lease import read_lease
from cowpoke.ledger.resealing import SEALED_FIELDS, field_sealers, host_of_event_key
from cowpoke.ledger.states import State
from cowpoke.seal import ClusterKeyring, SealBrokenError, Sealer

#: Keys or entries that one call reads.
_AT_ONCE = 500
_OUTCOMES_AT_ONCE = 50

#: What is shown for something that none of the keys opens.
UNREADABLE = 0

#: Kinds of sealed content, in the order in which they are shown.
KINDS = ("open events", "kept answers", "outcomes", "remembered hosts", "joined hosts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """A live program, and its keys by fingerprint, the one that seals first."""

    #: bridge or worker
    kind: str
    program_id: str
    #: Empty for a bridge.
    host_uuid: str
    #: None when its lease cannot be opened: it has other keys, or somebody else wrote it.
    fingerprints: tuple[str, ...] | None
    #: Whether these are the keys of QUEUE_KEY, all and in this order.
    is_as_wanted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyUsage:
    """What is known of the keys in one Redis."""

    #: Of the keys in QUEUE_KEY.
    fingerprints: tuple[str, ...]
    holders: Sequence[Holder]
    #: kind -> position of the key (from 1 on, `UNREADABLE` for none of ours) -> how many texts.
    sealed: Mapping[str, Counter[int]] = field(default_factory=dict)

    @property
    def is_older_key_in_use(self) -> bool:
        """Whether something is sealed with another key than the first."""
        return any(position > 1 for counts in self.sealed.values() for position in +counts)

    @property
    def others(self) -> list[Holder]:
        """The programs whose keys are not those of QUEUE_KEY."""
        return [one for one in self.holders if not one.is_as_wanted]

    @property
    def is_round_complete(self) -> bool:
        """Whether the next round may begin: the same keys everywhere, and only the first seals.

        What none of the keys opens does not count: anybody who writes to Redis could stop the
        rotation with it, and it goes in its time.
        """
        return not self.others and not self.is_older_key_in_use


def key_usage(client: "redis.Redis", keyring: ClusterKeyring) -> KeyUsage:
    """Look at every sealed text in Redis, and at the leases of all live programs.

    Errors: redis.RedisError.
    """
    sealed: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS}
    holders: list[Holder] = []
    for names in _names(client):
        _count_events(client, keyring, _with(names, keys.EVENT_PREFIX), sealed)
        for text in _strings(client, _with(names, keys.AGENT_PREFIX)).values():
            sealed["remembered hosts"][_position(keyring.bridge, text)] += 1
        for name, text in _strings(client, _with(names, keys.JOINED_PREFIX)).items():
            host = keyring.host(name.removeprefix(keys.JOINED_PREFIX))
            sealed["joined hosts"][_position(host, text)] += 1
        leases = _strings(client, _with(names, keys.LEASE_PREFIX))
        holders += (_worker(keyring, name, text) for name, text in leases.items())
        bridges = _strings(client, _with(names, keys.BRIDGE_PREFIX))
        holders += (_bridge(keyring, name, text) for name, text in bridges.items())
        for name in _with(names, keys.OUTBOX_PREFIX):
            host_uuid = name.removeprefix(keys.OUTBOX_PREFIX)
            _count_outcomes(client, keyring, name, sealed["outcomes"], host_uuid)
    for name in keys.OUTCOME_STREAMS:
        _count_outcomes(client, keyring, name, sealed["outcomes"])
    return KeyUsage(
        fingerprints=keyring.fingerprints,
        holders=sorted(holders, key=lambda one: (one.kind, one.host_uuid, one.program_id)),
        sealed=sealed,
    )


def _names(client: "redis.Redis") -> Iterator[list[str]]:
    """All keys of ours, a part at a time, each once."""
    seen: set[str] = set()
    cursor, first = 0, True
    while cursor or first:
        first = False
        cursor, found = client.scan(cursor, match=f"{keys.PREFIX}*", count=_AT_ONCE)
        names = set(map(str, found)) - seen
        seen |= names
        yield sorted(names)


def _with(names: Sequence[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _strings(client: "redis.Redis", names: Sequence[str]) -> dict[str, str]:
    """The texts of keys; those that are gone or are no strings are left out."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.get(name)
        found = answers(pipe) if names else []
    return {name: text for name, text in zip(names, found, strict=True) if isinstance(text, str)}


def _position(sealer: Sealer, text: str) -> int:
    position = sealer.position_of(text)
    return UNREADABLE if position is None else position + 1


def _count_events(
    client: "redis.Redis",
    keyring: ClusterKeyring,
    names: Sequence[str],
    sealed: Mapping[str, Counter[int]],
) -> None:
    """Count each event once, by the oldest key that it needs."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hmget(name, ["state", *SEALED_FIELDS])
        rows = answers(pipe) if names else []
    for name, row in zip(names, rows, strict=True):
        if isinstance(row, Exception):
            continue
        state, *texts = row
        sealers = field_sealers(keyring, host_of_event_key(name))
        pairs = zip(SEALED_FIELDS, texts, strict=True)
        positions = [_position(sealers[one], text) for one, text in pairs if text]
        if positions:
            kind = "kept answers" if state in {State.ANSWERED, State.EXPIRED} else "open events"
            sealed[kind][max(positions) if all(positions) else UNREADABLE] += 1


def _count_outcomes(
    client: "redis.Redis",
    keyring: ClusterKeyring,
    name: str,
    counts: Counter[int],
    host_uuid: str = "",
) -> None:
    """Count the outcomes of a stream; without `host_uuid` each entry names its host."""
    start = "-"
    while True:
        try:
            found: Any = client.xrange(name, min=start, count=_OUTCOMES_AT_ONCE)
        except redis.ResponseError:  # no stream: nothing of ours
            return
        for _, fields in found:
            host = keyring.host(host_uuid or str(fields.get("host", "")))
            positions = (
                _position(host, fields.get("content", "")),
                _position(keyring.bridge, fields.get("envelope", "")),
            )
            counts[max(positions) if all(positions) else UNREADABLE] += 1
        if len(found) < _OUTCOMES_AT_ONCE:
            return
        start = f"({found[-1][0]}"


def _worker(keyring: ClusterKeyring, name: str, text: str) -> Holder:
    host_uuid, _, worker_id = name.removeprefix(keys.LEASE_PREFIX).rpartition(":")
    sealer = keyring.host(host_uuid)
    try:
        lease = read_lease(text, sealer, host_uuid=host_uuid, worker_id=worker_id)
        found: tuple[str, ...] | None = lease.fingerprints
    except SealBrokenError:
        found = None
    return Holder(
        kind="worker",
        program_id=worker_id,
        host_uuid=host_uuid,
        fingerprints=found,
        is_as_wanted=found == sealer.fingerprints,
    )


def _bridge(keyring: ClusterKeyring, name: str, text: str) -> Holder:
    bridge_id = name.removeprefix(keys.BRIDGE_PREFIX)
    lease = read_bridge_lease(text, keyring, bridge_id=bridge_id)
    found = None if lease is None else lease.fingerprints
    return Holder(
        kind="bridge",
        program_id=bridge_id,
        host_uuid="",
        fingerprints=found,
        is_as_wanted=found == keyring.fingerprints,
    )


def usage_text(usage: KeyUsage) -> str:
    """What `cowpoke key usage` prints."""
    lines = [f"key {n}  {name}" for n, name in enumerate(usage.fingerprints, start=1)]
    counted = Counter((one.kind, one.is_as_wanted) for one in usage.holders)
    lines += [
        f"{kind}s with these keys: {counted[kind, True]}, with others: {counted[kind, False]}"
        for kind in ("bridge", "worker")
    ]
    lines += [_line_of(one) for one in usage.others]
    for kind, counts in usage.sealed.items():
        parts = [f"key {n}: {counts[n]}" for n in range(1, len(usage.fingerprints) + 1)]
        unreadable = f", no key opens: {counts[UNREADABLE]}" if counts[UNREADABLE] else ""
        lines.append(f"{kind}: {', '.join(parts)}{unreadable}")
    lines.append(_verdict(usage))
    return "\n".join(lines)


def usage_json(usage: KeyUsage) -> dict[str, Any]:
    """What `cowpoke key usage --json` prints; positions count from 1, as in `usage_text`."""
    sealed = {
        kind: {"no key" if n == UNREADABLE else f"key {n}": count for n, count in counts.items()}
        for kind, counts in usage.sealed.items()
    }
    return {
        "complete": usage.is_round_complete,
        "fingerprints": usage.fingerprints,
        "programs": usage.holders,
        "sealed": sealed,
    }


def _line_of(one: Holder) -> str:
    host = f" of host {one.host_uuid}" if one.host_uuid else ""
    found = "its lease cannot be opened" if one.fingerprints is None else " ".join(one.fingerprints)
    return f"  {one.kind} {one.program_id}{host}: {found}"


def _verdict(usage: KeyUsage) -> str:
    if usage.is_round_complete:
        return "complete: the next round may begin"
    if usage.others:
        return "not complete: restart the programs above with the keys of QUEUE_KEY"
    return "not complete: an older key is in use; cowpoke key reseal, or wait 10 minutes"


def fingerprints_text(keyring: ClusterKeyring, host_uuids: Sequence[str]) -> str:
    """What `cowpoke key fingerprints` prints; the key that seals comes first.

    The line `bridge` is what bridges show as their own, the lines `host` what the workers of a host
    show, whether they have HOST_KEY or QUEUE_KEY.
    """
    lines = [f"bridge {' '.join(keyring.fingerprints)}"]
    lines += [f"host {one} {' '.join(keyring.host(one).fingerprints)}" for one in host_uuids]
    return "\n".join(lines)
