"""The lease of a worker: what its supervisor hears of the lanes, and says in Redis."""

import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from cowpoke import keys
from cowpoke.liveness import LEASE_TTL_MS, REJOIN_EVERY, Leases
from cowpoke.routes import LANES, Lane
from simulator.rig.processes import wait_until
from worker.host.identity import Identity
from worker.host.name_store import orphan_volumes
from worker.process import lease as lease_module
from worker.process import pulse as pulse_module
from worker.process import runtime as runtimes
from worker.process.consumer import Watch
from worker.process.lease import LeaseKeeper
from worker.process.pulse import Pulse
from worker.process.runtime import boot_id_of
from worker.settings import WorkerSettings

HOST = "host-1"
WORKER = "w1"
IDENTITY = Identity(
    host_uuid=HOST, physical_host_uuid="physical", hostname="host", given_ip="1.2.3.4"
)
WITHIN_S = 20.0


def settings_of(url, folder):
    """Settings of a worker of a Redis."""
    return WorkerSettings(
        CATTLE_HOME=str(folder),
        REDIS_URL=url,
        CATTLE_DOCKER_UUID=HOST,
        DOCKER_HOST=f"unix://{folder}/nobody.sock",
    )


@pytest.fixture
def settings(redis_url, tmp_path):
    """Settings of a worker of the test's Redis."""
    return settings_of(redis_url, tmp_path)


@pytest.fixture
def keeper(settings):
    """The supervisor's part, with its hands on no lane yet."""
    made = LeaseKeeper(settings, IDENTITY, WORKER)
    yield made
    for lane in Lane:
        made.ended(lane)
    made._leases._redis.close()


@pytest.fixture
def start_lane(keeper):
    """Let a lane begin; the end of the pipe that its process has."""
    pipes = []

    def start(lane=Lane.COMPUTE, starts=1):
        heard, pipe = os.pipe()
        pipes.append(pipe)
        keeper.began(lane, boot_id_of(WORKER, lane, starts), heard)
        return pipe

    yield start
    for pipe in pipes:
        os.close(pipe)


@pytest.fixture
def read(client, settings):
    """The lease of the worker as a bridge reads it; None without one."""

    def now():
        return Leases(client).of_host(HOST, settings.keyring().host(HOST)).get(WORKER)

    return now


def say(pipe, *, consumes=True, node="compute@host"):
    """Speak as a lane does."""
    os.write(pipe, json.dumps({"node": node, "consumes": consumes}).encode() + b"\n")


def lanes_of(lease):
    """The lanes in a lease, with whether they take events."""
    return {one.lane: one.consumes for one in lease.lanes}


def test_lease_says_what_a_worker_is(keeper, start_lane, read, settings):
    """Bridges need its lanes, its events and its keys; people its name and version."""
    say(start_lane())
    keeper.tick()
    lease = read()
    (lane,) = lease.lanes
    assert (lane.lane, lane.boot_id, lane.node) == ("compute", "w1.compute.1", "compute@host")
    assert set(lease.events) == set(LANES)
    assert lease.fingerprints == settings.keyring().host(HOST).fingerprints
    assert lease.process == f"{runtimes.process_space()}:{os.getpid()}"


def test_lane_is_named_before_it_takes_events(keeper, start_lane, read):
    """What a process takes that no lease names looks like a dead one's."""
    pipe = start_lane()
    keeper.tick()
    assert lanes_of(read()) == {"compute": False}
    say(pipe)
    keeper.tick()
    assert lanes_of(read()) == {"compute": True}


def test_dead_lane_leaves_the_lease_at_once(keeper, start_lane, read):
    """Its events are sent again; the other lanes go on."""
    say(start_lane())
    say(start_lane(Lane.IMAGES))
    keeper.tick()
    keeper.ended(Lane.COMPUTE)
    keeper.tick()
    assert lanes_of(read()) == {"images": True}
    say(start_lane(starts=2))
    keeper.tick()
    assert {one.boot_id for one in read().lanes} == {"w1.images.1", "w1.compute.2"}


def test_silent_lane_leaves_the_lease_until_it_speaks(keeper, start_lane, read, monkeypatch):
    """A frozen process takes nothing: its events are another's, until it goes on."""
    monkeypatch.setattr(lease_module, "SILENT_AFTER_S", 0.1)
    pipe = start_lane()

    def lanes():
        keeper.tick()
        return lanes_of(read())

    assert lanes() == {"compute": False}
    wait_until(lambda: lanes() == {}, WITHIN_S, "the lane to be taken for silent")
    say(pipe)
    assert lanes() == {"compute": True}


def test_lanes_are_not_silent_because_the_supervisor_was_frozen(
    keeper, start_lane, read, monkeypatch
):
    """A machine that was frozen may let the supervisor go on first: nobody is dead for that."""
    say(start_lane())
    keeper.tick()
    frozen_s = time.monotonic() + 60
    monkeypatch.setattr(lease_module, "time", SimpleNamespace(monotonic=lambda: frozen_s))
    keeper.tick()
    assert lanes_of(read()) == {"compute": True}


def test_part_of_a_line_is_waited_for(keeper, start_lane, read):
    """A pipe gives what is there."""
    pipe = start_lane()
    line = json.dumps({"node": "n", "consumes": True}).encode() + b"\n"
    os.write(pipe, line[:5])
    keeper.tick()
    assert lanes_of(read()) == {"compute": False}
    os.write(pipe, line[5:] + line[:3])
    keeper.tick()
    assert lanes_of(read()) == {"compute": True}


def test_lost_lease_is_written_again(client, keeper, start_lane, read):
    """Redis came back empty, or somebody removed it."""
    say(start_lane())
    keeper.tick()
    client.flushall()
    wait_until(lambda: keeper.tick() or read(), WITHIN_S, "the lease")
    assert lanes_of(read()) == {"compute": True}


def test_worker_at_rest_sends_few_commands(client, keeper, start_lane, monkeypatch):
    """A renewal is one command, and now and then a second one; nothing is announced."""
    monkeypatch.setattr(lease_module, "RENEW_EVERY_S", 0.0)
    say(start_lane())
    keeper.tick()
    before = _calls(client)
    for _ in range(2 * REJOIN_EVERY):
        keeper.tick()
    said = {name: calls - before.get(name, 0) for name, calls in _calls(client).items()}
    said = {name: calls for name, calls in said.items() if calls and name != "info"}
    assert said == {"getex": 2 * REJOIN_EVERY, "sadd": 2}


def _calls(client):
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


def test_worker_that_leaves_is_gone_at_once(client, keeper, start_lane, read):
    """Nobody waits for the end of its lease."""
    say(start_lane())
    keeper.tick()
    keeper.give_up()
    assert read() is None
    assert not client.exists(keys.workers(HOST))


def test_outage_is_waited_for(make_redis, tmp_path, start_lane_of, monkeypatch):
    """A supervisor waits for nothing long, and its lease is there again after it."""
    server = make_redis()
    monkeypatch.setattr(lease_module, "RENEW_EVERY_S", 0.0)
    keeper = start_lane_of(settings_of(server.url, tmp_path))
    keeper.tick()
    server.kill()
    keeper.tick()
    assert keeper.is_away
    keeper.give_up()
    server.restart()
    wait_until(lambda: keeper.tick() or not keeper.is_away, WITHIN_S, "Redis")
    with server.client() as there:
        assert 0 < there.pttl(keys.lease(HOST, WORKER)) <= LEASE_TTL_MS


@pytest.fixture
def start_lane_of():
    """A supervisor's part of other settings, with one lane that spoke."""
    made = []

    def start(settings):
        keeper = LeaseKeeper(settings, IDENTITY, WORKER)
        heard, pipe = os.pipe()
        keeper.began(Lane.COMPUTE, boot_id_of(WORKER, Lane.COMPUTE, 1), heard)
        say(pipe)
        made.append((keeper, pipe))
        return keeper

    yield start
    for keeper, pipe in made:
        keeper.ended(Lane.COMPUTE)
        os.close(pipe)
        keeper._leases._redis.close()


def test_orphan_volumes_are_in_the_lease(keeper, start_lane, read, settings, monkeypatch):
    """A 13.8: an operator sees them on the bridge."""
    monkeypatch.setattr(lease_module, "RENEW_EVERY_S", 0.0)
    say(start_lane())
    keeper.tick()
    assert read().orphan_volumes == 0
    orphan_volumes(settings.state_dir).add("a-volume")
    keeper.tick()
    assert read().orphan_volumes == 1


# The lane's side: its pulse.


@pytest.fixture
def pulse(settings, keeper, start_lane):
    """A lane whose supervisor hears it."""
    runtime = runtimes.start(settings, Lane.COMPUTE, worker_id=WORKER, starts=1)
    pipe = start_lane()
    made = Pulse(runtime, "compute@host", Watch(runtime.redis, f"host.{HOST}", 2), pipe)
    yield made
    made.stop()
    wait_until(lambda: not _pulses(), WITHIN_S, "the end of its threads")
    runtime.redis.close()


def _pulses():
    names = {"pulse", "lane-watch"}
    return [thread for thread in threading.enumerate() if thread.name in names]


def _ticking(keeper, over):
    while not over.is_set():
        keeper.tick()
        over.wait(0.05)


def test_lane_begins_when_the_lease_names_it(keeper, pulse, read):
    """Not before: what it claims must not look like a dead one's."""
    over = threading.Event()
    ticking = threading.Thread(target=_ticking, args=(keeper, over))
    ticking.start()
    try:
        pulse.begin()
        assert [one.boot_id for one in read().lanes] == ["w1.compute.1"]
        assert lanes_of(read()) == {"compute": False}
        pulse.consumes.set()
        wait_until(lambda: lanes_of(read()) == {"compute": True}, WITHIN_S, "the news")
    finally:
        over.set()
        ticking.join()


def test_lane_begins_without_redis_after_a_while(pulse, monkeypatch):
    """It has nothing to take."""
    monkeypatch.setattr(pulse_module, "FIRST_LEASE_S", 0.2)
    pulse.begin()
    assert len(_pulses()) == 2


def test_lane_speaks_to_a_supervisor_that_does_not_read(pulse, monkeypatch):
    """A frozen supervisor holds up no lane: the pipe is full, and nothing waits for it."""
    monkeypatch.setattr(pulse_module, "FIRST_LEASE_S", 0.1)
    monkeypatch.setattr(pulse_module, "PULSE_EVERY_S", 0.001)
    pulse.consumes.set()
    pulse.begin()

    def is_full():
        try:
            os.write(pulse._pipe, b" " * 4096)
        except BlockingIOError:
            return True
        return False

    wait_until(is_full, WITHIN_S, "a full pipe")
    monkeypatch.setattr(pulse_module, "PULSE_EVERY_S", 0.05)
    assert len(_pulses()) == 2
