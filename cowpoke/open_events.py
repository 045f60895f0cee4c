"""Events without an answer, as people see them. What a host can forge in them decides nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from cowpoke import keys
from cowpoke.broker import answers
from cowpoke.envelopes import UnknownVersionError, opened_envelope, opened_event
from cowpoke.events import Event
from cowpoke.history import EventStep
from cowpoke.ledger.entries import OPEN_STATES
from cowpoke.ledger.stories import read_steps
from cowpoke.lengths import bounded_int
from cowpoke.scrubbing import Scrubber
from cowpoke.seal import ClusterKeyring, SealBrokenError
from cowpoke.secrets import without_secrets

_TEXTS = ("state", "name", "lane", "boot")
_COUNTS = (
    *("received_ms", "deadline_ms", "queued_ms", "retry_at_ms", "claimed_ms", "rejected_ms"),
    *("attempts", "sends", "deaths"),
)
_FIELDS = (*_TEXTS, *_COUNTS, "envelope", "steps")
_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenEvent:
    """An event without an answer. All times are by the Redis server's clock, 0 for none."""

    event_id: str
    host_uuid: str
    name: str
    #: `instanceHostMap:1ihm50`, or `-`; empty where our keys do not open the envelope.
    resource: str
    #: What a person looks for: `web-1 (1i37) nginx:1.25`.
    summary: str
    lane: str
    #: `recorded`, `queued` or `claimed`.
    state: str
    received_ms: int
    deadline_ms: int
    queued_ms: int
    #: When its next try may begin.
    retry_at_ms: int
    claimed_ms: int
    #: When a worker first could not read it.
    rejected_ms: int
    #: How often a process claimed it, how often it was sent, how many processes died with it.
    attempts: int
    sends: int
    deaths: int
    #: The process that has it.
    worker: str
    #: What happened to it so far, in order.
    steps: tuple[EventStep, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        content: dict[str, Any] = {
            name: getattr(self, name) for name in self.__slots__ if name != "steps"
        }
        content["host"] = content.pop("host_uuid")
        content["outcome"] = "open"
        steps = [{"at_ms": one.at_ms, "step": one.step, "detail": one.detail} for one in self.steps]
        return {**content, "steps": steps}


def read_open_events(
    client: "redis.Redis", keyring: ClusterKeyring, hosts: Sequence[str] | None = None
) -> list[OpenEvent]:
    """Return the events without an answer of some hosts, or of all; the latest first.

    What is no event of ours is left out. Errors: redis.RedisError.
    """
    found = list(_read(client, keyring, open_ids(client, hosts)))
    return sorted(found, key=lambda one: one.received_ms, reverse=True)


def open_ids(client: "redis.Redis", hosts: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Return host and id of the events without an answer. Errors: redis.RedisError."""
    uuids = sorted(map(str, client.smembers(keys.HOSTS))) if hosts is None else list(hosts)
    found: list[tuple[str, str]] = []
    for first in range(0, len(uuids), _AT_ONCE):
        some = uuids[first : first + _AT_ONCE]
        with client.pipeline(transaction=False) as pipe:
            for host_uuid in some:
                pipe.zrange(keys.open_events(host_uuid), 0, -1)
            rows = answers(pipe)
        for host_uuid, row in zip(some, rows, strict=True):
            if not isinstance(row, Exception):
                found += [(host_uuid, str(event_id)) for event_id in row]
    return found


def _read(
    client: "redis.Redis", keyring: ClusterKeyring, ids: Sequence[tuple[str, str]]
) -> Iterator[OpenEvent]:
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        with client.pipeline(transaction=False) as pipe:
            for host_uuid, event_id in some:
                pipe.hmget(keys.event(host_uuid, event_id), _FIELDS)
            rows = answers(pipe)
        for (host_uuid, event_id), row in zip(some, rows, strict=True):
            if not isinstance(row, Exception) and row[0] in OPEN_STATES:
                yield _open_event(keyring, host_uuid, event_id, row)


def read_open_event(
    client: "redis.Redis", keyring: ClusterKeyring, host_uuid: str, event_id: str
) -> OpenEvent | None:
    """Return one event; None when it has an answer. Errors: redis.RedisError."""
    return next(_read(client, keyring, [(host_uuid, event_id)]), None)


def read_data(client: "redis.Redis", keyring: ClusterKeyring, host_uuid: str, event_id: str) -> Any:  # noqa: ANN401 -- cattle's JSON
    """Return what cattle sent with an event that has no answer, without all that is secret.

    None when our keys do not open it. Errors: redis.RedisError.
    """
    text: Any = client.hget(keys.event(host_uuid, event_id), "payload")
    try:
        event = opened_event(
            keyring.host(host_uuid), text or "", event_id=event_id, host_uuid=host_uuid, now_ms=0
        )
        return _scrubbed(without_secrets(dict(event.data)), Scrubber.of(event.data))
    except (SealBrokenError, UnknownVersionError, RecursionError):
        return None


def _scrubbed(value: Any, scrubber: Scrubber) -> Any:  # noqa: ANN401 -- cattle's JSON
    """Return JSON without the values that are secret elsewhere in the event."""
    if isinstance(value, Mapping):
        return {scrubber(str(key)): _scrubbed(inner, scrubber) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scrubbed(inner, scrubber) for inner in value]
    return scrubber(value) if isinstance(value, str) else value


def _open_event(
    keyring: ClusterKeyring, host_uuid: str, event_id: str, row: Sequence[Any]
) -> OpenEvent:
    fields: dict[str, Any] = {
        name: str(value or "") for name, value in zip(_TEXTS, row, strict=False)
    }
    counts = {name: _count(value) for name, value in zip(_COUNTS, row[len(_TEXTS) :], strict=False)}
    envelope, steps = row[-2:]
    resource = summary = ""
    try:
        opened = opened_envelope(keyring.bridge, envelope or "", host_uuid=host_uuid)
        event = Event.model_validate({**opened.echo, "data": None})
        resource, summary = event.resource, opened.summary
    except (SealBrokenError, UnknownVersionError):
        pass  # it is shown as far as it is known
    boot = fields.pop("boot")
    return OpenEvent(
        event_id=event_id,
        host_uuid=host_uuid,
        resource=resource,
        summary=summary,
        worker=boot,
        steps=tuple(_steps(counts, boot, str(steps or ""))),
        **(fields | counts),
    )


def _steps(counts: dict[str, int], boot: str, noted: str) -> list[EventStep]:
    # The sort keeps this order where two things happened in the same ms.
    steps = [EventStep(at_ms=counts["received_ms"], step="received"), *read_steps(noted)]
    times = {one.at_ms for one in steps}
    if counts["queued_ms"] not in times | {0}:
        steps.append(EventStep(at_ms=counts["queued_ms"], step="queued"))
    if boot:
        steps.append(EventStep(at_ms=counts["claimed_ms"], step="claimed", detail=boot))
    return sorted(steps, key=lambda one: one.at_ms)


def _count(value: object) -> int:
    try:
        return max(bounded_int(value), 0)
    except (TypeError, ValueError):
        return 0
