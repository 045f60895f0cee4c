"""The subcommand `bridge` of `cowpoke`, and all of `python -m bridge`."""

import asyncio
import sys

import click


@click.group(invoke_without_command=True, short_help="Run a bridge.")
@click.pass_context
def bridge(context: click.Context) -> None:
    """Carry cattle's events to the hosts' queues, and the outcomes back."""
    if context.invoked_subcommand is None:
        context.invoke(run)


@bridge.command()
def run() -> None:
    """Run until SIGTERM (the default)."""
    # Imported by the command that needs them: `cowpoke --help` loads this module.
    from bridge import service  # noqa: PLC0415
    from bridge.allocation import return_freed_memory  # noqa: PLC0415
    from bridge.errors import MetricsPortError  # noqa: PLC0415
    from bridge.settings import BridgeSettings  # noqa: PLC0415
    from cowpoke import log  # noqa: PLC0415
    from cowpoke.environment import read_or_exit  # noqa: PLC0415

    # Before anything can go wrong: all that this program prints is log lines.
    log.set_up_program()
    logger = log.logger("bridge")
    settings = read_or_exit(BridgeSettings, "bridge")
    log.read_settings(settings, debug=settings.debug)
    if settings.queue_key is None:
        logger.warning(
            "payloads.not_sealed", advice="payloads are stored in clear in Redis; set QUEUE_KEY"
        )
    return_freed_memory()
    try:
        asyncio.run(service.run(settings))
    except MetricsPortError as error:
        logger.critical("bridge.not_started", reason=error.message, advice=error.advice)
        sys.exit(1)


@bridge.command()
def key() -> None:
    """Print a new key for QUEUE_KEY, as `cowpoke key` does."""
    from cowpoke.seal import new_key  # noqa: PLC0415 -- as in run

    click.echo(new_key())
