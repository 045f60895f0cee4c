"""The subcommands of `cowpoke` for a host, and all of `python -m worker`.

`cowpoke worker` runs the lanes; `explain`, `health`, `host-uuid` and `janitor` are subcommands of
both. `cowpoke flower` shows the tasks of all hosts. The commands themselves import what they need:
`cowpoke --help` loads this module.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cowpoke.cli.output import json_option, print_json
from cowpoke.routes import Lane

if TYPE_CHECKING:
    from worker.settings import WorkerSettings

_lanes = click.option(
    "--lane",
    "lanes",
    multiple=True,
    type=click.Choice([str(lane) for lane in Lane]),
    help="Only this lane; may be given several times.",
)


@click.group(invoke_without_command=True, short_help="Run the workers of this host.")
@click.pass_context
def worker(context: click.Context) -> None:
    """Run the Docker operations of this host from its queues."""
    if context.invoked_subcommand is None:
        context.invoke(run)


@worker.command()
@_lanes
def run(lanes: tuple[str, ...] = ()) -> None:
    """Run until SIGTERM (the default)."""
    from cowpoke import log  # noqa: PLC0415
    from worker.errors import WorkerError  # noqa: PLC0415

    # Before anything can go wrong: all that this program prints is log lines.
    log.set_up_program()
    logger = log.logger("worker")
    settings = _settings()
    # Imported after the settings are known to be good: it reads them, and brings Celery.
    from worker.host.duplicate_host import check_duplicate_host  # noqa: PLC0415
    from worker.host.host_key import ensure_host_key  # noqa: PLC0415
    from worker.host.identity import identify  # noqa: PLC0415
    from worker.host.locks import Locks  # noqa: PLC0415
    from worker.process.hand_over import HandOverWatch  # noqa: PLC0415
    from worker.process.hostname import learn_hostname  # noqa: PLC0415
    from worker.process.lane import run_lane  # noqa: PLC0415
    from worker.process.lease import LeaseKeeper  # noqa: PLC0415
    from worker.process.runtime import new_worker_id, worker_lock  # noqa: PLC0415
    from worker.process.supervisor import Supervisor  # noqa: PLC0415

    # Until the supervisor takes over; process 1 of a container would ignore the signal otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        learn_hostname(settings)
        identity = identify(settings)
        if settings.docker_required:
            _need_engine(settings)
        check_duplicate_host(settings, identity)
    except WorkerError as error:
        logger.critical("worker.not_started", code=error.code, reason=error.message)
        sys.exit(1)
    ensure_host_key(settings.host_key_file)
    worker_id = new_worker_id()
    keeper = LeaseKeeper(settings, identity, worker_id)
    logger.info(
        "worker.ready",
        host=identity.host_uuid,
        worker=worker_id,
        fingerprints=settings.keyring().host(identity.host_uuid).fingerprints,
    )
    if not settings.is_sealed:
        logger.warning(
            "payloads.not_sealed",
            advice="payloads are stored in clear in Redis; set QUEUE_KEY or HOST_KEY",
        )
    chosen = tuple(Lane(lane) for lane in lanes) or tuple(Lane)
    # One of the lanes watches the Engine for all: a thread of this process would be lost in forks.
    supervisor = Supervisor(
        worker_id,
        lambda launch: run_lane(settings, launch, watches_engine=launch.lane == chosen[-1]),
        chosen,
        keeper=keeper,
        drain_timeout_s=settings.drain_timeout_s,
        watch=HandOverWatch(settings, identity).tick,
        debug=settings.debug,
    )
    # Its lanes inherit the lock: it is free when all of them are gone.
    with Locks(settings.lock_dir, wait_s=settings.lock_wait_s).hold(worker_lock(worker_id)):
        sys.exit(supervisor.run())


@worker.command("host-uuid", short_help="Print the uuid of this host.")
def host_uuid() -> None:
    """Print the uuid of this host; make and store it first where there is none."""
    from cowpoke import log  # noqa: PLC0415
    from worker.errors import WorkerError  # noqa: PLC0415
    from worker.host.identity import identify  # noqa: PLC0415

    settings = _settings()
    log.set_up(debug=settings.debug, stream=sys.stderr)
    try:
        click.echo(identify(settings).host_uuid)
    except WorkerError as error:
        sys.exit(f"cowpoke host-uuid: {error.message}")


@worker.command(short_help="Say what this machine's worker lacks.")
@_lanes
@json_option
def health(lanes: tuple[str, ...], *, as_json: bool) -> None:
    """Say what the worker of this machine lacks; the exit code is 0 when it lacks nothing.

    Its lease must be renewed and name all lanes, each lane must take events, its keys must be those
    of a bridge, and the Docker Engine must answer.
    """
    from cowpoke import log  # noqa: PLC0415
    from worker.host.preparation import note_for_operator  # noqa: PLC0415
    from worker.process.readiness import problems  # noqa: PLC0415

    settings = _settings()
    log.set_up(debug=settings.debug)

    found = problems(settings, tuple(Lane(lane) for lane in lanes) or tuple(Lane))
    # No event fails for it, so it does not make the worker ill.
    note = note_for_operator(settings)
    if as_json:
        print_json({"healthy": not found, "problems": found, "note": note or None})
        sys.exit(1 if found else 0)
    for problem in found:
        click.echo(problem)
    if note:
        click.echo(f"note: {note}")
    if found:
        sys.exit(1)
    click.echo("healthy")


@worker.command(short_help="Show what an activate event would create here.")
@click.argument("event_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def explain(event_file: Path) -> None:
    """Print as JSON what an activate event would create, or do with a native container.

    Changes nothing. Warnings go to standard error.
    """
    from cowpoke import log  # noqa: PLC0415
    from worker.errors import WorkerError  # noqa: PLC0415
    from worker.explain import explain_event  # noqa: PLC0415

    settings = _settings()
    log.set_up(debug=settings.debug, stream=sys.stderr)
    try:
        body = explain_event(event_file.read_text(encoding="utf-8"), settings)
    except WorkerError as error:
        sys.exit(f"worker explain: {event_file}: {error.message}")
    click.echo(json.dumps(body, indent=2, sort_keys=True))


@worker.command(short_help="Remove what crashes left on this host.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; change nothing.")
@json_option
def janitor(*, dry_run: bool, as_json: bool) -> None:
    """Remove what crashes left on this host (workers also do this from time to time).

    Exits with 1 when an area could not be checked.
    """
    from cowpoke import log  # noqa: PLC0415
    from worker.janitor import Grace, StandaloneAccess, clean  # noqa: PLC0415

    settings = _settings()
    log.set_up(debug=settings.debug)

    try:
        found = clean(StandaloneAccess(settings), Grace(), dry_run=dry_run)
    except OSError as error:
        sys.exit(f"worker janitor: cannot use the state folder: {error}")
    if as_json:
        orphans = [
            {
                "kind": one.kind,
                "name": one.name,
                "since_s": one.since_s,
                "removed": one in found.removed,
            }
            for one in found.orphans
        ]
        print_json({"orphans": orphans, "not_checked": found.not_checked})
        sys.exit(1 if found.not_checked else 0)
    now_s = time.time()
    for orphan in found.orphans:
        click.echo(f"{orphan.kind:>10}  {(now_s - orphan.since_s) / 3600:8.1f} h  {orphan.name}")
    for area, reason in found.not_checked.items():
        click.echo(f"not checked: {area} ({reason})")
    click.echo(f"{len(found.orphans)} found" + (", nothing removed" if dry_run else ""))
    sys.exit(1 if found.not_checked else 0)


@click.command(
    short_help="Show the tasks and queues of all hosts in a browser.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def flower(arguments: tuple[str, ...]) -> None:
    """Run Flower until SIGTERM, on http://127.0.0.1:5555.

    The arguments are Flower's, such as --port=5556 or --basic-auth=user:password; each is also a
    variable, such as FLOWER_BASIC_AUTH. With --persistent=true --db=FILE it keeps its history over
    a restart. Needs REDIS_URL.
    """
    from worker.flower import run_flower  # noqa: PLC0415

    run_flower(arguments)


def _need_engine(settings: "WorkerSettings") -> None:
    """Errors: EngineError when there is no Engine (A 16.8)."""
    from worker.engine.client import Engine  # noqa: PLC0415

    engine = Engine(settings)
    try:
        engine.version()
    finally:
        engine.close()


def _settings() -> "WorkerSettings":
    """Read the settings; whatever is logged after that holds none of their secrets."""
    from cowpoke import log  # noqa: PLC0415
    from cowpoke.environment import read_or_exit  # noqa: PLC0415
    from worker.settings import WorkerSettings  # noqa: PLC0415

    settings = read_or_exit(WorkerSettings, "worker")
    log.read_settings(settings, debug=settings.debug)
    return settings
