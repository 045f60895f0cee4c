"""The whole status page, and the parts of it that change while somebody looks."""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.web.hosts_part import hosts_part
from bridge.web.markup import Content, Html, element, joined
from bridge.web.parts import (
    bridges_part,
    facts_part,
    health_part,
    in_flight_part,
    problems_part,
    recent_part,
    summary,
)
from bridge.web.query import Query
from bridge.web.readiness import Health
from bridge.web.watched import Seen
from bridge.web.words import moment
from cowpoke.overview.conditions import Problem

_SECTIONS = (
    ("problems", "Problems"),
    ("sums", "Redis and sums"),
    ("bridges", "Bridges"),
    ("hosts", "Hosts"),
    ("in-flight", "Events in flight"),
    ("recent", "Last events"),
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What changes."""

    title: str
    #: By the id of the element that it is the content of.
    html: Mapping[str, Html]


def parts(seen: Seen, health: Health, query: Query, own_id: str) -> Parts:
    """Return the changing parts of the page."""
    overview = seen.overview
    problems = problems_of(seen, health)
    line = summary(problems)
    html: dict[str, Html] = {
        "summary": joined(line),
        "seen": joined(_read(seen, is_old=trouble_of(seen, health) is not None)),
        "problems-part": problems_part(problems),
    }
    if overview is None:
        nothing = element("p", "Not known: Redis could not be read yet.", class_="quiet")
        html |= {f"{name}-part": nothing for name, _ in _SECTIONS if name != "problems"}
        html["bridges-part"] = health_part(health)
    else:
        names = {host.host_uuid: host.hostname or host.host_uuid for host in overview.hosts}
        html |= {
            "sums-part": facts_part(overview),
            "bridges-part": bridges_part(overview, health, own_id),
            "hosts-part": hosts_part(overview, query),
            "in-flight-part": in_flight_part(overview),
            "recent-part": recent_part(seen.recent, names),
        }
    return Parts(f"{line} · cowpoke", html)


def trouble_of(seen: Seen, health: Health) -> Problem | None:
    """Return why Redis cannot be read now; None when it can."""
    return seen.trouble or health.redis_trouble


def problems_of(seen: Seen, health: Health) -> tuple[Problem, ...]:
    """Return what is wrong now, also while Redis is away."""
    trouble = trouble_of(seen, health)
    if trouble is not None:
        # What was found before the outage may be over.
        return (trouble,)
    return seen.overview.problems if seen.overview is not None else ()


def _read(seen: Seen, *, is_old: bool) -> Content:
    if not seen.at_ms:
        return "Redis was not read yet"
    return ["Last known state, of " if is_old else "As of ", moment(seen.at_ms), " UTC"]


def document(found: Parts, query: Query) -> Html:
    """Return the page with these parts in it."""

    def part(name: str, tag: str = "div", **attributes: object) -> Html:
        return element(tag, found.html[name], id=name, **attributes)

    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", found.title),
        element("link", rel="icon", href="static/icon.svg"),
        element("link", rel="stylesheet", href="static/page.css"),
        element("script", src="static/live.js", defer=True),
    )
    links = [element("li", element("a", text, href=f"#{name}")) for name, text in _SECTIONS]
    sections = [
        element(
            "section",
            element("h2", text, id=f"{name}-heading"),
            _search(query) if name == "hosts" else None,
            part(f"{name}-part"),
            id=name,
            aria_labelledby=f"{name}-heading",
        )
        for name, text in _SECTIONS
    ]
    header = element(
        "header",
        element("h1", "cowpoke"),
        part("summary", "p", role="status"),
        part("seen", "p", class_="quiet"),
        element("a", "Load again", href=query.url(query.page).removesuffix("#hosts")),
        element("span", "Not live without script", id="live"),
        element("nav", element("ul", links), aria_label="Sections"),
        class_="top",
    )
    skip = element("a", "To the content", href="#content", class_="skip")
    body = element("body", skip, header, element("main", sections, id="content", tabindex="-1"))
    return Html("<!doctype html>\n" + element("html", head, body, lang="en"))


def _search(query: Query) -> Html:
    # Outside of the part that changes: what somebody types stays.
    return element(
        "form",
        element("label", "Name or uuid contains", for_="search"),
        element("input", id="search", name="host", type="search", value=query.search),
        element("button", "Find hosts", type="submit"),
        element("a", "All hosts", href="?#hosts") if query.search else None,
        action="#hosts",
        class_="controls",
        role="search",
    )
