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
    from bridge.errors import HttpAddressError  # noqa: PLC0415
    from bridge.settings import BridgeSettings  # noqa: PLC0415
    from cowpoke import log, tracing  # noqa: PLC0415
    from cowpoke.environment import read_or_exit  # noqa: PLC0415
    from cowpoke.log_level import LevelSwitch, name_process  # noqa: PLC0415

    # Before anything can go wrong: all that this program prints is log lines.
    log.set_up_program()
    logger = log.logger("bridge")
    settings = read_or_exit(BridgeSettings, "bridge")
    log.read_settings(settings, debug=settings.debug)
    LevelSwitch(debug=settings.debug).listen()
    name_process("cowpoke-bridge")
    if settings.queue_key is None:
        logger.warning(
            "payloads.not_sealed", advice="payloads are stored in clear in Redis; set QUEUE_KEY"
        )
    tracing.set_up(settings.otlp_endpoint, "bridge")
    return_freed_memory()
    try:
        asyncio.run(service.run(settings))
        tracing.shut_down()
    except HttpAddressError as error:
        logger.critical("bridge.not_started", reason=error.message, advice=error.advice)
        sys.exit(1)


@bridge.command()
def key() -> None:
    """Print a new key for QUEUE_KEY, as `cowpoke key` does."""
    from cowpoke.seal import new_key  # noqa: PLC0415 -- as in run

    click.echo(new_key())


@bridge.command()
@click.option("--live", is_flag=True, help="Ask only whether the bridge runs, not what it lacks.")
@click.option("--json", "as_json", is_flag=True, help="Print the bridge's answer as it is.")
@click.option(
    "--timeout",
    "timeout_s",
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)
def health(*, live: bool, as_json: bool, timeout_s: float) -> None:
    """Ask the bridge of this machine whether it can do its work, and say why not.

    The exit code is 0 or 1, as health checks want it. It asks the address of BRIDGE_HTTP_HOST and
    BRIDGE_HTTP_PORT.
    """
    import json  # noqa: PLC0415 -- as in run

    from bridge.web.asking import NoAnswerError, as_text, ask  # noqa: PLC0415
    from bridge.web.settings import HttpSettings  # noqa: PLC0415
    from cowpoke.environment import read_or_exit  # noqa: PLC0415

    program = "cowpoke bridge health"
    settings = read_or_exit(HttpSettings, program)
    if not settings.http_port:
        sys.exit(
            f"{program}: wanted the port of the bridge in BRIDGE_HTTP_PORT, found "
            f"{'none' if settings.http_port is None else 0}; give bridge and command the same port"
        )
    path = "/livez" if live else "/readyz"
    try:
        is_well, said = ask(settings.http_host, settings.http_port, path, timeout_s=timeout_s)
    except NoAnswerError as error:
        sys.exit(f"{program}: {error}")
    if as_json:
        click.echo(json.dumps(said, ensure_ascii=False))
    else:
        click.echo("live" if live and is_well else as_text(said))
    sys.exit(0 if is_well else 1)
