"""The Redis server's clock jumps: no live event is refused or dropped for that."""

import threading

import pytest

from cowpoke import clock as clocks
from cowpoke import keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.ledger.decisions import Step
from cowpoke.ledger.states import Accepted, State, Verdict
from cowpoke.outcomes import success
from cowpoke.seal import SealBrokenError
from simulator.rig.errors import RigError
from simulator.rig.processes import wait_until
from tests.clocks import JumpingRedis
from tests.ledgers import HOST, Ledgers, arrival

HOURS = 3600
JUMPS = [5 * HOURS, -5 * HOURS, 20 * 60]


@pytest.fixture(scope="module")
def server(missing_part):
    """One server for the module; each test begins with the machine's time."""
    try:
        started = JumpingRedis().start()
    except RigError as error:
        missing_part(error)
    with started:
        yield started


@pytest.fixture
def sides(server, keyring):
    """Two sides of the ledger with clocks of their own, as a bridge and a worker have."""
    server.jump(0)
    settings = BrokerSettings.model_validate({"REDIS_URL": server.url})
    with connect(settings) as one, connect(settings) as other:
        one.flushall()
        bridge, worker = Ledgers(one, keyring), Ledgers(other, keyring).worker()
        for side in (bridge, worker):
            side.clock.measure()
        yield bridge, worker


def jump(server, seconds):
    """Let the clock jump; returns when the server shows it."""
    server.jump(seconds)
    with server.client() as client:
        real = clocks.time.time
        wait_until(lambda: abs(client.time()[0] - real() - seconds) < 60, 10, "the jump")


def test_who_keeps_log_lines_may_ask_the_clock_that_writes_one(server, sides, monkeypatch):
    """A bridge keeps its last warnings with their time, also the one of a jump."""
    clock, asked = sides[0].clock, []

    def warning(event, **_):
        thread = threading.Thread(target=lambda: asked.append((event, clock.known_ms())))
        thread.daemon = True
        thread.start()
        thread.join(10)

    monkeypatch.setattr(clocks._log, "warning", warning)
    jump(server, 5 * HOURS)
    clock.measure()
    assert [event for event, _ in asked] == ["redis.clock_jumped"]


@pytest.mark.parametrize("seconds", JUMPS)
def test_event_of_before_a_jump_is_claimed_and_opened_after_it(server, sides, seconds):
    """W 28: it waited in the queue; what is left of its time is what it was."""
    bridge, worker = sides
    event_id = bridge.accept(remaining_ms=60_000)
    jump(server, seconds)
    claim = worker.claim(event_id)
    assert claim.verdict is Verdict.CLAIMED
    assert 30_000 < claim.remaining_ms <= 60_000
    assert worker.open_event(event_id, claim).id == event_id


@pytest.mark.parametrize("seconds", JUMPS)
def test_event_sealed_by_a_clock_of_before_the_jump_is_opened(server, sides, seconds):
    """W 28: the bridge has not measured again yet; both know the old clock."""
    bridge, worker = sides
    one = arrival(remaining_ms=60_000)
    bridge.clock.now_ms()
    jump(server, seconds)
    bridge.clock._tried_s = clocks.time.monotonic() + 60  # it measured just now, before the jump
    assert bridge.intake.accept([one]) == [Accepted.QUEUED]
    worker.clock.measure()
    claim = worker.claim(one.event.id)
    assert 30_000 < claim.remaining_ms <= 60_000
    assert worker.open_event(one.event.id, claim).id == one.event.id


def test_replay_of_an_old_event_is_refused_when_no_clock_jumped(server, sides, keyring):
    """W 28: a process that saw no jump takes the server's time as it is."""
    bridge, _ = sides
    event_id = bridge.accept(remaining_ms=60_000)
    jump(server, 5 * HOURS)
    with connect(BrokerSettings.model_validate({"REDIS_URL": server.url})) as client:
        newcomer = Ledgers(client, keyring).worker()
        client.hincrby(keys.event(HOST, event_id), "deadline_ms", 6 * HOURS * 1000)
        claim = newcomer.claim(event_id)
        assert claim.verdict is Verdict.CLAIMED
        with pytest.raises(SealBrokenError, match="replay window"):
            newcomer.open_event(event_id, claim)


@pytest.mark.parametrize("seconds", JUMPS)
def test_sweeper_drops_no_queued_event_for_a_jump(server, sides, seconds):
    """W 28: events in the queue of a live host wait on, and are claimed."""
    bridge, worker = sides
    event_id = bridge.accept(remaining_ms=60_000)
    jump(server, seconds)
    bridge.start_process()
    bridge.clock.measure()
    steps = bridge.sweeper.sweep_host(HOST)
    assert Step.EXPIRE not in steps
    assert Step.FAIL not in steps
    assert worker.claim(event_id).verdict is Verdict.CLAIMED


@pytest.mark.parametrize("seconds", JUMPS)
def test_events_are_checked_soon_after_a_jump(server, sides, seconds):
    """W 28: a check that an old clock planned far ahead is made by the new one."""
    bridge, worker = sides
    event_id = bridge.accept(remaining_ms=60_000)
    worker.claim(event_id)
    jump(server, seconds)
    bridge.clock.measure()
    bridge.start_process("w2.compute.1")

    def is_sent_again():
        bridge.sweeper.sweep_due()
        return bridge.state(event_id) == State.QUEUED

    wait_until(is_sent_again, 20, "the event of a dead worker to be sent again")


def test_event_that_is_late_by_every_clock_expires_after_a_jump(server, sides):
    """W 28: patience with a jump is not patience for ever."""
    bridge, worker = sides
    event_id = bridge.accept(remaining_ms=300)
    jump(server, 5 * HOURS)
    bridge.clock.measure()
    wait_until(
        lambda: (
            worker.claim(event_id).verdict is not Verdict.CLAIMED
            or worker.requeue(event_id) is None
        ),
        20,
        "the end of its time",
    )
    assert worker.claim(event_id).verdict in {Verdict.EXPIRED, Verdict.OVER}


@pytest.mark.parametrize("seconds", [5 * HOURS, -5 * HOURS])
def test_event_of_after_a_jump_has_its_own_deadline(server, sides, seconds):
    """W 28: the old clock, which is remembered, prolongs nothing."""
    bridge, worker = sides
    jump(server, seconds)
    for side in sides:
        side.clock.measure()
    event_id = bridge.accept(remaining_ms=20_000)
    claim = worker.claim(event_id)
    assert 10_000 < claim.remaining_ms <= 20_000
    assert worker.open_event(event_id, claim).id == event_id


def test_answer_is_repeated_after_the_clock_was_set_back(server, sides):
    """W 28: the same id again is answered from the stored reply."""
    bridge, worker = sides
    one = arrival()
    bridge.intake.accept([one])
    worker.claim(one.event.id)
    worker.complete(one.event.id, success({}))
    jump(server, -5 * HOURS)
    assert bridge.intake.accept([one]) == [Accepted.ANSWERED]


def test_jump_is_noticed_and_logged_once(server, sides):
    """W 28: by both clocks, and a second measurement is no second jump."""
    bridge, _ = sides
    assert not bridge.clock.jumped_within(60)
    jump(server, 2 * HOURS)
    bridge.clock.measure()
    bridge.clock.measure()
    assert bridge.clock.jumped_within(60)
    assert len(bridge.clock.known_ms()) == 2
