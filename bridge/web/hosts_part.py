"""The hosts of the status page: a page of those that the reader asked for."""

from collections.abc import Sequence

from bridge.web.markup import Content, Html, element, joined
from bridge.web.query import HOSTS_A_PAGE, Query
from bridge.web.tables import Row, quiet, state, table
from bridge.web.words import count, counted, span
from cowpoke.bridge_lease import WebsocketState
from cowpoke.overview.views import HostView, Overview

_KINDS = {WebsocketState.OPEN: "good", WebsocketState.WAITING: "warn"}


def hosts_part(overview: Overview, query: Query) -> Html:
    """Return the table of hosts, those with problems first, and the way to the other pages."""
    urgent = {one.subject: one.needs_person for one in reversed(overview.problems)}

    def order(host: HostView) -> tuple[int, str, str]:
        rank = 2 - (host.host_uuid in urgent) - urgent.get(host.host_uuid, False)
        return rank, host.hostname, host.host_uuid

    found = sorted(filter(query.matches, overview.hosts), key=order)
    pages = max(-(-len(found) // HOSTS_A_PAGE), 1)
    page = min(query.page, pages)
    shown = found[(page - 1) * HOSTS_A_PAGE :][:HOSTS_A_PAGE]
    if not shown:
        text = f"No host has “{query.search}” in its name." if query.search else "No host is known."
        return element("p", text, class_="quiet")
    columns = ("Host", "Websocket", "Lanes", "Engine", "Queues", "In flight", "Dead letters")
    caption = f"{counted(len(found), 'host')}, those with problems first"
    if pages > 1:
        first = (page - 1) * HOSTS_A_PAGE + 1
        caption += f"; {first:,} to {first + len(shown) - 1:,}"
    rows = [_host(host, overview.redis.now_ms) for host in shown]
    return joined([table(caption, columns, rows), _pages(query, page, pages)])


def _pages(query: Query, page: int, pages: int) -> Html | None:
    if pages == 1:
        return None
    links: list[Content] = [element("span", f"Page {page:,} of {pages:,}")]
    # Links with names of their own: "next" alone says little in a list of links.
    for number, text in ((page - 1, "Previous hosts"), (page + 1, "Next hosts")):
        if 1 <= number <= pages:
            links.append(element("a", text, href=query.url(number), id=f"to-{text[:4].lower()}"))
    return element("nav", links, class_="controls", aria_label="Pages of hosts")


def _host(host: HostView, now_ms: int) -> Row:
    name: Sequence[Content] = (
        host.hostname or host.host_uuid,
        quiet(host.host_uuid) if host.hostname else None,
    )
    dead = host.dead_letters
    cells: Sequence[Content] = (
        name,
        _websocket(host, now_ms),
        _lanes(host),
        _engine(host),
        _queues(host),
        _open(host),
        state(count(dead), "bad") if dead != 0 else "0",
    )
    return Row(key=f"host-{host.host_uuid}", cells=cells)


def _websocket(host: HostView, now_ms: int) -> Content:
    one = host.websocket
    if one is None:
        return state("none", "warn")
    said: list[Content] = [state(one.state, _KINDS.get(one.state, "bad"))]
    if one.last_ping_ms is not None:
        said.append(quiet(f"ping {span(max(now_ms - one.last_ping_ms, 0) / 1000)} ago"))
    if one.reason:
        said.append(quiet(one.reason))
    return said


def _lanes(host: HostView) -> Content:
    if not host.workers:
        return state("no worker", "bad")
    said: list[Content] = [
        state(f"{lane} {number}", "good" if number else "bad")
        for lane, number in host.lanes().items()
    ]
    if len(host.workers) > 1:
        said.append(quiet(f"{len(host.workers)} workers"))
    return said


def _engine(host: HostView) -> Content:
    engine = host.engine
    if engine is None:
        return quiet("not known")
    if not engine.reachable:
        return [state("unreachable", "bad"), quiet(engine.reason)]
    return [state(f"Docker {engine.version}", "good"), quiet(f"API {engine.api_version}")]


def _queues(host: HostView) -> Content:
    return [
        f"{lane} {count(queue.length)}"
        + (f", {span(queue.oldest_s)}" if queue.oldest_s is not None else "")
        for lane, queue in host.queues.items()
    ]


def _open(host: HostView) -> Content:
    said: list[Content] = [count(host.open_events)]
    if host.oldest_event is not None:
        said.append(quiet(f"oldest {span(host.oldest_event.age_s)}"))
    return said
