"""One reading of Redis for all who look."""

import asyncio
import threading
import time

import pytest
import redis

from bridge.web import watched as watched_module
from bridge.web.watched import Watched
from tests.page_views import finished, host, overview

FOUND = (overview(host()), [finished()])


async def without_trouble(watched):
    """Look until Redis was read."""
    async with asyncio.timeout(20):
        seen = await watched.latest()
        while seen.trouble:
            await asyncio.sleep(0)
            seen = await watched.latest()
        return seen


def test_many_viewers_cost_one_reading():
    """Also those that come a moment later."""
    reads = []

    async def scenario():
        made = Watched(lambda: reads.append(1) or FOUND)
        await asyncio.gather(*(made.latest() for _ in range(30)))
        seen = await made.latest()
        assert (seen.overview, seen.recent, seen.trouble) == (FOUND[0], tuple(FOUND[1]), None)

    asyncio.run(scenario())
    assert len(reads) == 1


def test_nobody_looks_nothing_is_read():
    """A page that is open nowhere costs nothing."""
    reads = []

    async def scenario():
        Watched(lambda: reads.append(1) or FOUND)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert reads == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("problem", "trouble"),
    [
        (redis.ConnectionError("refused"), "Redis does not answer: refused"),
        (KeyError("secret"), "what Redis answers cannot be read: KeyError"),
    ],
)
def test_outage_keeps_what_was_known(monkeypatch, problem, trouble):
    """And says that it is old, also after a defect; the next look tries again."""
    monkeypatch.setattr(watched_module, "EVERY_S", 0.0)
    monkeypatch.setattr(watched_module, "_REST", 0.0)
    answers = [FOUND, problem]

    def read():
        answer = answers.pop(0) if answers else FOUND
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def scenario():
        made = Watched(read)
        return [await made.latest(), await made.latest(), await without_trouble(made)]

    first, second, third = asyncio.run(scenario())
    assert second.overview == first.overview
    assert second.trouble.message == trouble
    assert third.trouble is None


def test_slow_reading_is_made_rarely(monkeypatch):
    """With 10,000 hosts events have the first right to this process."""
    monkeypatch.setattr(watched_module, "EVERY_S", 0.0)
    entered = []

    async def scenario():
        loop = asyncio.get_running_loop()

        def read():
            entered.append(1)
            began_s = time.thread_time()
            while time.thread_time() - began_s < 0.05:
                pass
            return FOUND

        made = Watched(read)
        await made.latest()
        began_s = loop.time()
        await made.until_due()
        await made.latest()
        return loop.time() - began_s

    assert asyncio.run(scenario()) > 0.4
    assert len(entered) == 2


def test_frozen_redis_holds_one_thread_and_no_viewer(monkeypatch):
    """Each is told in time."""
    monkeypatch.setattr(watched_module, "WITHIN_S", 0.05)
    freed, entered = threading.Event(), []

    def read():
        entered.append(1)
        freed.wait(20)
        return FOUND

    async def scenario():
        made = Watched(read)
        try:
            seen = [await made.latest() for _ in range(3)]
        finally:
            freed.set()
        return [*seen, await without_trouble(made)]

    *frozen, thawed = asyncio.run(scenario())
    assert all("has not answered" in one.trouble.message for one in frozen)
    assert thawed.trouble is None
    assert len(entered) == 1
