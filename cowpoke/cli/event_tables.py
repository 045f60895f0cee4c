"""Events as `cowpoke events` prints them."""

import json
from collections.abc import Sequence
from typing import Any

from cowpoke.cli.event_filters import Shown
from cowpoke.cli.output import Cell, Tone, cell, moment, print_line, print_table, span
from cowpoke.history import Ending, FinishedEvent
from cowpoke.open_events import OpenEvent

COLUMNS = ("when", "host", "event", "name", "about", "outcome", "code", "queue", "run", "tries")
_ABOUT_CHARS = 60
_TONES = {
    Ending.SUCCESS: Tone.GOOD,
    Ending.ERROR: Tone.BAD,
    Ending.EXPIRED: Tone.WARNING,
    Ending.REFUSED: Tone.BAD,
}
#: `compute.instance.activate` is known as `instance.activate` too.
_COMMON = "compute."


def print_events(events: Sequence[Shown], now_ms: int) -> None:
    """Print a table of events; nothing but a line without any."""
    if not events:
        print_line("no events")
        return
    print_table(COLUMNS, [row(event, now_ms) for event in events])


def row(event: Shown, now_ms: int) -> list[Cell | str]:
    """Return the cells of one event."""
    about = event.summary or event.resource
    if isinstance(event, OpenEvent):
        waited_s = (now_ms - event.received_ms) / 1000
        is_claimed = event.state == "claimed"
        queue_s = ((event.claimed_ms - event.received_ms) / 1000) if is_claimed else waited_s
        run_s = (now_ms - event.claimed_ms) / 1000 if is_claimed else None
        when, outcome, code = f"{span(waited_s)} ago", Cell(_state(event), Tone.WARNING), ""
    else:
        when, code = moment(event.published_ms or event.ended_ms or None), event.code
        outcome = Cell(event.outcome, _TONES[event.outcome])
        queue_s, run_s = event.queue_ms / 1000, event.run_ms / 1000
    return [
        cell(when),
        cell(event.host_uuid[:8]),
        cell(event.event_id[:13]),
        cell(event.name.removeprefix(_COMMON)),
        cell(about, most=_ABOUT_CHARS),
        outcome,
        cell(code),
        cell(span(queue_s)),
        cell(span(run_s)),
        cell(str(event.attempts)),
    ]


def _state(event: OpenEvent) -> str:
    """Return what an open event does, in a word for people."""
    if event.rejected_ms:
        return "unreadable"
    match event.state:
        case "claimed":
            return "running"
        case "recorded":
            return "waits for another"
        case _:
            return "waits for retry" if event.retry_at_ms else "queued"


def print_event(event: Shown, now_ms: int, data: Any = None) -> None:  # noqa: ANN401 -- JSON
    """Print all of one event, and what cattle sent with it where that is given."""
    lines: list[tuple[str, Cell]] = [
        ("event", cell(event.event_id)),
        ("name", cell(event.name)),
        ("resource", cell(event.resource)),
        ("about", cell(event.summary)),
        ("host", cell(event.host_uuid)),
        ("lane", cell(event.lane)),
        *(_of_open(event, now_ms) if isinstance(event, OpenEvent) else _of_finished(event)),
        ("tries", cell(_tries(event))),
    ]
    for name, value in lines:
        print_line(f"{name:<10} {value.text}", value.tone)
    print_line()
    first_ms = event.steps[0].at_ms if event.steps else 0
    rows = [
        (moment(one.at_ms), f"+{(one.at_ms - first_ms) / 1000:.3f} s", one.step, one.detail)
        for one in event.steps
    ]
    print_table(("time", "after", "step", "detail"), rows)
    if data is not None:
        print_line()
        print_line(json.dumps(data, indent=2))


def _of_open(event: OpenEvent, now_ms: int) -> list[tuple[str, Cell]]:
    left_s = (event.deadline_ms - now_ms) / 1000
    lines = [
        ("state", Cell(_state(event), Tone.WARNING)),
        ("deadline", cell(f"{moment(event.deadline_ms)}, {span(left_s)} left")),
    ]
    if event.retry_at_ms > now_ms:
        lines.append(("next try", cell(f"in {span((event.retry_at_ms - now_ms) / 1000)}")))
    return lines


def _of_finished(event: FinishedEvent) -> list[tuple[str, Cell]]:
    lines = [("outcome", Cell(event.outcome, _TONES[event.outcome]))]
    if event.code:
        lines.append(("code", cell(event.code, _TONES[event.outcome])))
    if event.message:
        lines.append(("message", cell(event.message, most=1_000)))
    if event.result:
        lines.append(("result", cell(event.result)))
    stages = (("queue", event.queue_ms), ("run", event.run_ms), ("publish", event.publish_ms))
    lines.append(("time", cell(", ".join(f"{name} {ms / 1000:.3f} s" for name, ms in stages))))
    return lines


def _tries(event: Shown) -> str:
    deaths = f", {event.deaths} processes died with it" if event.deaths else ""
    return f"{event.attempts}{deaths}"


def follow_line(event: FinishedEvent) -> None:
    """Print an event that just ended, as one line."""
    parts = (
        moment(event.published_ms or event.ended_ms or None),
        cell(event.host_uuid[:8]).text,
        cell(event.event_id[:13]).text,
        cell(event.name.removeprefix(_COMMON)).text,
        cell(event.summary or event.resource, most=_ABOUT_CHARS).text,
        " ".join(filter(None, (event.outcome, event.code))),
        cell(event.result or event.message, most=_ABOUT_CHARS).text,
        f"{event.total_ms / 1000:.1f} s",
    )
    print_line("  ".join(parts), _TONES[event.outcome])


def as_json(event: Shown, data: Any = None) -> dict[str, Any]:  # noqa: ANN401 -- cattle's JSON
    """Return an event as `--json` prints it."""
    content = event.to_json()
    return content if data is None else {**content, "data": data}
