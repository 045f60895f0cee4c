"""Redis, cattle and the network between any two parts go away and come back.

Every event has exactly one final reply after that and no container exists twice. The
simulated cattle's clock is an hour late all the while.
"""

import time

import pytest

from cowpoke import keys
from simulator import sample
from simulator.rig.processes import wait_until
from simulator.rig.proxy import Proxy
from simulator.rig.redis_server import RedisServer
from tests.faults.faulty_system import FaultySystem, new_instance
from tests.faults.scripted_engine import Held
from tests.floor import allowed_s

CREATE = "/containers/create"
#: Longer than a lease lives.
OUTAGE_S = 6.0
#: Everything is well again this soon after the way is free.
BACK_WITHIN_S = 15.0


class Ways:
    """The proxies between the parts, by who speaks through them."""

    def __init__(self, worker_redis: Proxy, bridge_redis: Proxy, bridge_cattle: Proxy) -> None:
        self.worker_redis = worker_redis
        self.bridge_redis = bridge_redis
        self.bridge_cattle = bridge_cattle

    def heal(self) -> None:
        """Free all of them."""
        for way in (self.worker_redis, self.bridge_redis, self.bridge_cattle):
            way.heal()


@pytest.fixture(scope="module")
def durable_redis():
    """A Redis of the module's own that keeps every write."""
    with RedisServer(appendonly=True, appendfsync="always").start() as server:
        yield server


@pytest.fixture(scope="module")
def ways(durable_redis):
    """A proxy on every way that a bridge or a worker has."""
    redis_address = f"127.0.0.1:{durable_redis.port}"
    with (
        Proxy(redis_address) as worker_redis,
        Proxy(redis_address) as bridge_redis,
        Proxy("127.0.0.1:0") as bridge_cattle,
    ):
        yield Ways(worker_redis, bridge_redis, bridge_cattle)


@pytest.fixture(scope="module")
def system(scripted, durable_redis, ways, tmp_path_factory):
    """One system whose parts reach each other only through proxies."""

    class Proxied(FaultySystem):
        def start_bridge(self, **extra):
            ways.bridge_cattle.target = self.cattle_url.split("/")[2]
            url = self.cattle_url.replace(ways.bridge_cattle.target, ways.bridge_cattle.address)
            return super().start_bridge(CATTLE_URL=url, **extra)

    with Proxied(
        scripted,
        redis=durable_redis,
        state_dir=tmp_path_factory.mktemp("state"),
        simulator={"SIMULATOR_CLOCK_OFFSET_MS": "-3600000", "SIMULATOR_HEARTBEAT_S": "0.5"},
        worker={"REDIS_URL": ways.worker_redis.url(durable_redis.url)},
        bridge={
            "REDIS_URL": ways.bridge_redis.url(durable_redis.url),
            "CATTLE_EVENT_READ_TIMEOUT": "3",
        },
    ) as running:
        running.wait_lanes()
        yield running


@pytest.fixture(autouse=True)
def _healed(ways):
    """No test leaves a way broken."""
    yield
    ways.heal()


def send_held(system, scripted, count=5):
    """Activates of which the first stands in its create; what to hold and what to wait for."""
    held = Held()
    scripted.script("POST", CREATE, held)
    instances = [new_instance() for _ in range(count)]
    ids = [system.send(sample.instance_activate(one)) for one in instances]
    held.wait_reached()
    return held, list(zip(ids, instances, strict=True))


def wait_accepted(system, sent):
    """Until the ledger has each event."""
    entries = [keys.event(system.host_uuid, event_id) for event_id, _ in sent]
    with system.redis.client() as client:
        wait_until(lambda: client.exists(*entries) == len(entries), 20, "the events in the ledger")


def assert_all_answered(system, sent, within_s=30, *, lost_201=False):
    """Each event has its one answer, each instance its one container."""
    for event_id, instance in sent:
        call = system.cattle.wait(event_id, within_s)
        system.assert_answered_once(call, instance, lost_201=lost_201)


def test_a_killed_redis_comes_back_with_everything(system, scripted, durable_redis):
    """C 32, C 42: kill -9 of Redis with work in flight; all of it is answered, nothing twice."""
    held, sent = send_held(system, scripted, count=20)
    durable_redis.kill()
    held.let_go()
    durable_redis.restart()
    back_s = time.monotonic()
    assert_all_answered(system, sent)
    assert time.monotonic() - back_s < allowed_s(BACK_WITHIN_S)


def test_a_redis_that_comes_back_empty_is_healed_by_cattles_retries(
    system, scripted, durable_redis
):
    """C 42: without any of its data; cattle's new events bring every instance to its state."""
    instances = [new_instance() for _ in range(10)]
    held = Held()
    scripted.script("POST", CREATE, held)
    patient = {"timeout_ms": 4_000, "retries_new_id": 5, "backoff_ms": 300}
    ids = [system.send(sample.instance_activate(one), **patient) for one in instances]
    held.wait_reached()
    durable_redis.kill()
    durable_redis.forget()
    held.let_go()
    durable_redis.restart()
    assert_all_answered(system, list(zip(ids, instances, strict=True)), within_s=40)


def test_a_flushed_redis_swallows_no_later_message(system, durable_redis):
    """C 36: also what Celery sends by itself arrives, such as a retry in another lane."""
    with durable_redis.client() as client:
        client.flushall()
        wait_until(lambda: client.keys("cowpoke:lease:*"), 10, "the leases again")
    instance = new_instance(image="example/after-the-flush:1")
    call = system.ask(sample.instance_activate(instance))
    system.assert_answered_once(call, instance)


def test_work_goes_on_after_every_cut(system, ways):
    """C 32: connections to Redis are reset again and again; each time the next event is done."""
    for way in (ways.worker_redis, ways.bridge_redis) * 5:
        way.cut()
        instance = new_instance()
        call = system.ask(sample.instance_activate(instance))
        system.assert_answered_once(call, instance)
        assert call.elapsed_ms < allowed_s(8) * 1000


@pytest.mark.parametrize("silence", ["refuse", "black_hole"])
def test_workers_without_redis_answer_when_it_is_back(system, scripted, ways, silence):
    """C 32, C 34: longer than the leases live; what ran meanwhile is answered once.

    Its worker looks dead to a bridge that has Redis: run again, it finds its container and reports.
    """
    held, sent = send_held(system, scripted)
    created = scripted.count("POST", CREATE)
    getattr(ways.worker_redis, silence)()
    held.let_go()
    time.sleep(OUTAGE_S)
    ways.worker_redis.heal()
    back_s = time.monotonic()
    assert_all_answered(system, sent)
    assert time.monotonic() - back_s < allowed_s(BACK_WITHIN_S)
    assert scripted.count("POST", CREATE) - created <= len(sent) - 1


@pytest.mark.parametrize("silence", ["refuse", "black_hole"])
def test_a_bridge_without_redis_keeps_what_cattle_sends(system, ways, silence):
    """C 1: events that come while Redis is away wait in memory, and are done when it is back."""
    getattr(ways.bridge_redis, silence)()
    instances = [new_instance() for _ in range(5)]
    sent = [(system.send(sample.instance_activate(one)), one) for one in instances]
    time.sleep(OUTAGE_S)
    ways.bridge_redis.heal()
    back_s = time.monotonic()
    assert_all_answered(system, sent)
    assert time.monotonic() - back_s < allowed_s(BACK_WITHIN_S)


@pytest.mark.parametrize("silence", ["cut", "refuse", "black_hole"])
def test_replies_wait_for_a_cattle_that_is_away(system, scripted, ways, silence):
    """C 5, C 7, C 8: also a half-open connection; the outcomes go out once it is back.

    A reply whose 201 was lost comes a second time, under the same id, so that cattle knows it.
    """
    held, sent = send_held(system, scripted)
    # What is still on its way when the websocket breaks is lost, and only cattle can send it again.
    wait_accepted(system, sent)
    getattr(ways.bridge_cattle, silence)()
    held.let_go()
    time.sleep(OUTAGE_S / 2)
    ways.bridge_cattle.heal()
    back_s = time.monotonic()
    assert_all_answered(system, sent, lost_201=True)
    assert time.monotonic() - back_s < allowed_s(BACK_WITHIN_S)
    system.wait_subscribed()


def test_a_half_open_websocket_is_opened_anew(system, ways):
    """C 7: nothing comes down and nobody says so; within its patience the bridge reconnects."""
    connected = system.cattle.stats()["connects"]
    ways.bridge_cattle.black_hole(up=False)
    # Before the way is free again: what is sent up still arrives, a new handshake too.
    wait_until(
        lambda: system.cattle.stats()["connects"] > connected, BACK_WITHIN_S, "a new websocket"
    )
    # A way that heals resets what hung in it, the new websocket too.
    connected = system.cattle.stats()["connects"]
    ways.bridge_cattle.heal()
    wait_until(lambda: system.cattle.stats()["connects"] > connected, BACK_WITHIN_S, "one more")
    instance = new_instance()
    system.wait_subscribed()
    system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)


def test_a_slow_network_changes_nothing_but_the_time(system, ways):
    """50 ms on every way, both directions."""
    proxies = (ways.worker_redis, ways.bridge_redis, ways.bridge_cattle)
    for way in proxies:
        way.delay_s = 0.05
    try:
        instances = [new_instance() for _ in range(10)]
        sent = [(system.send(sample.instance_activate(one)), one) for one in instances]
        assert_all_answered(system, sent)
    finally:
        for way in proxies:
            way.delay_s = 0.0
