"""The HTML of the status page: what it shows, and that nothing in it is somebody else's markup."""

from html.parser import HTMLParser

import pytest

from bridge.web.markup import Html, element
from bridge.web.page import document, parts
from bridge.web.query import HOSTS_A_PAGE, Query
from bridge.web.readiness import Health, Reason
from bridge.web.watched import Seen
from bridge.web.words import size, span
from cowpoke.bridge_lease import BridgeError, WebsocketState
from cowpoke.figures import EngineState
from cowpoke.history import Ending
from cowpoke.overview.conditions import problem
from cowpoke.overview.views import EventView
from tests.page_views import bridge, finished, host, overview, redis_view, websocket, worker

READY = Health(ready=True, reasons=(), notes=())
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202egnp\ud800\x1b[2J'


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.ids, self.attributes = [], [], [], []
        self._open = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        """Note an element."""
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in {"meta", "link", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        """Every element is closed in its order."""
        assert self._open.pop() == tag

    def handle_data(self, data):
        """Note a text."""
        self.text.append(data)


def page(found=None, *, recent=(), query=None, health=READY, **seen):
    """Parse the page of an overview."""
    query = query or Query()
    fields = {"overview": found, "recent": tuple(recent), "at_ms": 1_700_000_000_000, **seen}
    made = parts(Seen(**fields), health, query, "b1")
    html = document(made, query)
    html.encode()
    return Page(html)


def said(made):
    """Return the text of a page."""
    return " ".join(" ".join(made.text).split())


def test_everything_at_work_is_shown():
    """Host, lanes, Engine, queues, what is in flight, what ended, bridges, Redis."""
    text = said(page(overview(host()), recent=[finished()]))
    for wanted in (
        "Nothing needs a person",
        "name-of-host-1 host-1 open ping 2.0 s ago compute 1 control 1 images 1",
        "Docker 27.1 API 1.46",
        "compute 3, 12 s",
        "1 oldest 3.0 s",
        "web-1 (1i37) nginx:1.25 compute.instance.activate success running 4f1c 10.42.3.7",
        "2.5 s queue 500 ms, run 1.9 s, reply 100 ms",
        "b1 hub 0.2.0 this page live for 1 min 30 s https://cattle/v1 1 open",
        "stream.closed lost (3 times)",
        "7.0.15, up 1 h 0 min",
        "5.0 MiB, no limit",
        "2, the oldest for 400 ms",
        "This bridge is ready",
    ):
        assert wanted in text, text


def test_faults_are_said_in_words():
    """Nobody has to see colors."""
    broken = host(
        workers=(),
        engine=EngineState(reachable=False, reason="no socket"),
        websockets=(websocket(state=WebsocketState.REFUSED, reason="401", last_ping_ms=None),),
        dead_letters=2,
        oldest_event=EventView(
            event_id="e", name="ping", state="queued", lane="control", age_s=40.0, left_s=-10.0
        ),
    )
    failed = finished(outcome=Ending.ERROR, code="engine-busy", message="busy", attempts=3)
    text = said(page(overview(broken), recent=[failed]))
    for wanted in (
        "refused 401",
        "no worker",
        "unreachable no socket",
        "10 s too late",
        "3 attempts",
    ):
        assert wanted in text, text
    assert "error engine-busy busy" in text


def test_problems_come_by_kind_with_advice_and_section():
    """10,000 hosts without a worker are one problem to read."""
    lost = [problem("host-without-worker", f"h{n}", "no worker runs") for n in range(10_000)]
    mild = problem("redis-not-persistent", "redis", "no file")
    made = page(overview(host(), problems=[mild, *lost]))
    text = said(made)
    assert "10,000 problems need a person" in text
    assert "and 9,995 more" in text
    assert "What to do: start the worker or see its log; if the host is gone" in text
    assert "docs/runbook.md#host-without-worker" in text
    assert made.ids.index("problem-host-without-worker") < made.ids.index(
        "problem-redis-not-persistent"
    )


@pytest.mark.parametrize("known", [None, overview(host())])
def test_outage_of_redis_is_the_problem_and_the_last_state_stays(known):
    """What was wrong before may be over; what was there is still worth reading."""
    text = said(page(known, trouble=problem("redis-down", "redis", "connection refused")))
    assert "1 problem needs a person" in text
    assert "redis: connection refused" in text
    assert ("name-of-host-1" in text) == (known is not None)
    assert "Last known state" in text


def test_what_this_bridge_lacks_is_told_without_redis():
    """It knows its own websockets."""
    reason = Reason("websocket-closed", "the websocket to cattle is not open", ("key-1",), 12)
    health = Health(ready=False, reasons=(reason,), notes=())
    text = said(page(None, health=health, trouble=problem("redis-down", "redis", "gone"), at_ms=0))
    assert "not ready" in text
    assert "the websocket to cattle is not open: key-1 and 11 more" in text


def test_nothing_that_others_wrote_becomes_markup():
    """Each text of the page, with the worst that cattle or a host could put there."""
    evil_bridge = bridge(
        hostname=EVIL,
        server=EVIL,
        version=EVIL,
        errors=(BridgeError(at_ms=1, code=EVIL, message=EVIL, count=1),),
    )
    evil_host = host(
        "host-1",
        hostname=EVIL,
        engine=EngineState(reachable=False, version=EVIL, reason=EVIL),
        open_states={EVIL: 1},
        oldest_event=EventView(event_id=EVIL, name=EVIL, state=EVIL, lane=EVIL, age_s=1, left_s=1),
        websockets=(websocket(state=WebsocketState.REFUSED, reason=EVIL),),
    )
    event = finished(event_id=EVIL, name=EVIL, resource=EVIL, summary=EVIL, code=EVIL, message=EVIL)
    found = overview(
        evil_host,
        bridges=(evil_bridge,),
        redis=redis_view(version=EVIL),
        problems=[problem("dead-letters", EVIL, EVIL)],
    )
    reason = Reason("redis-down", EVIL, (EVIL,), 1)
    for seen in ({}, {"trouble": problem("redis-down", EVIL, EVIL)}):
        health = Health(ready=False, reasons=(), notes=(reason,))
        made = page(found, recent=[event], query=Query(EVIL[:100]), health=health, **seen)
        plain = page(overview(host()), recent=[finished()], query=Query("x"))
        assert made.tags.count("script") == plain.tags.count("script") == 1
        assert "img" not in made.tags
        assert not [name for name, _ in made.attributes if name.startswith("on")]
        text = said(made)
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "<script>alert(1)</script>" in text


def test_rows_and_links_have_names_of_their_own():
    """An id that comes twice would mix rows up, for the script and for a screen reader."""
    hosts = [host(f"h{number}") for number in range(3)]
    events = [finished(f"e{number}") for number in range(3)]
    made = page(overview(*hosts, problems=[problem("dead-letters", "h1", "x")]), recent=events)
    assert len(made.ids) == len(set(made.ids))
    targets = {value[1:] for name, value in made.attributes if name == "href" and value[0] == "#"}
    assert targets <= set(made.ids)


def test_hosts_come_by_pages_those_with_problems_first():
    """10,000 hosts are 200 short pages."""
    hosts = [host(f"h{number:05}") for number in range(10_000)]
    found = overview(*hosts, problems=[problem("dead-letters", "h09999", "x")])
    first = page(found)
    rows = [one for one in first.ids if one.startswith("host-h")]
    assert (len(rows), rows[0]) == (HOSTS_A_PAGE, "host-h09999")
    assert "Page 1 of 200 Next hosts" in said(first)
    last = page(found, query=Query(page=9_000))
    assert "Page 200 of 200" in said(last)
    some = page(found, query=Query("name-of-h0000"))
    assert len([one for one in some.ids if one.startswith("host-h")]) == 10
    assert "No host has “nothing”" in said(page(found, query=Query("nothing")))


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({}, Query()),
        ({"host": " Web ", "page": "3"}, Query("web", 3)),
        ({"page": "-1"}, Query()),
        ({"page": "0"}, Query()),
        ({"page": "9" * 400}, Query()),
        ({"page": "٣"}, Query("", 3)),
    ],
)
def test_address_that_makes_no_sense_is_the_first_page(given, query):
    """Whatever somebody types into it."""
    assert Query.of(given) == query


def test_address_of_another_page_keeps_the_search():
    """It can be shared."""
    assert Query("a&b").url(2) == "?host=a%26b&page=2#hosts"
    assert Query().url(1) == "?#hosts"


def test_text_is_escaped_where_it_becomes_markup():
    """The one place, also for attributes."""
    assert element("p", "<b>", Html("<i></i>"), None, title='"<') == (
        '<p title="&quot;&lt;">&lt;b&gt;<i></i></p>'
    )
    assert element("input", data_label="a", disabled=True, checked=False) == (
        '<input data-label="a" disabled>'
    )


def test_worker_without_lanes_and_second_worker_are_seen():
    """Which lanes have no process."""
    found = host(workers=(worker(lanes=("compute",)), worker(worker_id="w2", lanes=())))
    assert "compute 1 control 0 images 0 2 workers" in said(page(overview(found)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.123, "123 ms"),
        (9.5, "9.5 s"),
        (59, "59 s"),
        (185, "3 min 5 s"),
        (7620, "2 h 7 min"),
        (356_400, "4 d 3 h"),
    ],
)
def test_duration_in_words(seconds, text):
    """Two units at most."""
    assert span(seconds) == text


def test_size_in_words():
    """Powers of 1024."""
    assert [size(number) for number in (512, 1536, 5 * 1024**4)] == ["512 B", "1.5 KiB", "5.0 TiB"]
