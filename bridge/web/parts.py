"""The parts of the status page, from what was read of Redis. Pure functions."""

from collections.abc import Iterator, Mapping, Sequence

from bridge.web.markup import Content, Html, element, joined
from bridge.web.readiness import Health
from bridge.web.tables import Row, quiet, state, table
from bridge.web.words import count, counted, moment, size, span
from cowpoke.bridge_lease import WebsocketReport, WebsocketState
from cowpoke.history import Ending, FinishedEvent
from cowpoke.overview.conditions import CONDITIONS, Problem
from cowpoke.overview.views import BridgeView, Overview, RedisView

#: Subjects that are named of each kind of problem.
SUBJECTS = 5
#: Errors of bridges that are shown.
ERRORS = 10
#: Hosts whose oldest event is shown.
IN_FLIGHT = 20
_ENDINGS = {
    Ending.SUCCESS: "good",
    Ending.ERROR: "bad",
    Ending.EXPIRED: "warn",
    Ending.REFUSED: "warn",
}


def summary(problems: Sequence[Problem]) -> str:
    """Return the state of everything in one line."""
    urgent = sum(one.needs_person for one in problems)
    if urgent:
        return f"{counted(urgent, 'problem')} {'needs' if urgent == 1 else 'need'} a person"
    if problems:
        return f"Nothing needs a person; {counted(len(problems), 'thing')} to know"
    return "Nothing needs a person"


def problems_part(problems: Sequence[Problem]) -> Html:
    """Return what is wrong, by kind, the urgent ones first."""
    kinds: dict[str, list[Problem]] = {}
    for one in problems:
        kinds.setdefault(one.code, []).append(one)
    if not kinds:
        return element("p", "No problem was found.", class_="quiet")
    order = sorted(kinds.values(), key=lambda some: not any(one.needs_person for one in some))
    return element("ul", [_kind(some) for some in order], class_="problems")


def _kind(some: Sequence[Problem]) -> Html:
    first = some[0]
    more = len(some) - SUBJECTS
    subjects = [element("li", f"{one.subject}: {one.message}") for one in some[:SUBJECTS]]
    if more > 0:
        subjects.append(element("li", f"and {more:,} more"))
    urgent = any(one.needs_person for one in some)
    meaning = CONDITIONS[first.code].meaning
    return element(
        "li",
        element("h3", f"{meaning[:1].upper()}{meaning[1:]}"),
        element("ul", subjects),
        element("p", f"What to do: {first.advice}."),
        element("p", element("code", first.runbook), class_="quiet small"),
        class_="urgent" if urgent else "note",
        id=f"problem-{first.code}",
    )


def facts_part(overview: Overview) -> Html:
    """Return Redis and the sums of all hosts."""
    facts = element(
        "dl", [element("div", element("dt", k), element("dd", v)) for k, v in _facts(overview)]
    )
    return element("div", facts, class_="facts-of-redis")


def _facts(overview: Overview) -> Iterator[tuple[str, str]]:
    redis, hosts = overview.redis, overview.hosts
    alive = sum(host.is_alive for host in hosts)
    yield "Hosts", f"{count(len(hosts))}, {count(alive)} with a worker"
    opened = sum(one.state is WebsocketState.OPEN for one in _websockets(overview.bridges))
    yield "Open websockets", count(opened)
    yield "Events in flight", count(sum(host.open_events or 0 for host in hosts))
    queued = sum(queue.length or 0 for host in hosts for queue in host.queues.values())
    yield "Messages in queues", count(queued)
    yield "Replies that wait for cattle", _waiting(redis)
    dead = (redis.dead_letters or 0) + sum(host.dead_letters or 0 for host in hosts)
    yield "Dead letters", count(dead)
    yield "Redis", f"{redis.version}, up {span(redis.uptime_s)}"
    most = f" of {size(redis.max_memory_bytes)}" if redis.max_memory_bytes else ", no limit"
    yield "Memory of Redis", size(redis.used_memory_bytes) + most
    yield "Redis keeps events over a restart", "yes" if redis.appends else "no"


def _waiting(redis: RedisView) -> str:
    waiting = sum(length or 0 for length in redis.outcomes.values())
    oldest = redis.oldest_outcome_s
    return count(waiting) + (f", the oldest for {span(oldest)}" if oldest is not None else "")


def _websockets(bridges: Sequence[BridgeView]) -> Iterator[WebsocketReport]:
    for bridge in bridges:
        yield from bridge.websockets


def bridges_part(overview: Overview, health: Health, own_id: str) -> Html:
    """Return all bridges, what this one lacks, and the last errors."""
    rows = [_bridge(one, overview.redis.now_ms, own_id) for one in overview.bridges]
    columns = ("Bridge", "State", "Server", "Websockets", "Outcomes in hand")
    return joined(
        [
            table("The bridges of this Redis", columns, rows),
            health_part(health),
            *_errors(overview.bridges),
        ]
    )


def health_part(health: Health) -> Html:
    """Return whether the bridge that serves this page is ready, and why not."""
    told = [
        element("li", f"{one.message}{_named(one.agents, one.count)}")
        for one in (*health.reasons, *health.notes)
    ]
    word = state("ready", "good") if health.ready else state("not ready", "bad")
    return joined(
        [element("p", "This bridge is ", word, "."), element("ul", told) if told else None]
    )


def _named(agents: Sequence[str], number: int) -> str:
    more = number - len(agents)
    names = ", ".join(agents) + (f" and {more:,} more" if more > 0 else "")
    return f": {names}" if agents else ""


def _bridge(bridge: BridgeView, now_ms: int, own_id: str) -> Row:
    states: dict[str, int] = {}
    for one in bridge.websockets:
        states[one.state] = states.get(one.state, 0) + 1
    websockets = [
        state(f"{number:,} {name}", _websocket_kind(WebsocketState(name)))
        for name, number in sorted(states.items())
    ]
    if bridge.alive and bridge.started_ms:
        life: Content = [state("live", "good"), quiet(f"for {span_ms(now_ms, bridge.started_ms)}")]
    else:
        life = state("live", "good") if bridge.alive else state("gone", "bad")
    name = [
        element("code", bridge.bridge_id[:16]),
        quiet(f"{bridge.hostname} {bridge.version}".strip()),
        quiet("this page") if bridge.bridge_id == own_id else None,
    ]
    cells: Sequence[Content] = (name, life, bridge.server, websockets, count(bridge.outcomes))
    return Row(key=f"bridge-{bridge.bridge_id}", cells=cells)


def _websocket_kind(one: WebsocketState) -> str:
    if one is WebsocketState.OPEN:
        return "good"
    return "warn" if one in {WebsocketState.CONNECTING, WebsocketState.WAITING} else "bad"


def span_ms(now_ms: int, since_ms: int) -> str:
    """Return how long ago something was."""
    return span((now_ms - since_ms) / 1000)


def _errors(bridges: Sequence[BridgeView]) -> Iterator[Html]:
    errors = sorted(
        ((one, bridge) for bridge in bridges for one in bridge.errors),
        key=lambda pair: -pair[0].at_ms,
    )[:ERRORS]
    if errors:
        rows = [
            Row(
                key=f"error-{bridge.bridge_id}-{one.code}-{one.at_ms}",
                cells=(
                    moment(one.at_ms, day=True),
                    element("code", one.code),
                    one.message + (f" ({one.count:,} times)" if one.count > 1 else ""),
                    element("code", bridge.bridge_id[:16]),
                ),
            )
            for one, bridge in errors
        ]
        yield table("The last warnings and errors", ("Time", "Log line", "Text", "Bridge"), rows)


def in_flight_part(overview: Overview) -> Html:
    """Return the hosts with the oldest events that have no answer yet."""
    waiting = sorted(
        (host for host in overview.hosts if host.oldest_event is not None),
        key=lambda host: -(host.oldest_event.age_s if host.oldest_event else 0),
    )
    if not waiting:
        return element("p", "No event is in flight.", class_="quiet")
    rows = []
    for host in waiting[:IN_FLIGHT]:
        event = host.oldest_event
        assert event is not None
        late = event.left_s < 0
        left = f"{span(abs(event.left_s))} {'too late' if late else 'left'}"
        cells: Sequence[Content] = (
            host.hostname or host.host_uuid,
            counts(host.open_states),
            [event.name, quiet(element("code", event.event_id))],
            event.state,
            [span(event.age_s), state(left, "bad") if late else quiet(left)],
        )
        rows.append(Row(key=f"flight-{host.host_uuid}", cells=cells))
    shown = f"The {len(rows)} hosts" if len(waiting) > len(rows) else "Hosts"
    return table(
        f"{shown} with the oldest events without an answer",
        ("Host", "Events", "Oldest event", "State", "Age"),
        rows,
    )


def counts(numbers: Mapping[str, int]) -> str:
    """Return several counts in one line."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items())


def recent_part(recent: Sequence[FinishedEvent], names: Mapping[str, str]) -> Html:
    """Return the last events that are over; `names` are those of hosts by uuid."""
    if not recent:
        return element("p", "No event has ended yet, or the history is off.", class_="quiet")
    rows = [
        Row(
            key=f"event-{one.host_uuid}-{one.event_id}",
            cells=(
                [moment(one.published_ms or one.ended_ms), quiet(names.get(one.host_uuid, ""))],
                [one.summary or one.resource, quiet(one.name)],
                [state(one.outcome, _ENDINGS[one.outcome]), one.code and element("code", one.code)],
                one.message or one.result,
                [span(one.total_ms / 1000), quiet(_stages(one))],
            ),
        )
        for one in recent
    ]
    return table(
        f"The last {counted(len(rows), 'event')} that ended, the newest first; times are UTC",
        ("Time", "Event", "Outcome", "Result", "Duration"),
        rows,
    )


def _stages(event: FinishedEvent) -> str:
    stages = (("queue", event.queue_ms), ("run", event.run_ms), ("reply", event.publish_ms))
    text = ", ".join(f"{name} {span(ms / 1000)}" for name, ms in stages)
    return text + (f", {event.attempts} attempts" if event.attempts > 1 else "")
