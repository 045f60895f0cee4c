"""`python -m simulator`: run the simulated cattle server until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import click
from pydantic import ValidationError

from cowpoke.variables import unknown_variables
from simulator.server import CattleServer
from simulator.settings import SimulatorSettings


@click.command()
@click.option("--host", help="Address to listen on; SIMULATOR_HOST, else 127.0.0.1.")
@click.option("--port", type=int, help="Port; SIMULATOR_PORT, else a free one.")
def main(host: str | None, port: int | None) -> None:
    """A cattle server (Rancher 1.x) for demos and tests; settings are SIMULATOR_* variables.

    Prints `simulator: URL` when it listens. Its control API is under /simulator/.
    """
    given: dict[str, Any] = {"host": host, "port": port}
    for one in unknown_variables(os.environ):  # noqa: TID251 -- their names only
        click.echo(f"simulator: {one.name}: {one.advice}", err=True)
    try:
        settings = SimulatorSettings(**{k: v for k, v in given.items() if v is not None})
        asyncio.run(serve(settings))
    except ValidationError as error:
        problems = (
            f"SIMULATOR_{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        )
        raise click.ClickException("\n".join(problems)) from None
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


async def serve(settings: SimulatorSettings) -> None:
    """Listen, print the URL, and stop on SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = CattleServer(settings)
    url = await server.start()
    click.echo(f"simulator: {url}")
    try:
        await stopped.wait()
    finally:
        await server.stop()


if __name__ == "__main__":
    main()
