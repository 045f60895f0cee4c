"""`python -m simulator.plugin_manager`: connect containers until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import click
import docker

from simulator.plugin_manager.manager import Behavior, Mode, PluginManager, summary
from simulator.plugin_manager.results import Results


@click.command()
@click.option("--engine", required=True, help="Address of the Engine, as in DOCKER_HOST.")
@click.option("--state-dir", required=True, type=click.Path(path_type=Path))
@click.option("--mode", default=Mode.FULL, type=click.Choice(list(Mode)))
@click.option("--late-s", default=0.0, help="Time before a container is connected.")
@click.option("--tries", default=15, help="Tries before an error is written.")
@click.option("--retry-s", default=2.0, help="Time between the tries.")
def main(engine: str, state_dir: Path, **given: Any) -> None:  # noqa: ANN401 -- of click
    """Stand in for Rancher's plugin-manager on a Docker Engine.

    Prints `plugin-manager: ...` when it follows the events. The labels `stand-in.mode` and
    `stand-in.late_s` of a container override the options.
    """
    behavior = Behavior(**{**given, "mode": Mode(given["mode"])})
    ends = {signal.SIGTERM, signal.SIGINT}
    # Before the threads start, which inherit it: the signals wait for `sigwait`.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    client = docker.APIClient(base_url=engine, version="auto", timeout=3600)
    ready = threading.Event()
    manager = PluginManager(client, Results(state_dir), behavior)
    threading.Thread(target=manager.run, args=(ready,), daemon=True).start()
    ready.wait()
    click.echo(f"plugin-manager: {summary(behavior)}")
    signal.sigwait(ends)
    # Threads may wait for a try; nothing of theirs is worth waiting for.
    os._exit(0)


if __name__ == "__main__":
    main()
