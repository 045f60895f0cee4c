"""`make scale`: measure what many hosts cost at rest.

Everything it starts is removed at the end, also after a failure or Ctrl-C.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click
from cryptography.fernet import Fernet

from cowpoke.broker import connect
from cowpoke.settings import BrokerSettings
from simulator.bench.report import DOCS, replace_between, write_json
from simulator.rig.processes import Program, ProgramEndedError, wait_until
from simulator.rig.redis_server import RedisMissingError, RedisServer
from simulator.scale import measures
from simulator.scale.figures import Figures, Share, Sweep
from simulator.scale.fleet import Fleet, host_name
from simulator.scale.open_events import fill
from simulator.scale.report import BEGIN, END, tables
from simulator.scale.resting_worker import commands_at_rest

JSON_PATH = Path("build/scale.json")
_FAILED = (ProgramEndedError, AssertionError, OSError, ValueError)
_START_TIMEOUT_S = 300.0
#: A bridge that just started looks at everything once; it rests when it needs less than this.
_CALM_PERCENT = 15.0
_CALM_WITHIN_S = 120.0
#: The checks of the events are spread over this time.
_CHECK_WITHIN_MS = 20_000


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many of everything, and how long."""

    hosts: int = 10_000
    open_events: int = 100_000
    intervals: int = 5
    interval_s: float = 10.0
    dead: int = 5
    due: tuple[int, ...] = (0, 100, 1_000)
    sweeps: int = 5
    failing: tuple[int, ...] = (1_250, 5_000)
    failings: int = 2
    settle_s: float = 5.0
    rest_s: float = 60.0


@click.command()
@click.option("--hosts", default=Size.hosts, show_default=True, help="Simulated hosts.")
@click.option("--open-events", default=Size.open_events, show_default=True, help="Of all hosts.")
@click.option("--interval", default=Size.interval_s, show_default=True, help="Seconds of rest.")
@click.option("--intervals", default=Size.intervals, show_default=True, help="Medians are of them.")
@click.option("--rest", default=Size.rest_s, show_default=True, help="Seconds for the worker.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=JSON_PATH,
    show_default=True,
    help="Where the figures go.",
)
@click.option("--write-docs", "docs", is_flag=True, help="Put them into docs/performance.md.")
def main(  # noqa: PLR0913 -- one argument for each option
    *,
    hosts: int,
    open_events: int,
    interval: float,
    intervals: int,
    rest: float,
    json_path: Path,
    docs: bool,
) -> None:
    """Measure the cost of many hosts at rest."""
    signal.signal(signal.SIGTERM, _end)
    size = Size(
        hosts=hosts,
        open_events=open_events,
        interval_s=interval,
        intervals=intervals,
        rest_s=rest,
        due=tuple(due for due in Size.due if due <= hosts),
    )
    try:
        figures = measure(size)
    except RedisMissingError as missing:
        sys.exit(f"scale: {missing}")
    except _FAILED as failed:
        sys.exit(f"scale: FAILED: {type(failed).__name__}: {failed}")
    write_json(figures, json_path)
    click.echo(f"\n{tables(figures)}\nwritten to {json_path}")
    if docs:
        replace_between(BEGIN, END, tables(figures), DOCS)


def measure(size: Size) -> Figures:
    """Measure everything, and remove what was started."""
    machine = _machine()
    queue_key = Fernet.generate_key().decode()
    say(f"one worker at rest for {size.rest_s:g} s")
    commands = commands_at_rest(queue_key, settle_s=size.settle_s, rest_s=size.rest_s)
    with ExitStack() as stack:
        return Scale(stack, size, queue_key).run(machine, commands)


class Scale:
    """The parts of one run; the exit stack removes all of them in every case."""

    def __init__(self, stack: ExitStack, size: Size, queue_key: str) -> None:
        self._stack = stack
        self._size = size
        # Without a file: how fast the disk of this machine writes would decide everything else.
        self._server = stack.enter_context(RedisServer())
        settings = BrokerSettings.model_validate(
            {"REDIS_URL": self._server.url, "QUEUE_KEY": queue_key}
        )
        self._client = stack.enter_context(connect(settings))
        self._keyring = settings.cluster_keyring()
        self._hosts = [host_name(number) for number in range(size.hosts)]
        self._watcher = Program(
            "simulator.scale.watcher",
            environment={
                "REDIS_URL": self._server.url,
                "QUEUE_KEY": queue_key,
                "SCALE_HOSTS": str(size.hosts),
            },
        )

    def run(self, machine: dict[str, Any], commands: dict[str, float]) -> Figures:
        """Measure the hosts, then their events, then single steps without a bridge beside."""
        size = self._size
        say(f"{size.hosts:,} hosts")
        fleet = self._stack.enter_context(
            Fleet(self._client, self._server.port, self._keyring, self._hosts)
        )
        shares = [self._shares("leases only, no bridge")]
        with self._watcher:
            self._watcher.wait_for_line("watcher.ready", _START_TIMEOUT_S)
            self._calm_down()
            shares.append(self._shares("no open events"))
            say(f"{size.open_events:,} open events")
            fill(
                self._client,
                self._keyring,
                fleet,
                self._hosts,
                per_host=size.open_events // size.hosts,
                check_within_ms=_CHECK_WITHIN_MS,
            )
            self._calm_down()
            shares.append(self._shares(f"{size.open_events:,} open events"))
            say(f"{size.dead} dead hosts")
            noticed_s = measures.notice_dead(self._client, fleet, self._hosts[-size.dead :])
            lost_leases = fleet.lost
        say("sweeps")
        sweeps = [self._sweep(due, lost=False) for due in size.due]
        sweeps += [self._sweep(due, lost=True) for due in size.due if due]
        say("errors for the events of one queue")
        failing = [
            measures.fail_queued(
                self._client,
                self._keyring,
                self._server.pid,
                events,
                falling=falling,
                times=size.failings,
            )
            for falling in (False, True)
            for events in size.failing
        ]
        return Figures(
            machine=machine,
            hosts=size.hosts,
            open_events=size.open_events,
            interval_s=size.interval_s,
            shares=shares,
            noticed_s=noticed_s,
            sweeps=sweeps,
            failing=failing,
            ping_bytes=measures.kept_of_ping(self._client, self._keyring),
            commands=commands,
            rest_s=size.rest_s,
            lost_leases=lost_leases,
        )

    def _pids(self) -> dict[str, int]:
        pids = {"redis": self._server.pid}
        return {**pids, "bridge": self._watcher.pid} if self._watcher.running else pids

    def _shares(self, situation: str) -> Share:
        size = self._size
        say(f"{size.intervals} x {size.interval_s:g} s of rest: {situation}")
        found = measures.shares(
            situation, self._pids(), interval_s=size.interval_s, intervals=size.intervals
        )
        say(f"  bridge {found.bridge_percent:.2f} %, Redis {found.redis_percent:.2f} %")
        return found

    def _calm_down(self) -> None:
        """Wait until the bridge rests; what it needs then is measured, whatever it is."""
        try:
            wait_until(self._is_calm, _CALM_WITHIN_S, "the bridge to rest")
        except AssertionError as busy:
            say(f"  {busy}")

    def _is_calm(self) -> bool:
        found = measures.shares("", self._pids(), interval_s=1.0, intervals=3)
        return found.bridge_percent < _CALM_PERCENT

    def _sweep(self, due: int, *, lost: bool) -> Sweep:
        return measures.sweep(
            self._client,
            self._keyring,
            self._server.pid,
            self._hosts[:due],
            lost=lost,
            times=self._size.sweeps,
        )


def say(what: str) -> None:
    """Print one line of progress."""
    click.echo(f"scale: {what}", err=True)


def _machine() -> dict[str, Any]:
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "CPUs": os.cpu_count(),
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def _end(number: int, _: FrameType | None) -> None:
    """Raise SystemExit, so that everything is removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(prog_name="python -m simulator.scale")
