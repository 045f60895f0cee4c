"""`cowpoke status`: the state of an installation on one screen."""

from collections import Counter
from collections.abc import Sequence

from cowpoke.bridge_lease import WebsocketState
from cowpoke.cli import describing
from cowpoke.cli.output import Cell, Tone, cell, moment, print_line, print_table, size, span
from cowpoke.overview.views import HostView, Overview

MOST_HOSTS = 20
MOST_PROBLEMS = 15
MOST_ERRORS = 5


def print_status(overview: Overview) -> None:
    """Print the state, the problems first."""
    print_problems(overview)
    print_line()
    for name, found in _summary(overview):
        print_line(f"{name:<13} {found.text}", found.tone)
    print_line()
    print_table(
        describing.HOST_COLUMNS,
        [describing.host_row(host) for host in _chosen_hosts(overview)],
        title=f"hosts: {len(overview.hosts)}",
    )
    left_out = len(overview.hosts) - MOST_HOSTS
    if left_out > 0:
        print_line(f"... and {left_out} more: cowpoke hosts list", Tone.FAINT)
    errors = describing.error_rows(overview.bridges, MOST_ERRORS)
    if errors:
        print_line()
        print_table(describing.ERROR_COLUMNS, errors, title="last errors of bridges")


def print_problems(overview: Overview) -> None:
    """Print what is wrong, or that nothing is."""
    needed = sum(problem.needs_person for problem in overview.problems)
    if needed:
        said = "1 problem needs a person" if needed == 1 else f"{needed} problems need a person"
        print_line(said, Tone.BAD)
    else:
        print_line("nothing needs a person", Tone.GOOD)
    shown = overview.problems[:MOST_PROBLEMS]
    print_table(describing.PROBLEM_COLUMNS, describing.problem_rows(shown, overview.hosts))
    left_out = len(overview.problems) - len(shown)
    if left_out:
        print_line(f"... and {left_out} more: cowpoke status --json", Tone.FAINT)


def _summary(overview: Overview) -> list[tuple[str, Cell]]:
    server, live = overview.redis, [bridge for bridge in overview.bridges if bridge.alive]
    urls = sorted({bridge.server for bridge in live if bridge.server})
    memory = size(server.used_memory_bytes)
    if server.max_memory_bytes:
        memory += f" of {size(server.max_memory_bytes)}"
    websockets = Counter(
        host.websocket.state for host in overview.hosts if host.websocket is not None
    )
    websockets.update(
        report.state for bridge in live for report in bridge.websockets if not report.host_uuid
    )
    hosts_alive = sum(host.is_alive for host in overview.hosts)
    replies = sum(count or 0 for count in server.outcomes.values())
    waited = "" if server.oldest_outcome_s is None else f", oldest {span(server.oldest_outcome_s)}"
    dead = (server.dead_letters or 0) + sum(host.dead_letters or 0 for host in overview.hosts)
    return [
        ("time", cell(moment(server.now_ms))),
        ("server", cell(", ".join(urls))),
        (
            "redis",
            cell(
                f"{server.version}, up {span(server.uptime_s)}, {memory}, clients: {server.clients}"
            ),
        ),
        ("bridges", Cell(f"{len(live)} live", Tone.PLAIN if live else Tone.BAD)),
        *(("", Cell(describing.bridge_line(bridge, server.now_ms))) for bridge in overview.bridges),
        ("websockets", _websockets(websockets)),
        ("hosts", cell(f"{len(overview.hosts)}, {hosts_alive} with a worker")),
        ("open events", cell(_open_events(overview.hosts))),
        ("queues", cell(_queues(overview.hosts))),
        ("replies", cell(f"{replies} wait for cattle{waited}")),
        ("dead letters", Cell(str(dead), Tone.BAD if dead else Tone.PLAIN)),
    ]


def _websockets(states: "Counter[WebsocketState]") -> Cell:
    texts = [f"{states[state]} {state}" for state in WebsocketState if states[state]]
    bad = states[WebsocketState.REFUSED] + states[WebsocketState.REMOVED]
    return Cell(", ".join(texts) or "none", Tone.BAD if bad else Tone.PLAIN)


def _open_events(hosts: Sequence[HostView]) -> str:
    total = sum(host.open_events or 0 for host in hosts)
    oldest = max(
        (host.oldest_event for host in hosts if host.oldest_event),
        key=lambda event: event.age_s,
        default=None,
    )
    if oldest is None:
        return str(total)
    return f"{total}, oldest {span(oldest.age_s)}: {oldest.name} {oldest.event_id}"


def _queues(hosts: Sequence[HostView]) -> str:
    lengths: Counter[str] = Counter()
    oldest_s: list[float] = []
    for host in hosts:
        for lane, queue in host.queues.items():
            lengths[lane] += queue.length or 0
            if queue.oldest_s is not None:
                oldest_s.append(queue.oldest_s)
    text = ", ".join(f"{lane} {count}" for lane, count in lengths.items()) or "empty"
    return f"{text}, oldest {span(max(oldest_s))}" if oldest_s else text


def _chosen_hosts(overview: Overview) -> list[HostView]:
    """Return the hosts that a screen has room for: first those with a problem."""
    troubled = {one.subject: one.needs_person for one in reversed(overview.problems)}

    def rank(host: HostView) -> tuple[bool, bool, str]:
        is_troubled = host.host_uuid in troubled
        return (not troubled.get(host.host_uuid, False), not is_troubled, host.host_uuid)

    return sorted(overview.hosts, key=rank)[:MOST_HOSTS]
