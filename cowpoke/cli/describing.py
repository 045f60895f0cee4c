"""The views of an overview as cells of a table."""

from collections.abc import Iterable

from cowpoke.bridge_lease import WebsocketState
from cowpoke.cli.output import Cell, Tone, cell, moment, span
from cowpoke.overview.conditions import Problem
from cowpoke.overview.views import BridgeView, HostView, WorkerView

_UUID_CHARS = 60
_NAME_CHARS = 40
_REASON_CHARS = 60

_WEBSOCKET_TONES = {
    WebsocketState.OPEN: Tone.GOOD,
    WebsocketState.CONNECTING: Tone.WARNING,
    WebsocketState.WAITING: Tone.WARNING,
    WebsocketState.REFUSED: Tone.BAD,
    WebsocketState.REMOVED: Tone.BAD,
}


def host_cell(host: HostView) -> Cell:
    """Return the uuid of a host."""
    return cell(host.host_uuid, most=_UUID_CHARS)


def name_cell(host: HostView) -> Cell:
    """Return the name of the machine; `-` if no worker says it."""
    return cell(host.hostname, most=_NAME_CHARS)


def workers_cell(host: HostView) -> Cell:
    """Return how many workers live."""
    return Cell(str(len(host.workers)), Tone.PLAIN if host.workers else Tone.BAD)


def lanes_cell(host: HostView) -> Cell:
    """Return the processes that take events by lane: `compute 1, control 1, images 0`."""
    lanes = host.lanes()
    text = ", ".join(f"{lane} {count}" for lane, count in lanes.items())
    missing = bool(host.workers) and not all(lanes.values())
    return cell(text if host.workers else None, Tone.BAD if missing else Tone.PLAIN)


def worker_lanes_cell(worker: WorkerView) -> Cell:
    """Return the lanes of one worker; those that take no events are marked."""
    if worker.lease is None:
        return Cell("sealed with another key", Tone.BAD)
    lanes = [one.lane + ("" if one.consumes else " (waits)") for one in worker.lease.lanes]
    waits = not all(one.consumes for one in worker.lease.lanes)
    return cell(", ".join(lanes), Tone.WARNING if waits else Tone.PLAIN)


def engine_cell(host: HostView) -> Cell:
    """Return the version of the Engine, or that it does not answer."""
    engine = host.engine
    if engine is None:
        return cell(None)
    if not engine.reachable:
        return Cell("unreachable", Tone.BAD)
    return cell(engine.version, Tone.GOOD, most=_NAME_CHARS)


def websocket_cell(host: HostView) -> Cell:
    """Return the state of the websocket of the agent of a host."""
    websocket = host.websocket
    if host.agent is not None and host.agent.removed_since_ms is not None:
        return Cell("removed in Rancher", Tone.BAD)
    if websocket is None:
        joined = host.agent is not None and host.agent.joined
        return Cell("not served", Tone.BAD) if joined else cell(None)
    if websocket.silent:
        return Cell("open, silent", Tone.BAD)
    return Cell(str(websocket.state), _WEBSOCKET_TONES[websocket.state])


def queued_cell(host: HostView) -> Cell:
    """Return the messages that wait by lane; `0` if none does."""
    waiting = {lane: queue.length for lane, queue in host.queues.items() if queue.length != 0}
    return Cell(", ".join(f"{lane} {count_text(n)}" for lane, n in waiting.items()) or "0")


def open_cell(host: HostView) -> Cell:
    """Return the open events by state; `0` without one."""
    states = ", ".join(f"{state} {count}" for state, count in host.open_states.items())
    total = count_text(host.open_events)
    return cell(f"{total} ({states})" if states else total)


def oldest_cell(host: HostView) -> Cell:
    """Return the age of the oldest open event."""
    event = host.oldest_event
    if event is None:
        return cell(None)
    return cell(f"{span(event.age_s)} {event.name}", Tone.BAD if event.left_s < 0 else Tone.PLAIN)


HOST_COLUMNS = (
    *("host", "name", "workers", "lanes", "engine", "websocket", "queued", "open events", "oldest"),
)


def host_row(host: HostView) -> tuple[Cell, ...]:
    """Return one host, by `HOST_COLUMNS`."""
    return (
        host_cell(host),
        name_cell(host),
        workers_cell(host),
        lanes_cell(host),
        engine_cell(host),
        websocket_cell(host),
        queued_cell(host),
        open_cell(host),
        oldest_cell(host),
    )


def bridge_line(bridge: BridgeView, now_ms: int) -> str:
    """Return one bridge: `b-1 on hub1, 0.2.0, up 3 h`."""
    parts = [f"{bridge.bridge_id} on {bridge.hostname or '?'}"]
    if not bridge.alive:
        parts = [bridge.bridge_id, "dead"]
    elif not bridge.readable:
        parts = [bridge.bridge_id, "sealed with another key"]
    else:
        parts += [bridge.version or "?", f"up {span((now_ms - bridge.started_ms) / 1000)}"]
    if bridge.outcomes:
        parts.append(f"{bridge.outcomes} replies in hand")
    return cell(", ".join(parts)).text


def worker_row(host: HostView, worker: WorkerView, now_ms: int) -> tuple[Cell, ...]:
    """Return one worker, by `WORKER_COLUMNS`."""
    lease = worker.lease
    if lease is None:
        name, version, age = cell(None), cell(None), cell(None)
    else:
        name = cell(lease.hostname, most=_NAME_CHARS)
        version = cell(lease.version, most=_NAME_CHARS)
        age = cell(span(max(now_ms - lease.started_ms, 0) / 1000))
    calls = [one for figures in worker.figures.values() for one in figures.calls.values()]
    errors = sum(one.errors for one in calls)
    return (
        cell(worker.worker_id, most=_NAME_CHARS),
        host_cell(host),
        name,
        version,
        age,
        worker_lanes_cell(worker),
        engine_cell(host),
        cell(f"{sum(one.count for one in calls)}" if calls else None),
        cell(errors if calls else None, Tone.WARNING if errors else Tone.PLAIN),
    )


WORKER_COLUMNS = (
    *("worker", "host", "name", "version", "up", "lanes", "engine", "engine calls", "errors"),
)


def problem_rows(problems: Iterable[Problem], hosts: Iterable[HostView]) -> list[tuple[Cell, ...]]:
    """Return each problem: code, where, what, what to do."""
    names = {host.host_uuid: host.hostname for host in hosts}
    rows: list[tuple[Cell, ...]] = []
    for one in problems:
        name = names.get(one.subject, "")
        where = f"{one.subject} ({name})" if name else one.subject
        rows.append(
            (
                Cell(one.code, Tone.BAD if one.needs_person else Tone.WARNING),
                cell(where, most=_UUID_CHARS + _NAME_CHARS),
                cell(one.message),
                cell(one.advice, Tone.FAINT),
            )
        )
    return rows


PROBLEM_COLUMNS = ("problem", "where", "what", "what to do")


def error_rows(bridges: Iterable[BridgeView], most: int) -> list[tuple[Cell, ...]]:
    """Return the last errors that bridges logged, the newest first."""
    listed = [(error, bridge) for bridge in bridges for error in bridge.errors]
    listed.sort(key=lambda pair: pair[0].at_ms, reverse=True)
    return [
        (
            cell(moment(error.at_ms)),
            cell(bridge.bridge_id, most=_NAME_CHARS),
            cell(error.code, most=_NAME_CHARS),
            cell(error.message),
            cell(error.count),
        )
        for error, bridge in listed[:most]
    ]


ERROR_COLUMNS = ("at", "bridge", "log line", "what", "times")


def count_text(number: int | None) -> str:
    """Return a number; `?` for one that could not be read."""
    return "?" if number is None else str(number)
