"""The Redis server's clock jumps: no live event is refused or dropped for that."""

import pytest
from cowpoke.ledger.ledger import Accepted, Ledger, Verdict

from cowpoke import clock as clocks
from cowpoke.broker import BrokerSettings, connect
from cowpoke.ledger.recovery import Step, Sweeper
from cowpoke.seal import SealBrokenError
from simulator.rig.errors import RigError
from simulator.rig.processes import wait_until
from tests.clocks import JumpingRedis
from tests.ledgers import HOST, accept, arrival, start_process

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
def ledgers(server, sealer):
    """Two ledgers with clocks of their own, as a bridge and a worker have."""
    server.jump(0)
    settings = BrokerSettings.model_validate({"REDIS_URL": server.url})
    with connect(settings) as one, connect(settings) as other:
        one.flushall()
        found = Ledger(one, sealer), Ledger(other, sealer)
        for ledger in found:
            ledger.clock.measure()
        yield found


def jump(server, seconds):
    """Let the clock jump; returns when the server shows it."""
    server.jump(seconds)
    with server.client() as client:
        real = clocks.time.time
        wait_until(lambda: abs(client.time()[0] - real() - seconds) < 60, 10, "the jump")


@pytest.mark.parametrize("seconds", JUMPS)
def test_event_of_before_a_jump_is_taken_and_opened_after_it(server, ledgers, seconds):
    """W 28: it waited in the queue; what is left of its time is what it was."""
    bridge, worker = ledgers
    event_id = accept(bridge, remaining_ms=60_000)
    jump(server, seconds)
    take = worker.take(event_id, "boot-1")
    assert take.verdict is Verdict.TAKEN
    assert 30_000 < take.remaining_ms <= 60_000
    assert worker.open_event(event_id, HOST, take).id == event_id


@pytest.mark.parametrize("seconds", JUMPS)
def test_event_sealed_by_a_clock_of_before_the_jump_is_opened(server, ledgers, seconds):
    """W 28: the bridge has not measured again yet; both know the old clock."""
    bridge, worker = ledgers
    one = arrival(remaining_ms=60_000)
    bridge.clock.now_ms()
    jump(server, seconds)
    bridge.clock._tried_s = clocks.time.monotonic() + 60  # it measured just now, before the jump
    assert bridge.accept([one]) == [Accepted.QUEUED]
    worker.clock.measure()
    take = worker.take(one.event.id, "boot-1")
    assert 30_000 < take.remaining_ms <= 60_000
    assert worker.open_event(one.event.id, HOST, take).id == one.event.id


def test_replay_of_an_old_event_is_refused_when_no_clock_jumped(server, ledgers, sealer):
    """W 28: a process that saw no jump takes the server's time as it is."""
    bridge, _ = ledgers
    event_id = accept(bridge, remaining_ms=60_000)
    jump(server, 5 * HOURS)
    with connect(BrokerSettings.model_validate({"REDIS_URL": server.url})) as client:
        newcomer = Ledger(client, sealer)
        client.hincrby(f"cowpoke:event:{event_id}", "deadline_ms", 6 * HOURS * 1000)
        take = newcomer.take(event_id, "boot-1")
        assert take.verdict is Verdict.TAKEN
        with pytest.raises(SealBrokenError, match="too long ago"):
            newcomer.open_event(event_id, HOST, take)


@pytest.mark.parametrize("seconds", JUMPS)
def test_sweeper_drops_no_queued_event_for_a_jump(server, ledgers, seconds):
    """W 28: events in the queue of a live host wait on, and are taken."""
    bridge, worker = ledgers
    event_id = accept(bridge, remaining_ms=60_000)
    jump(server, seconds)
    start_process(bridge._redis)
    bridge.clock.measure()
    steps = Sweeper(bridge._redis, bridge).sweep(HOST)
    assert Step.EXPIRE not in steps
    assert Step.FAIL not in steps
    assert worker.take(event_id, "boot-1").verdict is Verdict.TAKEN


def test_event_that_is_late_by_every_clock_expires_after_a_jump(server, ledgers):
    """W 28: patience with a jump is not patience for ever."""
    bridge, worker = ledgers
    event_id = accept(bridge, remaining_ms=300)
    jump(server, 5 * HOURS)
    bridge.clock.measure()
    wait_until(
        lambda: (
            worker.take(event_id, "boot-1").verdict is not Verdict.TAKEN
            or worker.give_back(event_id, "boot-1") is None
        ),
        20,
        "the end of its time",
    )
    assert worker.take(event_id, "boot-1").verdict in {Verdict.EXPIRED, Verdict.OVER}


@pytest.mark.parametrize("seconds", [5 * HOURS, -5 * HOURS])
def test_event_of_after_a_jump_has_its_own_deadline(server, ledgers, seconds):
    """W 28: the old clock, which is remembered, prolongs nothing."""
    bridge, worker = ledgers
    jump(server, seconds)
    for ledger in ledgers:
        ledger.clock.measure()
    event_id = accept(bridge, remaining_ms=20_000)
    take = worker.take(event_id, "boot-1")
    assert 10_000 < take.remaining_ms <= 20_000
    assert worker.open_event(event_id, HOST, take).id == event_id


def test_answer_is_repeated_after_the_clock_was_set_back(server, ledgers):
    """W 28: the same id again is answered from the stored reply."""
    bridge, worker = ledgers
    from cowpoke.outcomes import success  # noqa: PLC0415

    one = arrival()
    bridge.accept([one])
    worker.take(one.event.id, "boot-1")
    worker.settle(one.event.id, success({}))
    jump(server, -5 * HOURS)
    assert bridge.accept([one]) == [Accepted.ANSWERED]


def test_jump_is_noticed_and_logged_once(server, ledgers, caplog):
    """W 28: by both clocks, and a second measurement is no second jump."""
    bridge, _ = ledgers
    assert not bridge.clock.jumped_within(60)
    jump(server, 2 * HOURS)
    bridge.clock.measure()
    bridge.clock.measure()
    assert bridge.clock.jumped_within(60)
    assert len(bridge.clock.known_ms()) == 2
