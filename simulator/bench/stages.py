"""Duration of each stage of an event, from the times in the ledger and of cattle."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import redis

from cowpoke import keys
from simulator.client import Call

RECORDED = "to the ledger"
CLAIMED = "to a worker"
DONE = "in the worker"
REPLIED = "back to cattle"
#: Redis's times are cut to whole ms; on average half a one is missing.
_CUT_MS = 0.5


def stages_ms(ledger: redis.Redis, host_uuid: str, call: Call) -> dict[str, float]:
    """Return the duration of each stage of an answered event.

    Redis, cattle and this process use the clock of one machine.
    """
    names = ["received_ms", "claimed_ms", "answered_ms"]
    row = ledger.hmget(keys.event(host_uuid, call.id), names)
    recorded_ms, claimed_ms, answered_ms = (float(str(at)) + _CUT_MS for at in row)
    sent_ms = float(call.record["sent_ms"][0])
    assert call.elapsed_ms is not None
    return {
        RECORDED: recorded_ms - sent_ms,
        CLAIMED: claimed_ms - recorded_ms,
        DONE: answered_ms - claimed_ms,
        REPLIED: sent_ms + call.elapsed_ms - answered_ms,
    }


def mean_stages_ms(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each stage; single values only have the ledger's resolution of 1 ms."""
    return {
        stage: statistics.mean(one[stage] for one in found)
        for stage in (RECORDED, CLAIMED, DONE, REPLIED)
    }
