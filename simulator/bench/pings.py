"""The round trip of a plain ping, from cattle's send to cattle's receipt."""

from __future__ import annotations

import time

from simulator.bench.figures import Pings, Spread
from simulator.bench.stack import HOST_UUID, Stack
from simulator.bench.stages import mean_stages_ms, stages_ms
from simulator.sample import SampleEvent

#: cattle's pings come singly, into a system at rest.
PAUSE_S = 0.02


def measure_pings(stack: Stack, *, times: int) -> Pings:
    """Measure pings one after the other, with a pause before each."""
    event = SampleEvent(name="ping", resource_type="agent", resource_id="1a1", data={})
    round_trips_ms: list[float] = []
    stages: list[dict[str, float]] = []
    for _ in range(times):
        time.sleep(PAUSE_S)
        call = stack.call(event)
        assert call.elapsed_ms is not None
        round_trips_ms.append(call.elapsed_ms)
        stages.append(stages_ms(stack.redis, HOST_UUID, call))
    return Pings(round_trip=Spread.of(round_trips_ms), stages_ms=mean_stages_ms(stages))
