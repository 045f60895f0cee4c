"""`make bench`: compare the system with the raw Engine in one run.

Everything it starts is removed at the end, also after a failure or Ctrl-C.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import signal
import sys
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from simulator.bench.activates import many_at_once, one_by_one
from simulator.bench.containers import Raw
from simulator.bench.figures import Compared, Figures
from simulator.bench.footprint import measure_footprints
from simulator.bench.operations import count_calls
from simulator.bench.pings import measure_pings
from simulator.bench.report import tables, write_docs, write_json
from simulator.bench.stack import CallFailedError, Stack
from simulator.rig.docker_engine import DockerEngine
from simulator.rig.engine import EngineMissingError, find_or_start_engine
from simulator.rig.image import BusyboxMissingError, build_image, remove_image
from simulator.rig.packages import PackageInstallError
from simulator.rig.processes import ProgramEndedError
from simulator.rig.redis_server import RedisMissingError

JSON_PATH = Path("build/bench.json")
_MISSING = (EngineMissingError, RedisMissingError, BusyboxMissingError, PackageInstallError)
_FAILED = (CallFailedError, ProgramEndedError, AssertionError, OSError, ValueError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """The number of measurements."""

    others: tuple[int, ...] = (0, 50, 200)
    activates: int = 30
    at_once: int = 50
    bursts: int = 3
    pings: int = 300
    warm_ups: int = 5
    idle_s: float = 20.0


QUICK = Size(others=(0, 50), activates=8, at_once=10, bursts=3, pings=100, idle_s=5.0)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer containers and repetitions; about a minute.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=JSON_PATH,
    show_default=True,
    help="Where the figures go.",
)
@click.option("--write-docs", "docs", is_flag=True, help="Put them into docs/performance.md.")
def main(*, quick: bool, json_path: Path, docs: bool) -> None:
    """Compare the system with the raw Engine."""
    signal.signal(signal.SIGTERM, _end)
    try:
        with ExitStack() as stack:
            figures = Bench(stack, QUICK if quick else Size()).run()
    except _MISSING as missing:
        sys.exit(f"bench: {missing}")
    except _FAILED as failed:
        sys.exit(f"bench: FAILED: {type(failed).__name__}: {failed}")
    write_json(figures, json_path)
    click.echo(f"\n{tables(figures)}\nwritten to {json_path}")
    if docs:
        write_docs(figures)


class Bench:
    """The parts of one run; the exit stack removes all of them in every case."""

    def __init__(self, stack: ExitStack, size: Size) -> None:
        self._stack = stack
        self._size = size
        self._mark = uuid.uuid4().hex[:8]

    def run(self) -> Figures:
        """Measure everything; the exit stack stops the Engine and the system."""
        size = self._size
        engine = self._stack.enter_context(find_or_start_engine())
        raw = self._raw(engine)
        machine = _machine(raw)
        activates: list[Compared] = []
        calls: dict[int, dict[str, dict[str, int]]] = {}
        with Stack(engine.environment) as system:
            self._warm_up(system, raw)
            say(f"{size.pings} pings")
            pings = measure_pings(system, times=size.pings)
            for others in size.others:
                say(f"{others} other containers")
                raw.add_others(others)
                activates += self._activates(system, raw, others)
            say(f"{size.idle_s:g} s of rest")
            footprints = measure_footprints(system.pids(), idle_s=size.idle_s)
            raw.clear(raw.marked())
        raw = self._raw(engine)
        for others in size.others:
            say(f"counting Docker calls beside {others} other containers")
            raw.add_others(others)
            calls[others] = count_calls(engine.environment, raw)
        return Figures(
            machine=machine,
            activates=activates,
            pings=pings,
            calls=calls,
            footprints=footprints,
            idle_s=size.idle_s,
        )

    def _raw(self, engine: DockerEngine) -> Raw:
        image = f"cowpoke-bench-{self._mark}:latest"
        client = engine.client()
        self._stack.callback(client.close)
        build_image(client, image)
        self._stack.callback(remove_image, client, image)
        raw = Raw(engine.environment, image, self._mark, connections=self._size.at_once + 1)
        self._stack.callback(raw.close)
        return raw

    def _warm_up(self, system: Stack, raw: Raw) -> None:
        say("warming up")
        one_by_one(system, raw, others=0, times=self._size.warm_ups)
        measure_pings(system, times=self._size.warm_ups * 4)

    def _activates(self, system: Stack, raw: Raw, others: int) -> list[Compared]:
        size = self._size
        say(f"  {size.activates} containers one by one, by turns with the floor")
        singly = one_by_one(system, raw, others=others, times=size.activates)
        say(f"  {size.bursts} x {size.at_once} at once, by turns with the floor")
        at_once = many_at_once(system, raw, others=others, at_once=size.at_once, times=size.bursts)
        return [singly, at_once]


def say(what: str) -> None:
    """Print one line of progress."""
    click.echo(f"bench: {what}", err=True)


def _machine(raw: Raw) -> dict[str, Any]:
    version = raw.client.version()
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "CPUs": os.cpu_count(),
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "Docker": version["Version"],
        # How far single times can be trusted, before this run adds its own; the ratios bear more.
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "others' containers at the start": len(raw.client.containers(all=True)),
    }


def _end(number: int, _: FrameType | None) -> None:
    """Raise KeyboardInterrupt, so that everything is removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(prog_name="python -m simulator.bench")
