"""`python -m simulator.chaos`: inject faults under load; exit code 1 if an event was lost."""

import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click
import redis
from docker.errors import DockerException
from requests.exceptions import RequestException

from cowpoke import keys
from simulator import sample
from simulator.chaos.account import Account
from simulator.chaos.faults import FaultMaker
from simulator.chaos.ledger_states import ledger_states
from simulator.chaos.stage import Stage
from simulator.chaos.stream import TIMEOUT_MS, EventStream, remove_all, send
from simulator.rig.errors import RigError

UUID_LABEL = "io.rancher.container.uuid"
WARM_UP_S = 3.0
#: After its deadline an event is expired by a sweeper within this time.
SETTLED_MS = 15_000


@click.command()
@click.option("--duration-s", default=300, show_default=True, help="How long parts are broken.")
@click.option("--seed", type=int, help="Repeats the choices of a run; random when not given.")
@click.option("--hosts", default=3, show_default=True, help="Hosts with workers of their own.")
@click.option("--rate-hz", default=3.0, show_default=True, help="Wishes per second, on average.")
@click.option("--fault-every-s", default=2.0, show_default=True, help="Mean time between faults.")
def main(
    duration_s: int, seed: int | None, hosts: int, rate_hz: float, fault_every_s: float
) -> None:
    """Kill parts under load and account for every event."""
    # Ended like by Ctrl-C, so that everything is taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = secrets.randbelow(10**6) if seed is None else seed
    click.echo(f"chaos: seed {seed}, {duration_s} s, {hosts} hosts")
    try:
        with Stage(hosts) as stage:
            account = _run(stage, seed, duration_s, rate_hz, fault_every_s)
            _show(account, seed)
    except RigError as missing:
        sys.exit(f"chaos: {missing}")
    sys.exit(0 if account.is_good else 1)


def _show(account: Account, seed: int) -> None:
    for words in account.lost:
        click.echo(f"LOST {words}")
    for instance_uuid in sorted(account.doubled):
        click.echo(f"DOUBLED containers of instance {instance_uuid}")
    click.echo(account.table())
    click.echo(f"chaos: {'passed' if account.is_good else 'FAILED'} (seed {seed})")


def _run(stage: Stage, seed: int, duration_s: int, rate_hz: float, fault_every_s: float) -> Account:
    account = Account()
    stream = EventStream(stage.cattle_url, stage.hosts, stage.image, seed=seed, rate_hz=rate_hz)
    maker = FaultMaker(stage, seed=seed + 1)
    pace = random.Random(seed + 2)  # noqa: S311 -- repeatable, guards nothing
    stream.start()
    time.sleep(WARM_UP_S)
    account.first = stage.footprint()
    over_s = time.monotonic() + duration_s
    try:
        while time.monotonic() < over_s:
            broken = maker.break_something()
            account.broken.append(broken)
            after = "never" if broken.recovery_s is None else f"{broken.recovery_s:.1f} s"
            click.echo(f"  {broken.name:<28} answered again after {after}")
            account.doubled |= _doubled(stage)
            with suppress(redis.RedisError):
                _look_at_ledger(stage, account, stage.cattle.records(data=False))
            time.sleep(pace.expovariate(1 / fault_every_s))
    finally:
        stage.heal()
        stream.stop()
    _settle(stage, stream, maker, account)
    return account


def _settle(stage: Stage, stream: EventStream, maker: FaultMaker, account: Account) -> None:
    """Wait without faults: every call ends, every instance is removed, nothing is left."""
    _wait_all_ended(stage)
    for host in stage.hosts:
        probe = sample.instance_remove(maker.probe_instances[host.uuid])
        stage.cattle.wait(send(stage.cattle, probe, host.access_key), TIMEOUT_MS / 1000)
    remove_all(stage.cattle, stream)
    _wait_all_ended(stage)
    account.last = stage.footprint()
    account.left_over = len(stage.containers())
    account.in_redis = _in_redis(stage)
    agents = {agent["id"]: agent["access_key"] for agent in stage.cattle.agents()}
    records = stage.cattle.records(data=False)
    _look_at_ledger(stage, account, records)
    account.count(records, agents)


def _look_at_ledger(stage: Stage, account: Account, records: Sequence[Mapping[str, Any]]) -> None:
    """Store the ledger entries of events without an answer, before they expire."""
    settled_ms = time.time() * 1000 - SETTLED_MS
    ids = [
        record["id"]
        for record in records
        if record["state"] == "timeout"
        and record["id"] not in account.ledger
        and (record["sent_ms"] or [0])[0] + record["timeout_ms"] < settled_ms
    ]
    with stage.redis.client() as client:
        account.ledger.update(ledger_states(client, (host.uuid for host in stage.hosts), ids))


def _wait_all_ended(stage: Stage) -> None:
    """Wait until each call is answered, at most two deadlines."""
    deadline_s = time.monotonic() + 2 * TIMEOUT_MS / 1000
    for record in stage.cattle.records(data=False):
        if record["state"] in {"waiting", "timeout"}:
            stage.cattle.wait(record["id"], max(deadline_s - time.monotonic(), 0.1))


def _doubled(stage: Stage) -> set[str]:
    """Return the instances with more than one container; none while dockerd is away."""
    try:
        counts = Counter(labels.get(UUID_LABEL, "") for labels in stage.containers())
    except (DockerException, RequestException):
        return set()
    return {instance_uuid for instance_uuid, count in counts.items() if count > 1}


def _in_redis(stage: Stage) -> dict[str, int]:
    """Return what is left in Redis: open events, messages, outcomes."""
    with stage.redis.client() as client:
        left = {"outcomes": sum(int(client.xlen(key)) for key in keys.OUTCOME_STREAMS)}
        for host in stage.hosts:
            left["outcomes"] += int(client.xlen(keys.outbox(host.uuid)))
            left["open events"] = left.get("open events", 0) + int(
                client.zcard(keys.open_events(host.uuid))
            )
            for suffix in ("", ".control", ".images"):
                queued = int(client.llen(f"host.{host.uuid}{suffix}"))
                left["messages"] = left.get("messages", 0) + queued
    return left


if __name__ == "__main__":
    main(prog_name="python -m simulator.chaos")
