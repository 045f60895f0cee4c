"""A starting lane gives back what dead processes of its host had claimed."""

from dataclasses import replace

import pytest

from cowpoke import keys
from cowpoke.broker import connect
from cowpoke.ledger.states import State
from cowpoke.liveness import Leases
from cowpoke.routes import Lane
from cowpoke.settings import BrokerSettings
from tests.ledgers import HOST, Ledgers, lease
from worker.process import runtime as runtimes
from worker.process.recovery import recover
from worker.process.runtime import worker_lock
from worker.settings import WorkerSettings


@pytest.fixture
def make_runtime(tmp_path):
    """A lane's process of the worker `w2`, for the second time."""
    made = []

    def make(url):
        settings = WorkerSettings(
            CATTLE_HOME=str(tmp_path),
            REDIS_URL=url,
            CATTLE_DOCKER_UUID=HOST,
            DOCKER_HOST=f"unix://{tmp_path}/nobody.sock",
        )
        made.append(runtimes.start(settings, Lane.COMPUTE, worker_id="w2", starts=2))
        return made[-1]

    yield make
    for runtime in made:
        runtime.redis.close()


@pytest.fixture
def runtime(redis_url, make_runtime):
    """The process that starts."""
    return make_runtime(redis_url)


@pytest.fixture
def ledgers(client, runtime):
    """All sides of the ledger, with the keys of the worker."""
    found = Ledgers(client, runtime.keyring)
    found.leases.renew(lease("w2.compute.2"), runtime.keyring.host(HOST))
    return found


def claimed_by(ledgers, boot_id):
    """An event that a process claimed; its id."""
    event_id = ledgers.accept()
    ledgers.worker(boot_id).claim(event_id)
    return event_id


def announce(ledgers, runtime, *boot_ids, domain=None):
    """Let a worker have a lease."""
    one = replace(lease(*boot_ids), lock_domain=domain or runtime.locks.domain())
    ledgers.leases.renew(one, runtime.keyring.host(HOST))


def test_events_of_a_dead_worker_are_queued_at_once(client, ledgers, runtime):
    """Its lock is free on this host, whatever its lease says."""
    announce(ledgers, runtime, "w1.compute.1", "w1.images.1")
    event_id = claimed_by(ledgers, "w1.compute.1")
    recover(runtime, starts=2)
    assert ledgers.state(event_id) == State.QUEUED
    assert set(Leases(client).of_host(HOST, runtime.keyring.host(HOST))) == {"w2"}


def test_events_of_the_lane_before_this_one_are_queued(ledgers, runtime):
    """Its supervisor started it again; nobody waits for a lease."""
    event_id = claimed_by(ledgers, "w2.compute.1")
    recover(runtime, starts=2)
    assert ledgers.state(event_id) == State.QUEUED


def test_events_of_live_workers_are_theirs(ledgers, runtime):
    """A worker that holds its lock lives."""
    announce(ledgers, runtime, "w1.compute.1")
    event_id = claimed_by(ledgers, "w1.compute.1")
    own_id = claimed_by(ledgers, "w2.compute.2")
    with runtime.locks.try_hold(worker_lock("w1")) as held:
        assert held
        recover(runtime, starts=2)
    for one in (event_id, own_id):
        assert ledgers.state(one) == State.CLAIMED


def test_worker_with_other_locks_is_not_judged_by_ours(client, ledgers, runtime):
    """It may run in a container that shares no folder with this one: its lease decides."""
    announce(ledgers, runtime, "w1.compute.1", domain="elsewhere")
    event_id = claimed_by(ledgers, "w1.compute.1")
    recover(runtime, starts=2)
    assert ledgers.state(event_id) == State.CLAIMED
    assert client.exists(keys.lease(HOST, "w1"))


@pytest.mark.parametrize("name", ["open", "workers", "event", "queue", "lease"])
def test_key_of_another_type_does_not_keep_a_lane_from_starting(client, ledgers, runtime, name):
    """Whoever wrote it."""
    event_id = claimed_by(ledgers, "w2.compute.1")
    other_id = ledgers.accept()
    foreign = {
        "open": keys.open_events(HOST),
        "workers": keys.workers(HOST),
        "event": keys.event(HOST, other_id),
        "queue": f"host.{HOST}",
        "lease": keys.lease(HOST, "w9"),
    }[name]
    client.sadd(keys.workers(HOST), "w9")
    client.delete(foreign)
    client.hset(foreign, "something", "else") if name != "event" else client.set(foreign, "x")
    recover(runtime, starts=2)
    if name != "open":
        assert ledgers.state(event_id) == State.QUEUED


def test_lane_starts_without_redis(make_redis, make_runtime):
    """The bridges do the same a little later."""
    server = make_redis()
    runtime = make_runtime(server.url)
    with connect(BrokerSettings.model_validate({"REDIS_URL": server.url})) as client:
        client.ping()
    server.kill()
    recover(runtime, starts=2)
