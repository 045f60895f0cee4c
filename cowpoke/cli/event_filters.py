"""Which events `cowpoke events` is to show."""

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from cowpoke.cli.host_names import hosts_named
from cowpoke.cli.shown import shown
from cowpoke.history import FinishedEvent
from cowpoke.history_search import find_finished
from cowpoke.keys import HOSTS, SEEN
from cowpoke.open_events import OpenEvent, open_ids
from cowpoke.overview.hosts import read_hosts
from cowpoke.seal import ClusterKeyring, Keyring

Shown = OpenEvent | FinishedEvent

#: Shorter beginnings of ids fit many events.
_LEAST_ID_CHARS = 4


class NotTheOneError(Exception):
    """Raised when no host, or more than one host or event, is named so; the text is a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFilter:
    """What an event must be like; a None says nothing."""

    #: Part of cattle's name of the event.
    name: str | None = None
    outcome: str | None = None
    code: str | None = None
    #: Part of its resource, or of the line that says what it is about.
    resource: str | None = None
    #: It ended since then, or is open (Unix time in ms).
    since_ms: int | None = None

    def fits(self, event: Shown) -> bool:
        """Whether an event is to be shown."""
        if isinstance(event, OpenEvent):
            outcome, code, ended_ms = "open", "", None
        else:
            outcome, code, ended_ms = event.outcome, event.code, event.ended_ms
        about = f"{event.resource} {event.summary}".lower()
        return (
            (self.name is None or self.name in event.name)
            and (self.outcome is None or self.outcome == outcome)
            and (self.code is None or self.code == code)
            and (self.resource is None or self.resource.lower() in about)
            and (self.since_ms is None or ended_ms is None or ended_ms >= self.since_ms)
        )


def host_uuid_of(client: "redis.Redis", keyring: ClusterKeyring, name: str) -> str:
    """Return the uuid of the one host with this uuid, beginning of one, or name of its machine.

    Errors: NotTheOneError when there is none, or several; redis.RedisError.
    """
    known = {*map(str, client.smembers(HOSTS)), *map(str, client.zrange(SEEN, 0, -1))}
    if name in known:
        return name
    hosts = read_hosts(client, keyring, sorted(known)).hosts
    found = hosts_named(name, ((one.host_uuid, one.host_uuid, one.hostname) for one in hosts))
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotTheOneError(
            f"no host has the uuid or the name {shown(name)}; see: cowpoke hosts list"
        )
    listed = ", ".join(map(shown, found[:10]))
    raise NotTheOneError(f"{len(found)} hosts have such a uuid or name: {listed}")


def the_open_event(
    client: "redis.Redis", beginning: str, host_uuid: str | None
) -> tuple[str, str] | None:
    """Return host and id of the one event without an answer whose id begins so; None without any.

    Errors: NotTheOneError when there are several; redis.RedisError.
    """
    _check_length(beginning)
    hosts = None if host_uuid is None else [host_uuid]
    found = [one for one in open_ids(client, hosts) if one[1].startswith(beginning)]
    exact = [one for one in found if one[1] == beginning]
    found = exact or found
    if len(found) > 1:
        raise _several([f"{event_id} of host {host}" for host, event_id in found])
    return found[0] if found else None


def the_finished_events(
    client: "redis.Redis", keyring: Keyring, beginning: str, host_uuid: str | None
) -> list[FinishedEvent]:
    """Return the ends of the one event whose id begins so, the newest first; none without any.

    Errors: NotTheOneError when several events fit; redis.RedisError.
    """
    _check_length(beginning)
    hosts = None if host_uuid is None else [host_uuid]
    found = find_finished(client, keyring, beginning, hosts)
    exact = [one for one in found if one.event_id == beginning]
    found = exact or found
    names = sorted({f"{one.event_id} of host {one.host_uuid}" for one in found})
    if len(names) > 1:
        raise _several(names)
    return found


def _check_length(beginning: str) -> None:
    if len(beginning) < _LEAST_ID_CHARS:
        raise NotTheOneError(
            f"{shown(beginning)!r} is too short for an event's id; give at least "
            f"{_LEAST_ID_CHARS} characters of it"
        )


def _several(names: Sequence[str]) -> NotTheOneError:
    listed = "; ".join(map(shown, names[:10]))
    return NotTheOneError(
        f"{len(names)} events have an id that begins so: {listed}; give more of it, or --host"
    )
