"""Play the demo: `python -m simulator.demo_host`.

Real parts only: Redis, a simulated cattle server, a bridge without any agents, one worker with a
state folder of its own, a Docker Engine. What Rancher's system services do on a host is done by
stand-ins. A failure names its step and sets the exit code; everything is taken down in any case.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click

from simulator.demo_host import machine, stack
from simulator.demo_host.hosting import Hosting
from simulator.demo_host.stage import Stage
from simulator.narration import perform, say, step
from simulator.rig.engine import find_or_start_engine
from simulator.rig.image import build_image, remove_image
from simulator.rig.processes import Program


@click.command()
def main() -> None:
    """Show a host that joins, runs a stack, is taken over and leaves; needs root."""
    sys.exit(perform("demo-host", _play))


def _play(exits: ExitStack, programs: list[Program]) -> None:
    step("Checking this machine", machine.check_rights)
    stage = step("Finding a Docker Engine", lambda: _stage(exits, programs))
    step("Building the demo's small image", lambda: _build(exits, stage))
    step("Starting Redis, cattle, network, storage, bridge, worker", stage.open)
    host = Hosting(stage)
    step("The host joins: one command", host.join)
    step("The same command again: the same host", host.join_again)
    step("cattle starts two containers in a managed network", lambda: stack.managed(stage))
    step("cattle starts one in a network without subnets", lambda: stack.without_subnet(stage))
    notes = step("Two containers share a volume of rancher-nfs", lambda: stack.volume(stage))
    step("A container is killed by hand", lambda: stack.kill(stage))
    step("The host leaves, and an old rancher-agent has it", host.become_old)
    step("A take-over is planned", host.plan_take_over)
    step("The host is taken over", host.take_over)
    step("The host is given back", host.give_back)
    step("The host joins again", host.return_)
    step("cattle removes the stack", lambda: stack.remove(stage, notes))
    step("The host leaves for good", host.leave)
    stage.narrator.stop()
    step("Nothing is left of it", lambda: stack.gone(stage, notes))


def _stage(exits: ExitStack, programs: list[Program]) -> Stage:
    engine = exits.enter_context(find_or_start_engine())
    whose = "private, ends with the demo" if engine.private else "yours"
    say("docker", f"{engine.host} ({whose})")
    client = engine.client()
    exits.callback(client.close)
    machine.check_engine(engine, client)
    return Stage(exits, programs, engine, client)


def _build(exits: ExitStack, stage: Stage) -> None:
    exits.callback(remove_image, stage.client, stage.image)
    if not machine.has_wait_volume(stage.client):
        exits.callback(machine.remove_wait_volume, stage.client)
    # At the end, when no program runs that could create one more.
    exits.callback(machine.remove_all_of, stage.client, stage.image)
    build_image(stage.client, stage.image)
    say("docker", f"image {stage.image}")
    machine.check_containers(stage.client, stage.image, stage.folder)
    say("docker", "a container of it can be given a network")


if __name__ == "__main__":
    main()
