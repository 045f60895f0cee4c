"""How long until cattle sees a container that is killed by hand: `python -m simulator.bench.kills`.

Each container runs until its start has reached cattle. Then it is killed through the Engine's API,
as by `docker kill`. The time ends when the simulated cattle has received the POST of `die`. The
part of the Engine is measured beside it, by another follower of its events.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import docker
from docker.errors import APIError

from simulator.bench.figures import percentile
from simulator.bench.stack import Stack
from simulator.rig.containers import remove_containers
from simulator.rig.docker_engine import DockerEngine
from simulator.rig.engine import find_or_start_engine
from simulator.rig.image import TEST_IMAGE, build_image
from simulator.rig.processes import wait_until

WITHIN_S = 60.0


@click.command()
@click.option("--kills", default=50, show_default=True, help="Containers, one after the other.")
def main(*, kills: int) -> None:
    """Print the times from the kill to the POST at cattle, and those of the Engine alone."""
    with find_or_start_engine() as engine, Stack(engine.environment) as stack:
        client = engine.client()
        build_image(client, TEST_IMAGE)
        # cattle takes no reports of a host that it does not know.
        stack.cattle.ask_report()
        followed: dict[str, float] = {}
        with _following(engine, followed):
            pairs = [_kill_one(client, stack, followed) for _ in range(kills)]
        version, load = client.version()["Version"], os.getloadavg()[0]
        client.close()
    click.echo(f"{kills} kills, Docker {version}, {os.cpu_count()} CPUs, load {load:.1f}")
    for name, column in (("POST at cattle", 0), ("event of the Engine", 1)):
        times_ms = [pair[column] for pair in pairs]
        shown = ", ".join(f"p{p} {percentile(times_ms, p / 100):.0f} ms" for p in (50, 95, 100))
        click.echo(f"{name:<20} {shown}")


def _kill_one(
    client: docker.APIClient, stack: Stack, followed: dict[str, float]
) -> tuple[float, float]:
    """Return the ms until cattle had the POST, and until the Engine gave the event."""
    container_id = client.create_container(TEST_IMAGE, ["/sleep.sh"])["Id"]
    try:
        client.start(container_id)
        _received_ms(stack, container_id, "start")
        began_ms = time.time() * 1000
        client.kill(container_id)
        received_ms = _received_ms(stack, container_id, "die")
        wait_until(lambda: container_id in followed, WITHIN_S, "the event of the Engine")
        return received_ms - began_ms, followed[container_id] - began_ms
    finally:
        remove_containers(client, container_id)


def _received_ms(stack: Stack, container_id: str, status: str) -> float:
    """Wait for the report of a container; return when it came."""

    def found() -> list[dict[str, Any]]:
        return stack.cattle.container_events(container=container_id, status=status, inspect=False)

    reports = wait_until(found, WITHIN_S, f"the report of {status}", interval_s=0.2)
    return float(reports[0]["received_ms"])


@contextmanager
def _following(engine: DockerEngine, followed: dict[str, float]) -> Iterator[None]:
    """Note when the Engine gives the event of each death."""
    client = engine.client()
    stream = client.events(decode=True, filters={"event": "die"})

    def follow() -> None:
        try:
            for event in stream:
                followed[event["Actor"]["ID"]] = time.time() * 1000
        except (APIError, OSError, ValueError):
            return  # it is closed at the end

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield
    finally:
        stream.close()
        client.close()


if __name__ == "__main__":
    main()
