"""The arguments of `cowpoke events`.

Imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from cowpoke.cli.output import json_option, yes_option

#: How an event ended, or `open`.
OUTCOMES = ("open", "success", "error", "expired", "refused")
#: What `list` shows when nobody says how many.
LIST_MOST = 50
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGO = re.compile(r"(\d{1,6})\s*([smhd])")


def _since(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Return the Unix time in ms that `--since` names: `10m` ago, or `2026-01-31T12:00:00Z`.

    Errors: click.BadParameter.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return round((time.time() - int(ago[1]) * _UNITS_S[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.BadParameter(
            "wanted a duration such as 30s, 10m, 2h or 1d, or a time such as 2026-01-31T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


_host_option = click.option(
    "--host",
    metavar="HOST",
    help="Of this host: its uuid, the beginning of it, or the name of the machine.",
)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--resource",
            metavar="TEXT",
            help="With this in its resource or in what it is about: instance:7, web-1, nginx.",
        ),
        click.option("--code", metavar="CODE", help="With this error code."),
        click.option("--outcome", type=click.Choice(OUTCOMES), help="How it ended; open: not yet."),
        click.option("--name", metavar="TEXT", help="With this in its name: activate, pull."),
        _host_option,
    ):
        command = option(command)
    return command


@click.group(short_help="List, show, retry, drop and follow events.")
def events() -> None:
    """Look at the events of cattle: those without an answer, and the last ones that are over.

    Bridges keep the last events of each host (BRIDGE_HISTORY_EVENTS). Pings are kept only if they
    failed. An event is named by its id, or by the beginning of it.
    """


@events.command("list")
@_filters
@click.option(
    "--since",
    "since_ms",
    metavar="TIME",
    callback=_since,
    help="Ended since then: 10m, 2h, 1d, or 2026-01-31T12:00:00Z.",
)
@click.option(
    "-n",
    "--most",
    default=LIST_MOST,
    show_default=True,
    type=click.IntRange(min=1, max=100_000),
    help="How many at most.",
)
@json_option
def events_list(*, host: str | None, most: int, as_json: bool, **filters: Any) -> None:  # noqa: ANN401
    """List events: first those without an answer, then the last ones that are over.

    Without --host, the last 1,000 of all hosts are looked at.
    """
    from cowpoke.cli.event_actions import list_events  # noqa: PLC0415
    from cowpoke.cli.event_filters import EventFilter  # noqa: PLC0415

    list_events(EventFilter(**filters), host=host, most=most, as_json=as_json)


@events.command("show")
@click.argument("event_id", metavar="ID")
@_host_option
@click.option(
    "--data",
    "with_data",
    is_flag=True,
    help="Also what cattle sent, without secrets, as long as the event has no answer.",
)
@json_option
def events_show(*, event_id: str, host: str | None, with_data: bool, as_json: bool) -> None:
    """Show an event with all that happened to it.

    Without --host, events that are over are found among the last 1,000 of all hosts.
    """
    from cowpoke.cli.event_actions import show_event  # noqa: PLC0415

    show_event(event_id, host=host, with_data=with_data, as_json=as_json)


@events.command("retry")
@click.argument("event_id", metavar="ID")
@_host_option
def events_retry(*, event_id: str, host: str | None) -> None:
    """Run an event now that waits for its next try.

    Its deadline stays. An event that is over cannot be run again: cattle sends it again if it wants
    it.
    """
    from cowpoke.cli.event_actions import retry_event  # noqa: PLC0415

    retry_event(event_id, host=host)


@events.command("drop")
@click.argument("event_id", metavar="ID")
@_host_option
@click.option("--reason", default="", metavar="TEXT", help="One sentence that cattle shows.")
@yes_option
def events_drop(*, event_id: str, host: str | None, reason: str, yes: bool) -> None:
    """Answer an event with the error `dropped`, whoever has it; asks before.

    A worker that runs it stops at its next look at the ledger; what it has done by then stays done.
    """
    from cowpoke.cli.event_actions import drop_event  # noqa: PLC0415

    drop_event(event_id, host=host, reason=reason, yes=yes)


@events.command("follow")
@_filters
@json_option
def events_follow(*, host: str | None, as_json: bool, **filters: Any) -> None:  # noqa: ANN401
    """Print each event when it is over, until it is interrupted; with --json one line each."""
    from cowpoke.cli.event_actions import follow_events  # noqa: PLC0415
    from cowpoke.cli.event_filters import EventFilter  # noqa: PLC0415

    follow_events(EventFilter(**filters), host=host, as_json=as_json)
