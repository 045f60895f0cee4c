"""Overload and a hung Engine: the lanes do not wait for each other, and nothing is dropped.

docs/reliability.md has the figures.
"""

import statistics
import time
from pathlib import Path

import pytest

from cowpoke import keys
from simulator import sample
from simulator.rig.processes import wait_until
from simulator.rig.proxy import Proxy
from tests import factories
from tests.faults.faulty_system import facts, new_instance
from tests.faults.scripted_engine import Held, Pull
from tests.floor import allowed_s, start_s

STOP = "/containers/[^/]+/stop"
PLAIN_PING = {"name": "ping", "data": {"options": {}}}
PING_P99_MS = 100
#: Blocked lanes cost a ping at most this many pings of idle lanes, or starts of a process.
FLOORS = 3
STARTS = 3
ENGINE_TIMEOUT_S = 1.5


@pytest.fixture(scope="module")
def engine_way(scripted):
    """A proxy before the Engine's socket."""
    listen = str(Path(scripted.socket).with_name("way.sock"))
    with Proxy(str(scripted.socket), listen=listen) as way:
        yield way


@pytest.fixture(scope="module")
def system(engine_way, make_system):
    """One system whose Engine stands behind a proxy."""
    return make_system(
        engine_environment={"DOCKER_HOST": f"unix://{engine_way.address}"},
        worker={"WORKER_ENGINE_TIMEOUT_S": str(ENGINE_TIMEOUT_S)},
    )


def ping_p99_ms(system, count=100):
    """The p99 of plain pings one after the other."""
    calls = [system.call(**PLAIN_PING, resource_type="agent") for _ in range(count)]
    assert {call.state for call in calls} == {"success"}
    times_ms = [call.elapsed_ms for call in calls]
    return statistics.quantiles(times_ms, n=100, method="inclusive")[98]


def assert_pings_pass(system, idle_ms):
    """Hold pings beside blocked lanes against the bound, or against idle lanes on this machine now.

    A lane that blocks pings does so in every round; what else this machine does, in some.
    """
    found = []
    for _ in range(3):
        found.append(ping_p99_ms(system))
        if found[-1] < max(PING_P99_MS, FLOORS * idle_ms, STARTS * start_s() * 1000):
            return
    pytest.fail(f"pings at p99 {found} ms beside blocked lanes, {idle_ms} ms before")


def image_wanted(number):
    """An image event for an image that is not here."""
    data = factories.image_data(full_name=f"example/stalled-{number}:1")
    return {"name": "storage.image.activate", "data": data, "resource_type": "imageStoragePoolMap"}


def wait_idle(system):
    """Until no event of the host is open and no queue holds anything."""
    client = system.redis.client()
    host = system.host_uuid
    queues = [f"host.{host}", f"host.{host}.control", f"host.{host}.images"]
    wait_until(
        lambda: not client.zcard(keys.open_events(host)) and not any(map(client.llen, queues)),
        20,
        "an idle host",
    )


def test_a_ping_and_an_inspect_pass_by_blocked_lanes(system, scripted):
    """C 2, C 21, C 39, W 39: 50 stops and 50 pulls that do not end, and pings take < 100 ms."""
    idle_ms = ping_p99_ms(system)
    instances = [new_instance() for _ in range(50)]
    for number, instance in enumerate(instances):
        scripted.add_container(
            f"{number:064x}", name=instance.name, uuid=instance.uuid, running=True
        )
    held = Held()
    pulls = Held()
    scripted.script("POST", STOP, *[held] * 50)
    scripted.script("POST", "/images/create", *[Pull(wait=pulls.released)] * 50)
    stops = [
        system.send(sample.instance_deactivate(one, stop_timeout_s=60), timeout_ms=90_000)
        for one in instances
    ]
    images = [
        system.cattle.send(**image_wanted(n), resource_id=f"1ispm{n}", timeout_ms=90_000)
        for n in range(50)
    ]
    wait_until(lambda: scripted.count("POST", STOP) >= 16, 20, "every compute slot to stop")
    wait_until(
        lambda: scripted.count("POST", "/images/create") >= 16, 20, "every images slot to pull"
    )
    assert_pings_pass(system, idle_ms)
    inspected = system.call(
        "compute.instance.inspect",
        {"instanceInspect": {"id": instances[0].uuid, "kind": "docker", "name": instances[0].name}},
        resource_type="instanceInspect",
        timeout_ms=5_000,
    )
    assert inspected.state == "success", inspected.message
    held.let_go()
    pulls.let_go()
    states = [system.cattle.wait(event_id, 60).state for event_id in [*stops, *images]]
    assert states == ["success"] * 100
    wait_idle(system)


def test_a_thousand_activates_at_once_are_all_done(system, scripted):
    """A 1.7, C 1: none is dropped, none refused, each has its one answer and its one container."""
    instances = [new_instance(10_000 + n) for n in range(1000)]
    events = [sample.instance_activate(one) for one in instances]
    ids = [system.send(event, timeout_ms=110_000) for event in events]
    calls = [system.cattle.wait(event_id, 100) for event_id in ids]
    assert [call.state for call in calls] == ["success"] * 1000
    assert not any(call.duplicates for call in calls)
    assert sum(len(system.containers_of(one)) for one in instances) == 1000
    wait_idle(system)
    scripted.containers.clear()


def test_events_of_one_resource_wait_for_each_other_and_are_all_answered(system, scripted):
    """A 1.21, C 9: with many free slots the next one begins when the one before it is over."""
    instance, held = new_instance(), Held()
    scripted.script("POST", "/containers/create", held)
    activate = sample.instance_activate(instance)
    stop = sample.instance_deactivate(instance, stop_timeout_s=0)
    wishes = [activate, activate, stop, activate, sample.instance_remove(instance)]
    ids = [system.send(event, timeout_ms=60_000) for event in wishes]
    held.wait_reached()
    # Another resource's event passes by meanwhile, and is proof that slots are free.
    assert system.ask(sample.instance_activate(new_instance())).state == "success"
    with system.redis.client() as client:
        entries = [keys.event(system.host_uuid, one) for one in ids]
        states = [client.hget(entry, "state").decode() for entry in entries]
    assert states == ["claimed", *["recorded"] * 4]
    held.let_go()
    calls = [system.cattle.wait(one, 30) for one in ids]
    assert [call.state for call in calls] == ["success"] * len(wishes)
    container_id = calls[0].data["instanceHostMap"]["instance"]["externalId"]
    changes = [
        (method, path.removeprefix(f"/containers/{container_id}"))
        for method, path in scripted.requests
        if container_id in path and method != "GET"
    ]
    start = ("POST", "/start")
    assert changes == [start, ("POST", "/stop"), start, ("DELETE", "")]
    assert system.containers_of(instance) == []


def test_a_hung_engine_costs_answers_and_nothing_else(system, engine_way):
    """C 2, C 3, W 39: pings answered, events end in an error in time, then all is well again."""
    idle_ms = ping_p99_ms(system)
    engine_way.black_hole()
    try:
        ids = [
            system.send(sample.instance_activate(new_instance()), timeout_ms=8_000)
            for _ in range(16)
        ]
        assert_pings_pass(system, idle_ms)
        listing = system.call(
            "ping", {"options": {"instances": True, "resources": True}}, timeout_ms=5_000
        )
        assert listing.state == "success"
        assert "options" not in listing.data
        calls = [system.cattle.wait(event_id, 20) for event_id in ids]
    finally:
        engine_way.heal()
    assert {call.state for call in calls} == {"error"}
    assert all("Docker Engine" in call.message for call in calls)
    wait_idle(system)
    instance = new_instance()
    call = system.ask(sample.instance_activate(instance))
    system.assert_answered_once(call, instance)
    assert call.elapsed_ms < allowed_s(2) * 1000
    assert facts(system.worker, "lane.stuck") == []


def test_an_engine_that_is_back_in_time_is_used(system, engine_way):
    """What fails for a moment is tried until shortly before the deadline.

    After 8 s a wait of up to 15 s may be drawn, which would pass the deadline.
    """
    instance = new_instance()
    engine_way.refuse()
    try:
        event_id = system.send(sample.instance_activate(instance), timeout_ms=20_000)
        time.sleep(8)  # how long it is away: the tries have their longest waits behind them
    finally:
        engine_way.heal()
    system.assert_answered_once(system.cattle.wait(event_id, 30), instance)
