"""A bridge that ends, by a signal or a kill, and bridges side by side: nothing lost or doubled."""

import signal
import threading
import time

import redis

from cowpoke import keys
from cowpoke.ledger.outcome_stream import GROUP
from cowpoke.outcomes import progress, success
from simulator.rig.processes import wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT, echo, send_many, states
from tests.floor import allowed_s


def in_hand(client):
    """How many outcomes bridges have read and not sent; a young bridge has made no group yet."""
    try:
        return client.xpending(keys.OUTCOMES, GROUP)["pending"]
    except redis.ResponseError:
        return 0


def test_a_bridge_that_is_told_to_stop_publishes_what_is_done(rig):
    """SIGTERM: replies that wait for cattle go out, and the exit code is 0."""
    rig.start_worker()
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    rig.cattle.faults(delay_publish_ms=2000)
    ids = send_many(rig, 5)
    with rig.redis.client() as client:
        # Not only there: what a bridge has not read yet it leaves to others.
        wait_until(
            lambda: in_hand(client) == 5,
            allowed_s(10),
            "five outcomes in hand",
        )
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
        assert time.monotonic() - began_s < allowed_s(10)
    finally:
        over.set()
        sender.join()
    assert states(rig, ids) == {"success"}
    assert rig.counted("duplicates") == 0


def test_frames_that_a_bridge_reads_late_are_not_answered_again(rig):
    """On a busy machine it reads them seconds after the other bridge had them answered."""
    rig.start_worker()
    bridges = [rig.start_bridge() for _ in range(2)]
    rig.wait_subscribed(2)
    bridges[1].send_signal(signal.SIGSTOP)
    ids = send_many(rig, 5)
    ends_s = time.monotonic() + 2
    # One outcome may be on its way to the bridge that is frozen.
    rig.wait_counted("finals", 4)
    wait_until(lambda: time.monotonic() > ends_s, 10, "the frames to be old")
    bridges[1].send_signal(signal.SIGCONT)

    def accepted():
        return [line for line in bridges[1].output().splitlines() if "event.accepted" in line]

    wait_until(lambda: len(accepted()) == 5, allowed_s(20), "the frames to be read")
    assert states(rig, ids) == {"success"}
    assert all('"result": "known"' in line for line in accepted())
    assert rig.counted("duplicates_other_id") == 0


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
    wait_until(lambda: worker.claimed, 10, "the event taken")
    bridge.kill()
    done.set()
    wait_until(lambda: rig.outcomes_left() == 1, 10, "the outcome")
    rig.start_bridge()
    assert rig.cattle.wait(event_id, 20).data == {"a": 1}


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
    assert sorted(event.data["n"] for event in worker.claimed) == list(range(60))
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
        assert [event.data for event in workers[name].claimed] == [{"for": name}]


def test_a_reply_for_an_agent_that_is_gone_is_sent_all_the_same(make_rig):
    """A call whose agent left the settings is answered under another agent's keys."""
    other = {"access_key": "other", "secret_key": "other-secret"}
    rig = make_rig(agents=[AGENT, other])
    event_id = rig.leave_outcome()
    rig.start_bridge(CATTLE_ACCESS_KEY="other", CATTLE_SECRET_KEY="other-secret")
    assert rig.cattle.wait(event_id, 20).state == "success"


def test_a_reply_whose_keys_cattle_forgot_goes_out_with_anothers(make_rig, tmp_path):
    """A host was removed in cattle while it worked: somebody waits, and any agent may answer."""
    other = {"access_key": "other", "secret_key": "other-secret"}
    rig = make_rig(agents=[AGENT, other])
    event_id = rig.leave_outcome()
    path = tmp_path / "agents.toml"
    path.write_text(
        f'[[agents]]\naccess_key = "{AGENT["access_key"]}"\nsecret_key = "forgotten"\n'
        'host_uuid = "host-1"\n'
        '[[agents]]\naccess_key = "other"\nsecret_key = "other-secret"\nhost_uuid = "host-2"\n'
    )
    rig.start_bridge(BRIDGE_AGENTS_FILE=str(path)).wait_for_line("reply.sent", 20)
    assert rig.cattle.wait(event_id, 20).state == "success"
