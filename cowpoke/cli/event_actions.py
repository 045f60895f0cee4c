"""What the subcommands of `cowpoke events` do. Errors end them with a sentence and exit code 1."""

import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import click
import redis

from cowpoke.cli.event_filters import (
    EventFilter,
    NotTheOneError,
    host_uuid_of,
    the_finished_events,
    the_open_event,
)
from cowpoke.cli.event_tables import as_json as json_of
from cowpoke.cli.event_tables import follow_line, print_event, print_events
from cowpoke.cli.output import confirm, print_json, print_json_line
from cowpoke.cli.redis_session import redis_session
from cowpoke.cli.shown import shown
from cowpoke.clock import Clock
from cowpoke.history import FinishedEvent, read_history, read_recent
from cowpoke.history_search import last_pointer, read_after
from cowpoke.ledger.operator import Did, OperatorLedger
from cowpoke.open_events import OpenEvent, read_data, read_open_event, read_open_events
from cowpoke.seal import ClusterKeyring

_LIST, _SHOW, _RETRY, _DROP, _FOLLOW = (
    f"cowpoke events {name}" for name in ("list", "show", "retry", "drop", "follow")
)
#: More than any history has.
_ALL = 100_000
_FOLLOW_BLOCK_MS = 1_000
_FOLLOW_RETRY_S = 1.0
#: What became of a wish, in words.
_DID = {
    Did.QUEUED: "it is queued now",
    Did.DROPPED: "cattle gets the error `dropped`",
    Did.WAITING: "it waits in its queue already",
    Did.LATE: "its deadline has passed",
    Did.RECORDED: "it waits for an earlier event of the same resource",
    Did.CLAIMED: "a worker runs it now",
    Did.ANSWERED: "it was answered meanwhile",
    Did.EXPIRED: "it expired meanwhile",
    Did.GONE: "Redis does not have it any more",
    Did.UNKNOWN: "it is of a later version",
}


def list_events(wanted: EventFilter, *, host: str | None, most: int, as_json: bool) -> None:
    """Print events without an answer, and then the last ones that are over."""
    with redis_session(_LIST) as (client, settings):
        keyring = settings.cluster_keyring()
        ended: Sequence[FinishedEvent]
        if host is None:
            running, ended = read_open_events(client, keyring), read_recent(client, keyring)
        else:
            uuid = _host(_LIST, client, keyring, host)
            running = read_open_events(client, keyring, [uuid])
            ended = read_history(client, keyring, uuid, _ALL)
        now_ms = Clock(client).now_ms()
    events: list[OpenEvent | FinishedEvent] = [*running, *ended]
    found = [one for one in events if wanted.fits(one)][:most]
    if as_json:
        print_json([json_of(one) for one in found])
    else:
        print_events(found, now_ms)


def show_event(beginning: str, *, host: str | None, with_data: bool, as_json: bool) -> None:
    """Print all of one event; several times if cattle sent it again after its end."""
    data = None
    with redis_session(_SHOW) as (client, settings):
        keyring = settings.cluster_keyring()
        now_ms = Clock(client).now_ms()
        uuid = None if host is None else _host(_SHOW, client, keyring, host)
        try:
            place = the_open_event(client, beginning, uuid)
            running = None if place is None else read_open_event(client, keyring, *place)
            found: list[OpenEvent | FinishedEvent] = [] if running is None else [running]
            if running is None:
                found += the_finished_events(client, keyring, beginning, uuid)
            elif with_data and place is not None:
                data = read_data(client, keyring, *place)
        except NotTheOneError as problem:
            _fail(_SHOW, problem)
    if not found:
        more = "" if host else "; give --host to look at all that is kept of its host"
        sys.exit(f"{_SHOW}: no event {shown(beginning)} is known{more}")
    if as_json:
        print_json([json_of(one, data) for one in found])
        return
    for position, one in enumerate(found):
        if position:
            click.echo()
        print_event(one, now_ms, data)


def retry_event(beginning: str, *, host: str | None) -> None:
    """Queue an event now that waits for its next try."""
    with redis_session(_RETRY) as (client, settings):
        keyring = settings.cluster_keyring()
        host_uuid, event_id = _open(_RETRY, client, keyring, beginning, host)
        did = OperatorLedger(client, keyring).retry(host_uuid, event_id)
    _tell(_RETRY, event_id, did)


def drop_event(beginning: str, *, host: str | None, reason: str, yes: bool) -> None:
    """Answer an event with an error; ask before."""
    with redis_session(_DROP) as (client, settings):
        keyring = settings.cluster_keyring()
        host_uuid, event_id = _open(_DROP, client, keyring, beginning, host)
        event = read_open_event(client, keyring, host_uuid, event_id)
        if event is not None and not event.resource:
            # Its answer would be sealed with a key of no bridge: cattle would hear nothing.
            sys.exit(
                f"{_DROP}: nothing was changed; QUEUE_KEY does not open event {shown(event_id)}: "
                "give the command the key of the bridges"
            )
        about = "" if event is None else f" ({event.name}, {event.summary or event.resource})"
        question = f"Answer event {event_id}{about} of host {host_uuid} with an error?"
        confirm(shown(question, 500), yes=yes, command=_DROP)
        did = OperatorLedger(client, keyring).drop(host_uuid, event_id, reason)
    _tell(_DROP, event_id, did)


def follow_events(wanted: EventFilter, *, host: str | None, as_json: bool) -> None:
    """Print events as they end, until interrupted; an outage of Redis is waited out."""
    with redis_session(_FOLLOW) as (client, settings):
        keyring = settings.cluster_keyring()
        uuid = None if host is None else _host(_FOLLOW, client, keyring, host)
        after = last_pointer(client)
        click.echo("waiting for events to end; stop with Ctrl+C", err=True)
        while True:
            try:
                after, ended = read_after(client, keyring, after, block_ms=_FOLLOW_BLOCK_MS)
            except (redis.ConnectionError, redis.TimeoutError) as problem:
                click.echo(f"Redis does not answer: {shown(problem)}", err=True)
                time.sleep(_FOLLOW_RETRY_S)
                continue
            for one in ended:
                if wanted.fits(one) and uuid in {None, one.host_uuid}:
                    print_json_line(json_of(one)) if as_json else follow_line(one)
            sys.stdout.flush()


def _host(command: str, client: "redis.Redis", keyring: ClusterKeyring, name: str) -> str:
    try:
        return host_uuid_of(client, keyring, name)
    except NotTheOneError as problem:
        _fail(command, problem)


def _open(
    command: str,
    client: "redis.Redis",
    keyring: ClusterKeyring,
    beginning: str,
    host: str | None,
) -> tuple[str, str]:
    uuid = None if host is None else _host(command, client, keyring, host)
    try:
        place = the_open_event(client, beginning, uuid)
    except NotTheOneError as problem:
        _fail(command, problem)
    if place is None:
        sys.exit(
            f"{command}: no event without an answer has the id {shown(beginning)}; see: "
            "cowpoke events list --outcome open"
        )
    return place


def _tell(command: str, event_id: str, did: Did) -> None:
    sentence = f"event {shown(event_id)}: {_DID[did]}"
    if did not in {Did.QUEUED, Did.DROPPED}:
        sys.exit(f"{command}: nothing was changed; {sentence}")
    click.echo(sentence)


def _fail(command: str, problem: Any) -> NoReturn:  # noqa: ANN401 -- any error with a sentence
    sys.exit(f"{command}: {problem}")
