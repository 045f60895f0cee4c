"""The figures of a lane in a real Redis: when they are written, and what that costs at rest."""

from types import SimpleNamespace

import docker.errors
import pytest
import requests

from cowpoke import keys
from cowpoke.figures import EngineState, opened_figures
from cowpoke.liveness import Leases
from simulator.rig.processes import wait_until
from worker.engine.figures import EngineFigures
from worker.process.figures import RENEW_EVERY_S, WRITE_EVERY_S, FiguresWriter

HOST, WORKER, LANE = "h-1", "w-1", "control"
KEY = keys.figures(HOST, WORKER)
UP = EngineState(reachable=True, version="28.5", api_version="1.51")
DOWN = EngineState(reachable=False, reason="cannot be reached")


class Rig:
    """The writer of one lane, and a clock that a test moves."""

    def __init__(self, client, keyring):
        self.client = client
        self.sealer = keyring.host(HOST)
        self.counts = EngineFigures()
        self.now_s = 1_000.0
        runtime = SimpleNamespace(
            keyring=keyring,
            redis=client,
            identity=SimpleNamespace(host_uuid=HOST),
            worker_id=WORKER,
            lane=LANE,
            engine=SimpleNamespace(figures=self.counts),
        )
        self.writer = FiguresWriter(runtime, clock=lambda: self.now_s)

    def call(self, kind="container.list", error=None):
        """Make a call to the Engine."""
        try:
            with self.counts.timed(kind):
                if error is not None:
                    raise error
        except type(error):
            pass

    def read(self):
        """What another program reads; None without figures."""
        text = self.client.hget(KEY, LANE)
        return text and opened_figures(
            self.sealer, text, host_uuid=HOST, worker_id=WORKER, lane=LANE
        )

    def commands(self, seconds, *, each=lambda: None):
        """Let time pass, and return how many commands Redis got for it."""
        self.client.config_resetstat()
        for _ in range(round(seconds / WRITE_EVERY_S)):
            self.now_s += WRITE_EVERY_S
            each()
            self.writer.write()
        stats = self.client.info("commandstats")
        ours = ("cmdstat_hset", "cmdstat_pexpire", "cmdstat_del")
        return sum(stats[name]["calls"] for name in ours if name in stats)


@pytest.fixture
def rig(client, keyring):
    """The control lane of a worker."""
    return Rig(client, keyring)


def test_figures_are_written_at_the_start(rig):
    """A worker that never called the Engine is known too."""
    rig.writer.write()
    found = rig.read()
    assert (found.lane, found.calls, found.engine) == (LANE, {}, None)
    assert 0 < rig.client.pttl(KEY) <= keys.FIGURES_TTL_MS


def test_a_lane_at_rest_costs_one_command_in_half_a_minute(rig):
    """Ten thousand idle hosts must not be a load for Redis."""
    rig.writer.write()
    assert rig.commands(10 * RENEW_EVERY_S) == 10


def test_a_lane_that_answers_pings_costs_two_commands_in_half_a_minute(rig):
    """Plain counts are not worth more."""
    rig.writer.write()
    assert rig.commands(10 * RENEW_EVERY_S, each=rig.call) == 20
    assert rig.read().calls["list"].count == 30


@pytest.mark.parametrize(
    "change",
    [
        lambda rig: rig.call(error=requests.exceptions.ConnectionError()),
        lambda rig: rig.counts.downloaded(1),
        lambda rig: rig.writer.set_engine(UP),
    ],
    ids=["error", "bytes", "engine"],
)
def test_what_matters_is_written_with_the_next_look(rig, change):
    """Within ten seconds."""
    rig.writer.write()
    change(rig)
    assert rig.commands(WRITE_EVERY_S) == 2
    read, counted = rig.read(), rig.writer.figures()
    assert (read.pulls, read.engine, set(read.calls)) == (
        *(counted.pulls, counted.engine),
        set(counted.calls),
    )


def test_a_lost_engine_is_written_at_once(rig):
    """By the thread of the lane, which otherwise sleeps."""
    rig.writer.set_engine(UP)
    rig.writer.start()
    try:
        wait_until(lambda: (found := rig.read()) and found.engine == UP, 20, "the first figures")
        rig.writer.set_engine(DOWN)
        wait_until(lambda: rig.read().engine == DOWN, 8, "the new state of the Engine")
    finally:
        rig.writer.stop()
        rig.writer.join(20)


def test_a_redis_that_forgot_gets_the_figures_again(rig):
    """With the next renewal; what else is in the place of the key is replaced."""
    rig.writer.write()
    rig.client.delete(KEY)
    rig.commands(RENEW_EVERY_S)
    assert rig.read() is not None
    rig.client.delete(KEY)
    rig.client.set(KEY, "no hash")
    rig.call(error=requests.exceptions.ReadTimeout())
    rig.commands(RENEW_EVERY_S)
    assert rig.read().calls["list"].errors == 1


def test_a_worker_that_leaves_takes_its_figures_along(rig):
    """They would be shown until they expire."""
    rig.writer.write()
    Leases(rig.client).give_up(HOST, WORKER)
    assert not rig.client.exists(KEY)


def test_a_refusal_is_an_answer_and_no_error(rig):
    """404 is how the Engine says that nothing has this name; 500 is a failure."""
    for status in (404, 409, 500, 503):
        response = requests.Response()
        response.status_code = status
        rig.call("container.inspect", docker.errors.APIError("x", response))
    rig.call("container.inspect", requests.exceptions.ReadTimeout())
    rig.call("info")
    rig.call("events")
    calls = rig.counts.calls
    assert (calls["inspect"].count, calls["inspect"].errors) == (5, 3)
    assert (set(calls), calls["other"].count) == ({"inspect", "other"}, 1)
