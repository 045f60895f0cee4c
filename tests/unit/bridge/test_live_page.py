"""The addresses of the status page, over HTTP."""

import asyncio
import json
import time

import aiohttp
import pytest

from bridge.inbound.standing import Standing
from bridge.web import live as live_module
from bridge.web import watched as watched_module
from bridge.web.live import StatusPage
from bridge.web.readiness import Readiness
from bridge.web.server import serving
from bridge.web.settings import HttpSettings
from bridge.web.watched import Watched
from cowpoke.overview.conditions import problem
from tests.page_views import finished, host, overview


class Site:
    """A page of what a test says."""

    def __init__(self):
        self.found = overview(host())
        self.recent = [finished()]
        self.reads = 0

    def read(self):
        """Stand for Redis."""
        self.reads += 1
        return self.found, self.recent

    async def serve(self, question):
        """Ask the running server: `question(url, session)`."""
        readiness = Readiness(
            lambda: None,
            standing=Standing(()),
            hosts_known=lambda: True,
            is_stopping=lambda: False,
        )
        page = StatusPage(Watched(self.read), readiness, "b1")
        settings = HttpSettings.model_validate({"BRIDGE_HTTP_PORT": 0})
        async with aiohttp.ClientSession() as session, serving(settings, page.routes()) as url:
            return await question(url, session)

    def run(self, question):
        """Do the same from a test."""
        return asyncio.run(self.serve(question))


@pytest.fixture
def site(monkeypatch):
    """A page whose Redis may be read ten times a second."""
    monkeypatch.setattr(watched_module, "EVERY_S", 0.1)
    monkeypatch.setattr(watched_module, "_REST", 0.0)
    return Site()


async def parts_of(stream):
    """Return the next parts that the server sends; comments are skipped."""
    async with asyncio.timeout(20):
        while True:
            line = (await stream.content.readline()).decode()
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/?host=nothing", "text/html"),
        ("/status.json", "application/json"),
        ("/static/page.css", "text/css"),
        ("/static/live.js", "text/javascript"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
def test_each_address_has_its_kind(site, path, kind):
    """A browser with `nosniff` takes nothing else."""

    async def question(url, session):
        async with session.get(url + path) as answer:
            return answer.status, answer.content_type, await answer.text()

    status, found, text = site.run(question)
    assert (status, found) == (200, kind)
    assert text


@pytest.mark.parametrize("path", ["/static/none", "/static/..%2flive.py", "/static/%2e%2e/live.py"])
def test_no_other_file_is_served(site, path):
    """Only the three files of the page."""

    async def question(url, session):
        async with session.get(url + path) as answer:
            return answer.status

    assert site.run(question) == 404


def test_the_same_is_there_as_json(site):
    """For programs; one page of hosts, as people see them."""
    site.found = overview(
        *(host(f"host-{number}") for number in range(1000)),
        problems=[problem("dead-letters", "host-1", "2")],
    )

    async def question(url, session):
        async with session.get(f"{url}/status.json") as answer:
            return await answer.json()

    found = site.run(question)
    assert (len(found["hosts"]), found["hosts_total"], found["pages"]) == (50, 1000, 20)
    first = found["hosts"][0]
    assert (first["host_uuid"], first["problems"]) == ("host-1", ["dead-letters"])
    assert first["queues"]["compute"]["length"] == 3
    assert found["bridges"][0]["websockets"] == {"open": 1}
    assert found["problems"] == [{"code": "dead-letters", "needs_person": True, "count": 1}]
    assert found["recent"][0]["summary"] == "web-1 (1i37) nginx:1.25"
    assert found["this_bridge"]["ready"] is True


def test_only_what_changed_is_sent(site):
    """All parts at first, then those that are another."""

    async def question(url, session):
        async with session.get(f"{url}/events") as stream:
            assert stream.content_type == "text/event-stream"
            first = await parts_of(stream)
            site.found = overview(host(), problems=[problem("dead-letters", "host-1", "2 <b>")])
            return first, await parts_of(stream)

    first, second = site.run(question)
    assert {"summary", "hosts-part", "recent-part"} <= first["parts"].keys()
    assert second["title"].startswith("1 problem needs a person")
    assert "2 &lt;b&gt;" in second["parts"]["problems-part"]
    assert "recent-part" not in second["parts"]


def test_viewers_share_one_reading_and_end_it(site):
    """Each has its own hosts; when all have gone, Redis is left alone."""

    async def question(url, session):
        async with session.get(f"{url}/events") as one, session.get(f"{url}/events?host=x") as two:
            first, second = await parts_of(one), await parts_of(two)
            assert site.reads <= 2
        assert "name-of-host-1" in first["parts"]["hosts-part"]
        assert "No host has" in second["parts"]["hosts-part"]
        # The server sees that they have gone when it writes again.
        async with asyncio.timeout(20):
            while True:
                before = site.reads
                await asyncio.sleep(0.5)
                if site.reads == before:
                    return

    site.run(question)


def test_too_many_viewers_are_told_to_come_again(site, monkeypatch):
    """Each costs the bridge some work."""
    monkeypatch.setattr(live_module, "MOST_VIEWERS", 1)

    async def question(url, session):
        async with session.get(f"{url}/events") as one:
            await parts_of(one)
            async with session.get(f"{url}/events") as two:
                return two.status, two.headers["Retry-After"]

    assert site.run(question) == (503, "30")


def test_a_bridge_that_ends_waits_for_no_viewer(site):
    """Its time to leave is short."""

    async def question(url, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"data: ")
        # Still open: only the server can end it.
        return time.monotonic(), writer

    async def scenario():
        began_s, writer = await site.serve(question)
        ended_s = time.monotonic()
        writer.close()
        return ended_s - began_s

    assert asyncio.run(scenario()) < 5
