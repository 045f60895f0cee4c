"""`python -m bridge`: run the bridge; `key` makes a key for QUEUE_KEY."""

import asyncio
import sys

import click
from cryptography.fernet import Fernet

from bridge import service
from bridge.errors import MetricsPortError
from bridge.settings import BridgeSettings
from cowpoke import log
from cowpoke.environment import BadEnvironmentError, read

_log = log.logger("bridge")


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Carries cattle's events to the hosts' queues, and the outcomes back."""
    if context.invoked_subcommand is None:
        context.invoke(run)


@main.command()
def run() -> None:
    """Run until SIGTERM (the default)."""
    # Before anything can go wrong: all that this program prints is log lines.
    log.set_up_program()
    try:
        settings = read(BridgeSettings)
    except BadEnvironmentError as error:
        sys.exit(f"bridge: the environment is not complete\n{error}\nREADME has the table.")
    log.read_settings(settings, debug=settings.debug)
    if settings.queue_key is None:
        _log.warning(
            "payloads.not_sealed", advice="payloads are stored in clear in Redis; set QUEUE_KEY"
        )
    try:
        asyncio.run(service.run(settings))
    except MetricsPortError as error:
        _log.critical("bridge.not_started", reason=error.message, advice=error.advice)
        sys.exit(1)


@main.command()
def key() -> None:
    """Print a new key for QUEUE_KEY."""
    click.echo(Fernet.generate_key().decode())


if __name__ == "__main__":
    main(prog_name="python -m bridge")
