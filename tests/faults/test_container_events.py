"""Container events through real processes, on an Engine that says what a test lets happen.

Workers, bridges, Redis and the stream itself fail; the scripted Engine plays versions, a flapping
container, storms and rubbish.
"""

import contextlib
import json
import time
from collections import Counter

import psutil
import pytest

from cowpoke import keys
from simulator.rig.processes import WaitTimeoutError, wait_until
from simulator.rig.proxy import Proxy
from tests.faults.faulty_system import facts, lane_pid, wait_lane
from tests.faults.scripted_engine import Answer, Hang
from tests.faults.scripted_events import IMAGE
from worker.container_events.coalescing import HOST_BURST, HOST_PER_S

WITHIN_S = 20.0
CREATED = 201
FOLLOWED = '"container_events.holder_changed"'


@pytest.fixture(scope="module")
def ways(redis_server):
    """The ways of worker and bridge to Redis."""
    address = f"127.0.0.1:{redis_server.port}"
    with Proxy(address) as of_worker, Proxy(address) as of_bridge:
        yield of_worker, of_bridge


@pytest.fixture(scope="module")
def system(make_system, redis_server, ways):
    """One system for the module; each test leaves its parts running."""
    of_worker, of_bridge = ways
    running = make_system(
        worker={"REDIS_URL": of_worker.url(redis_server.url), "CATTLE_DEBUG": "true"},
        bridge={"REDIS_URL": of_bridge.url(redis_server.url), "BRIDGE_HTTP_PORT": "0"},
    )
    running.worker.wait_for_line(FOLLOWED)
    # cattle takes no reports of a host that it does not know.
    running.cattle.ask_report()
    return running


@pytest.fixture(autouse=True)
def in_order(request, system):
    """Unless a test says so, no event comes after a later one, or in another form than cattle's."""
    before = len(system.cattle.container_event_problems())
    yield
    if "rubbish_in_the_file" not in request.node.name:
        assert system.cattle.container_event_problems()[before:] == []


@pytest.fixture
def new_id(scripted):
    """Make containers that run on the scripted Engine; their ids."""
    made = []

    def make():
        made.append(f"{time.time_ns():064x}")
        scripted.add_container(made[-1], name=f"c{len(made)}-{made[-1][-8:]}", running=True)
        return made[-1]

    wait_until(lambda: scripted.events.followers == 1, WITHIN_S, "somebody who follows")
    yield make
    for one in made:
        scripted.containers.pop(one, None)


def reported(system, *ids):
    """The reports about some containers, as cattle got them."""
    container = ids[0] if len(ids) == 1 else None
    found = system.cattle.container_events(container=container, inspect=len(ids) == 1)
    taken = [one["event"] for one in found if one["status"] == CREATED]
    return [one for one in taken if one["externalId"] in set(ids)]


def statuses(system, container_id):
    """What cattle heard of a container."""
    return [one["externalStatus"] for one in reported(system, container_id)]


def wait_statuses(system, container_id, *wanted):
    """Until cattle heard exactly this of a container."""
    with contextlib.suppress(WaitTimeoutError):  # the assertion says more
        wait_until(lambda: statuses(system, container_id) == list(wanted), WITHIN_S, "events")
    assert statuses(system, container_id) == list(wanted)


@pytest.mark.parametrize("old_form", [False, True], ids=["API 1.52", "older"])
def test_event_is_reported_with_a_fresh_inspect(system, scripted, new_id, old_form):
    """B.5, W 12: by Type, Action and Actor; the old address keys are filled in."""
    one = new_id()
    scripted.events.happen("start", one, old_form=old_form)
    wait_statuses(system, one, "start")
    (event,) = reported(system, one)
    assert event["externalFrom"] == IMAGE
    assert event["reportedHostUuid"] == system.host_uuid
    assert abs(event["externalTimestamp"] - time.time()) < 60
    inspect = event["dockerInspect"]
    assert (inspect["Id"], inspect["NetworkSettings"]["IPAddress"]) == (one, "172.17.0.9")


def test_events_of_a_container_that_is_gone(system, scripted, new_id):
    """B.5: its inspect is nearly empty and not null, in order, and each event comes once."""
    one = new_id()
    del scripted.containers[one]
    for action in ("kill", "die", "destroy"):
        scripted.events.happen(action, one)
    wait_statuses(system, one, "kill", "die", "destroy")
    gone = {"Mounts": None, "Config": None, "NetworkSettings": None}
    assert [event["dockerInspect"] for event in reported(system, one)] == [gone] * 3


def test_other_events_and_rubbish_are_skipped(system, scripted, new_id):
    """B.5: an Action with a suffix is another one; the stream goes on behind unreadable lines."""
    one, other = new_id(), new_id()
    for action in ("exec_create: start", "health_status: healthy", "start ", "restart", "pause"):
        scripted.events.happen(action, one)
    scripted.events.happen("start", one, kind="network")
    for rubbish in (b"\n\n", b"{]\n", b"\xff\x00\n", b"null\n", b"x" * 2_000_000 + b"\n"):
        scripted.events.say(rubbish)
    scripted.events.happen("die", other)
    wait_statuses(system, other, "die")
    assert statuses(system, one) == []


def test_inspect_that_fails_or_hangs_delays_no_other_container(system, scripted, new_id):
    """B.5: the event goes without; cattle asks for the inspect if it needs it."""
    broken, hung, well = new_id(), new_id(), new_id()
    scripted.script("GET", f"/containers/{broken}/json", *[Answer(500, {"message": "no"})] * 9)
    scripted.script("GET", f"/containers/{hung}/json", Hang())
    scripted.events.happen("start", hung)
    scripted.events.happen("start", broken)
    scripted.events.happen("start", well)
    wait_statuses(system, well, "start")
    wait_statuses(system, broken, "start")
    assert reported(system, broken)[0]["dockerInspect"] is None
    assert statuses(system, hung) == []
    wait_statuses(system, hung, "start")


def test_broken_stream_loses_and_doubles_nothing(system, scripted, new_id):
    """B.5: what happened meanwhile is asked for by the last event that was seen."""
    ids = []
    for _ in range(3):
        before, cut = new_id(), new_id()
        scripted.events.happen("start", before)
        scripted.events.cut()
        scripted.events.happen("start", cut)
        ids += [before, cut]
        wait_statuses(system, cut, "start")
    last = new_id()
    scripted.events.happen("die", last)
    wait_statuses(system, last, "die")
    assert Counter(one["externalId"] for one in reported(system, *ids)) == Counter(ids)


def test_engine_that_refuses_is_asked_again_later(system, scripted, new_id):
    """B.5: with a growing pause, and one line in the log."""
    printed = len(system.worker.output())
    scripted.script("GET", "/events", *[Answer(403, {"message": "forbidden by a proxy"})] * 4)
    one = new_id()
    asked = scripted.count("GET", "/events")
    scripted.events.cut()
    scripted.events.happen("start", one)
    wait_statuses(system, one, "start")
    assert scripted.count("GET", "/events") - asked <= 6
    told = system.worker.output()[printed:]
    assert told.count('"container_events.refused"') == 1
    system.worker.wait_for_line('"container_events.followed"', after_chars=printed)


def test_stale_events_are_not_reported(system, scripted, new_id):
    """B.5: the stream gave them late; the container list of a ping is newer."""
    one, other = new_id(), new_id()
    scripted.events.happen("start", one, ago_s=61)
    scripted.events.happen("start", other, ago_s=30)
    wait_statuses(system, other, "start")
    assert statuses(system, one) == []


def test_flapping_container_is_reported_now_and_then(system, scripted, new_id):
    """B.5: a crash loop is a burst, then its latest event every few seconds; others are not hit."""
    one, other = new_id(), new_id()
    for _ in range(100):
        scripted.events.happen("die", one)
        scripted.events.happen("start", one)
    scripted.events.happen("die", one)
    scripted.events.happen("die", other)
    wait_statuses(system, other, "die")
    wait_until(lambda: statuses(system, one)[-1:] == ["die"], WITHIN_S, "its last event")
    assert len(statuses(system, one)) <= 13
    times = [event["externalTimestamp"] for event in reported(system, one)]
    assert times == sorted(times)


def test_killed_worker_is_followed_by_another(system, scripted, new_id):
    """B.5: one holder per host; the next one goes on where the killed one was."""
    with system.start_worker() as sibling:
        system.wait_lanes(sibling)
        before, meanwhile = new_id(), new_id()
        scripted.events.happen("start", before)
        wait_statuses(system, before, "start")
        assert not facts(sibling, "container_events.holder_changed")
        system.worker.kill()
        scripted.events.happen("die", meanwhile)
        wait_statuses(system, meanwhile, "die")
        sibling.wait_for_line(FOLLOWED)
        assert statuses(system, before) == ["start"]
        system.restart_worker()
        sibling.terminate()
        after = new_id()
        scripted.events.happen("stop", after)
        wait_statuses(system, after, "stop")
        assert statuses(system, meanwhile) == ["die"]


def test_killed_worker_reports_what_happened_while_it_was_away(system, scripted, new_id):
    """B.5: no other worker is there; the Engine remembers."""
    one = new_id()
    system.worker.kill()
    scripted.events.happen("die", one)
    system.restart_worker()
    wait_statuses(system, one, "die")


def test_killed_lane_is_followed_by_its_successor(system, scripted, new_id):
    """B.5: the lane that follows dies alone."""
    printed = system.kill_lane("images")
    one = new_id()
    scripted.events.happen("die", one)
    wait_lane(system.worker, "images", after_chars=printed)
    wait_statuses(system, one, "die")


def test_rubbish_in_the_file_of_the_position_is_ignored(system, scripted, new_id):
    """B.5: the events of the last minute come again; cattle knows them by their container."""
    one = new_id()
    system.worker.kill()
    path = system._state_dir / ".container-events"
    assert json.loads(path.read_text())["v"] == 1
    path.write_bytes(b"\x00rubbish{")
    scripted.events.happen("die", one)
    system.restart_worker()
    wait_until(lambda: "die" in statuses(system, one), WITHIN_S, "the event")
    assert facts(system.worker, "container_events.position_ignored")


def test_killed_bridge_is_followed_by_another(system, scripted, new_id):
    """B.5: what waits in Redis is reported by the next bridge, in order."""
    one = new_id()
    system.bridge.kill()
    for action in ("start", "die"):
        scripted.events.happen(action, one)
    with system.redis.client() as client:
        stream = keys.container_events(system.host_uuid)
        wait_until(lambda: client.xlen(stream) >= 2, WITHIN_S, "the events in Redis")
        for _, fields in client.xrange(stream):
            assert one.encode() not in b"".join(fields.values()), "events are sealed"
    system.bridge.start()
    wait_statuses(system, one, "start", "die")


def test_two_bridges_report_each_event_once(system, scripted, new_id):
    """B.5: one at a time has the host; when it is killed the other one has."""
    with system.start_bridge() as second:
        system.wait_subscribed(2)
        ids = [new_id() for _ in range(20)]
        for one in ids:
            scripted.events.happen("start", one)
        wait_until(lambda: len(reported(system, *ids)) >= 20, WITHIN_S, "all events")
        # A bridge that is killed between a POST and its note is followed by one that repeats it.
        stream = keys.container_events(system.host_uuid)
        with system.redis.client() as client:
            wait_until(lambda: not client.xlen(stream), WITHIN_S, "the end of the last report")
        second.kill()
        later = [new_id() for _ in range(5)]
        for one in later:
            scripted.events.happen("start", one)
        wait_until(lambda: len(reported(system, *later)) >= 5, WITHIN_S, "the later events")
        assert set(Counter(one["externalId"] for one in reported(system, *ids)).values()) == {1}
    system.wait_subscribed()


@pytest.mark.parametrize("whose", ["worker", "bridge"])
def test_events_wait_while_redis_is_away(system, scripted, new_id, ways, whose):
    """B.5: of each container its latest event is kept; nothing is lost."""
    way = ways[0] if whose == "worker" else ways[1]
    one, other = new_id(), new_id()
    way.refuse()
    try:
        for action in ("kill", "die", "start"):
            scripted.events.happen(action, one)
        scripted.events.happen("die", other)
        # Long enough for a try to fail.
        wait_until(lambda: scripted.count("GET", f"/containers/{other}/json"), WITHIN_S, "a try")
    finally:
        way.heal()
    wait_until(lambda: statuses(system, one)[-1:] == ["start"], 40, "its latest event")
    wait_until(lambda: statuses(system, other) == ["die"], 40, "the event of the other one")


def test_switched_off_worker_asks_for_no_events(system, scripted, new_id):
    """WORKER_CONTAINER_EVENTS=false: as before, pings alone tell of containers."""
    system.worker.kill()
    asked = scripted.count("GET", "/events")
    with system.start_worker(WORKER_CONTAINER_EVENTS="false") as off:
        system.wait_lanes(off)
        wait_until(lambda: scripted.events.followers == 0, WITHIN_S, "the end of the old stream")
        assert not facts(off, "container_events.holder_changed")
        assert scripted.count("GET", "/events") == asked
    system.restart_worker()
    system.worker.wait_for_line(FOLLOWED)


def test_storm_is_bounded_in_memory_and_rate(system, scripted, new_id):
    """B.5: 1,000 containers that somebody starts at once; all are reported, none is stale."""
    pids = lane_pid(system.worker, "images"), system.bridge.pid
    before = [psutil.Process(pid).memory_info().rss for pid in pids]
    ids = [new_id() for _ in range(1000)]
    began_s = time.monotonic()
    for one in ids:
        scripted.events.happen("start", one)
    wait_until(lambda: len(reported(system, *ids[:1])) == 1, WITHIN_S, "the first one")
    asked = len(reported(system, *ids))
    lasted_s = time.monotonic() - began_s
    assert asked <= HOST_BURST + HOST_PER_S * lasted_s + 1
    wait_until(lambda: len(reported(system, *ids)) == 1000, 100, "all of them", interval_s=1)
    assert time.monotonic() - began_s > (1000 - HOST_BURST) / HOST_PER_S - 1
    after = [psutil.Process(pid).memory_info().rss for pid in pids]
    grown = [now - was for now, was in zip(after, before, strict=True)]
    assert max(grown) < 32 * 1024 * 1024, grown
    assert set(Counter(one["externalId"] for one in reported(system, *ids)).values()) == {1}
