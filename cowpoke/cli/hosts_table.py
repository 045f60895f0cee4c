"""`cowpoke hosts list`, `hosts show` and `hosts forget`."""

import sys
from collections import Counter

import redis

from cowpoke.cli import describing
from cowpoke.cli.host_names import hosts_named
from cowpoke.cli.output import cell, moment, print_line, print_table, size, span
from cowpoke.figures import CALL_GROUPS, Durations
from cowpoke.forgetting import forget_host
from cowpoke.overview.views import HostView, Overview


def find_host(overview: Overview, name: str, command: str) -> HostView:
    """Return the host with a uuid, the beginning of one, or a name; exit with 1 without one."""
    found = hosts_named(name, ((one, one.host_uuid, one.hostname) for one in overview.hosts))
    if len(found) == 1:
        return found[0]
    if not found:
        sys.exit(f"{command}: no host has the uuid or the name {name!r}; see cowpoke hosts list")
    uuids = ", ".join(cell(host.host_uuid).text for host in found[:10])
    sys.exit(f"{command}: {len(found)} hosts fit {name}: {uuids}")


def print_hosts(overview: Overview) -> None:
    """Print all hosts."""
    print_table(describing.HOST_COLUMNS, [describing.host_row(host) for host in overview.hosts])
    if not overview.hosts:
        print_line("no host is known; on a host: cowpoke join")


def print_host(overview: Overview, host: HostView) -> None:
    """Print all of one host."""
    now_ms = overview.redis.now_ms
    problems = [one for one in overview.problems if one.subject == host.host_uuid]
    engine, event, agent = host.engine, host.oldest_event, host.agent
    lines = [
        ("host", describing.host_cell(host)),
        ("name", describing.name_cell(host)),
        ("engine", describing.engine_cell(host)),
        ("lanes", describing.lanes_cell(host)),
        ("open events", describing.open_cell(host)),
        ("outbox", cell(describing.count_text(host.outbox))),
        ("dead letters", cell(describing.count_text(host.dead_letters))),
        ("last seen", cell(moment(host.last_seen_ms))),
    ]
    if engine is not None:
        said = engine.reason or f"API {engine.api_version}, since {moment(engine.since_ms)}"
        lines.insert(3, ("", cell(said)))
    if event is not None:
        said = f"{event.event_id} {event.name}, {event.state}, {span(event.age_s)} old"
        lines.append(("oldest event", cell(f"{said}, {span(event.left_s)} left")))
    if agent is not None:
        came = (
            f"joined {moment(agent.joined_ms)}" if agent.joined else "in the settings of a bridge"
        )
        lines.append(
            ("agent", cell(f"{agent.access_key or '?'}, {came}, {agent.cattle_url or ''}"))
        )
        if agent.removed_since_ms is not None:
            said = f"in Rancher, noticed {moment(agent.removed_since_ms)}"
            lines.append(("removed", cell(said)))
    for name, found in lines:
        print_line(f"{name:<13} {found.text}", found.tone)
    if problems:
        print_line()
        print_table(
            describing.PROBLEM_COLUMNS, describing.problem_rows(problems, (host,)), title="problems"
        )
    print_line()
    queues = [
        (lane, describing.count_text(queue.length), span(queue.oldest_s))
        for lane, queue in host.queues.items()
    ]
    print_table(("lane", "queued", "oldest"), queues)
    _print_websockets(host, now_ms)
    print_line()
    rows = [describing.worker_row(host, worker, now_ms) for worker in host.workers]
    print_table(describing.WORKER_COLUMNS, rows, title=f"workers: {len(rows)}")
    _print_calls(host)


def _print_websockets(host: HostView, now_ms: int) -> None:
    if not host.websockets:
        return
    print_line()
    rows = [
        (
            cell(one.bridge_id),
            cell(one.agent),
            cell(one.state),
            cell(span((now_ms - one.since_ms) / 1000)),
            cell(None if one.last_ping_ms is None else span((now_ms - one.last_ping_ms) / 1000)),
            cell(one.reason),
        )
        for one in host.websockets
    ]
    columns = ("bridge", "agent", "websocket", "for", "last ping", "why")
    print_table(columns, rows, title="websockets")


def _print_calls(host: HostView) -> None:
    """Print the calls to the Engine of all workers together."""
    totals: dict[str, list[float]] = {}
    pulls: Counter[str] = Counter()
    for worker in host.workers:
        for figures in worker.figures.values():
            pulls.update(count=figures.pulls.count, errors=figures.pulls.errors)
            pulls.update(bytes=figures.pulls.bytes)
            for group, one in figures.calls.items():
                _add(totals.setdefault(group, [0, 0, 0]), one)
    if not totals:
        return
    print_line()
    rows = [
        (group, f"{count:.0f}", f"{errors:.0f}", span(seconds / count if count else 0))
        for group in CALL_GROUPS
        if group in totals
        for count, errors, seconds in (totals[group],)
    ]
    print_table(("engine calls", "count", "errors", "mean"), rows)
    if pulls["count"]:
        print_line(
            f"pulls: {pulls['count']}, {pulls['errors']} failed, {size(pulls['bytes'])} downloaded"
        )


def _add(totals: list[float], one: Durations) -> None:
    for position, number in enumerate((one.count, one.errors, one.seconds)):
        totals[position] += number


def why_not_forgotten(host: HostView) -> str:
    """Return why a host is still in use; empty when it is gone."""
    reasons = []
    if host.workers:
        reasons.append(f"{len(host.workers)} of its workers live")
    if host.open_events or host.open_events is None:
        reasons.append(f"{describing.count_text(host.open_events)} of its events are open")
    if host.outbox or host.outbox is None:
        reasons.append(f"{describing.count_text(host.outbox)} outcomes are not collected")
    return ", ".join(reasons)


def forget(client: "redis.Redis", host: HostView) -> None:
    """Remove what Redis keeps of a host, and say what else names it.

    Errors: redis.RedisError.
    """
    count = forget_host(client, host.host_uuid)
    print_line(f"forgot host {host.host_uuid}: {count} keys removed")
    if host.websockets and not (host.agent is not None and host.agent.joined):
        print_line(
            "its agent is in the settings of a bridge; take it out there, or the host stays listed"
        )
