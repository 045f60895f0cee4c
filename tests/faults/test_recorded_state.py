"""Current programs start on what programs of contract version 1 left in Redis: all is answered.

`tests/contract/test_wire_v1.py` compares the formats; here real programs work with them.
"""

from typing import Any

import pytest

from cowpoke import keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.liveness import LEASE_TTL_MS
from cowpoke.seal import ClusterKeyring
from simulator.client import Cattle
from simulator.rig.processes import Program, wait_until
from tests.faults.faulty_system import FaultySystem
from tests.fixtures.wire import record
from tests.fixtures.wire.record import BRIDGE, EVENTS, QUEUE_KEY, WORKER
from tests.ledgers import HOST, Ledgers

AGENT = {"access_key": "access", "secret_key": "secret", "kind": "agent"}
RECORDED = record.load("v1")
RECEIVED_MS = int(RECORDED["queued"][keys.event(HOST, "activate-1")]["value"]["received_ms"])


class RecordedSystem(FaultySystem):
    """A system on the Redis of a recorded moment; its cattle waits for the recorded events."""

    def __init__(self, moment: str, **options: Any) -> None:
        super().__init__(host_uuid=HOST, agent=AGENT, **options)
        self.queue_key = QUEUE_KEY
        self._moment = moment

    def start_simulator(self) -> Program:
        """Let cattle send the events before there is a bridge, and make the moment be now."""
        program = super().start_simulator()
        cattle = Cattle(self.cattle_url)
        for event_id, event in EVENTS.items():
            if event_id in open_at(self._moment):
                cattle.send(raw_event={"id": event_id, **event})
        cattle.close()
        with connect(BrokerSettings.model_validate({"REDIS_URL": self.redis.url})) as client:
            client.flushall()
            record.restore(client, RECORDED[self._moment])
            ledgers = Ledgers(client, ClusterKeyring(QUEUE_KEY))
            ledgers.pass_time(RECEIVED_MS - ledgers.clock.now_ms())
            # The programs that wrote it have just been killed.
            for lease in (keys.lease(HOST, WORKER), keys.bridge(BRIDGE)):
                client.pexpire(lease, LEASE_TTL_MS)
        return program


def open_at(moment: str) -> set[str]:
    """The events that cattle waits for at a moment."""
    return set(EVENTS) - ({"refused-1"} if moment == "claimed" else set())


@pytest.mark.parametrize("moment", ["claimed", "collected"])
def test_recorded_events_are_answered(scripted, make_redis, tmp_path, moment):
    """Also the event of a killed worker, and the outcomes that a killed bridge collected."""
    with RecordedSystem(
        moment, scripted=scripted, redis=make_redis(), state_dir=tmp_path
    ) as system:
        ended = {event_id: system.cattle.wait(event_id, 60) for event_id in open_at(moment)}
        assert {call.state for call in ended.values()} <= {"success", "error"}, ended
        assert system.cattle.stats()["duplicates"] == 0
        with system.redis.client() as client:
            wait_until(lambda: not client.zcard(keys.open_events(HOST)), 10, "all to be over")
            assert client.llen(keys.BRIDGE_DEAD_LETTERS) <= 1
