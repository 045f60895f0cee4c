"""Activate compared with the floor; alternating, because the speed of a machine varies."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from simulator.bench.containers import Raw
from simulator.bench.figures import Compared, Spread, median_ratio
from simulator.bench.stack import HOST_UUID, Stack
from simulator.bench.stages import mean_stages_ms, stages_ms


def one_by_one(stack: Stack, raw: Raw, *, others: int, times: int) -> Compared:
    """Alternate floor and system; each goes first equally often."""
    floor_ms: list[float] = []
    system_ms: list[float] = []
    stages: list[dict[str, float]] = []
    for turn in range(times):
        for side in ("floor", "system") if turn % 2 else ("system", "floor"):
            if side == "floor":
                one_ms, container_id = raw.floor_ms()
                floor_ms.append(one_ms)
            else:
                instance = raw.instance()
                call = stack.call(raw.activate_event(instance))
                assert call.elapsed_ms is not None
                system_ms.append(call.elapsed_ms)
                stages.append(stages_ms(stack.redis, HOST_UUID, call))
                container_id = raw.id_of(instance)
            raw.clear([container_id])
    return Compared(
        others=others,
        at_once=1,
        floor=Spread.of(floor_ms),
        system=Spread.of(system_ms),
        ratio=median_ratio(system_ms, floor_ms),
        stages_ms=mean_stages_ms(stages),
    )


def many_at_once(stack: Stack, raw: Raw, *, others: int, at_once: int, times: int) -> Compared:
    """Alternate bursts of floor and system; durations count from the start of the burst."""
    floor_ms: list[float] = []
    system_ms: list[float] = []
    floor_all_ms: list[float] = []
    system_all_ms: list[float] = []
    for turn in range(times):
        for side in ("floor", "system") if turn % 2 else ("system", "floor"):
            if side == "floor":
                took_ms, ids = _floor_burst(raw, at_once)
                floor_ms += took_ms
                floor_all_ms.append(max(took_ms))
            else:
                took_ms, ids = _system_burst(stack, raw, at_once)
                system_ms += took_ms
                system_all_ms.append(max(took_ms))
            raw.clear(ids)
    return Compared(
        others=others,
        at_once=at_once,
        floor=Spread.of(floor_ms),
        system=Spread.of(system_ms),
        ratio=median_ratio(system_all_ms, floor_all_ms),
        floor_all_ms=statistics.median(floor_all_ms),
        system_all_ms=statistics.median(system_all_ms),
    )


def _floor_burst(raw: Raw, at_once: int) -> tuple[list[float], list[str]]:
    barrier = Barrier(at_once + 1)

    def one(_number: int) -> tuple[float, str]:
        barrier.wait()
        _, container_id = raw.floor_ms()
        return time.perf_counter(), container_id

    with ThreadPoolExecutor(at_once) as pool:
        ending = pool.map(one, range(at_once))
        began_s = time.perf_counter()
        barrier.wait()
        ended = list(ending)
    return [(at_s - began_s) * 1000 for at_s, _ in ended], [one_id for _, one_id in ended]


def _system_burst(stack: Stack, raw: Raw, at_once: int) -> tuple[list[float], list[str]]:
    instances = [raw.instance() for _ in range(at_once)]
    event_ids = [stack.send(raw.activate_event(instance)) for instance in instances]
    calls = [stack.wait(event_id) for event_id in event_ids]
    began_ms = min(float(call.record["sent_ms"][0]) for call in calls)
    ended_ms = [float(call.record["sent_ms"][0]) + (call.elapsed_ms or 0.0) for call in calls]
    return [at_ms - began_ms for at_ms in ended_ms], [raw.id_of(one) for one in instances]
