"""What `cowpoke join` and `cowpoke leave` do, with their texts and exit codes."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import redis

from cowpoke import log, scrubbing
from cowpoke.broker import connect
from cowpoke.bundle import Bundle, read_bundle, store_bundle
from cowpoke.cli.shown import shown
from cowpoke.environment import CREDENTIALS_VARIABLE, read_or_exit
from worker.engine.client import Engine
from worker.errors import HostRemovedError, JoinError, WorkerError
from worker.host.identity import identify
from worker.host.locks import Locks
from worker.join import long_lived
from worker.join.addresses import check_agent_ip, check_registration_url
from worker.join.http import shown_server
from worker.join.joining import Joining, Waits
from worker.join.kept import KeptKeys
from worker.join.leaving import Leaving
from worker.join.old_agent import read_old_agent
from worker.join.ready import PingPath
from worker.join.register_key import kept_register_key
from worker.join.settings import JoinSettings
from worker.join.taking_over import TakingOver
from worker.process.readiness import VARIABLES_ADVICE

#: A sentence about an error: longer than a line, and never a page.
_MOST_ERROR_CHARS = 2_000
#: The exit code when Rancher removed this host: to try again is of no use.
REMOVED_CODE = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The arguments of `cowpoke join`."""

    url: str | None = None
    bundle: IO[str] | None = None
    credentials: Path | None = None
    take_over: bool = False
    new_register_key: bool = False
    dry_run: bool = False
    wait_s: float | None = None
    hand_over: bool = False


def run_join(options: Options) -> int:
    """Run `cowpoke join`; return its exit code."""
    with _errors("cowpoke join"):
        folder = options.credentials
        if options.bundle is not None:
            given = os.environ.get(CREDENTIALS_VARIABLE)  # noqa: TID251
            if given and not Path(given).exists():
                # It names the folder that is made now; it is set again below.
                del os.environ[CREDENTIALS_VARIABLE]  # noqa: TID251
            folder = _stored(options, options.bundle.read())
        if folder is not None and folder.is_dir():
            # The settings of the folder are those of this host's worker, too.
            os.environ[CREDENTIALS_VARIABLE] = str(folder)  # noqa: TID251
        settings = command_settings("cowpoke join")
        if options.take_over:
            _take_over(settings, folder, options)
            return 0
        url = _url(settings, options)
        if options.dry_run:
            _show_plan(settings, url, options)
            return 0
        if url is None and options.bundle is not None and not settings.joined_file.exists():
            return 0
        with connect(settings, retries=0) as client:
            joining = Joining(
                settings, identify(settings), client, say=_say, waits=Waits.of(options.wait_s)
            )
            if options.hand_over:
                joining.hand_over_kept()
                return 0
            with _alone(settings):
                joining.run(url, with_new_key=options.new_register_key)
    return 0


def run_leave(*, give_back: bool, dry_run: bool) -> int:
    """Run `cowpoke leave`; return its exit code."""
    with _errors("cowpoke leave"):
        settings = command_settings("cowpoke leave")
        if settings.docker_uuid is None and not settings.docker_uuid_file.exists():
            said = f"this machine is no host yet: {settings.docker_uuid_file} is missing"
            raise JoinError(f"{said}; if it is one, {VARIABLES_ADVICE}")
        host_uuid = identify(settings).host_uuid
        sealer = settings.keyring().host(host_uuid)
        kept = KeptKeys(path=settings.joined_file, sealer=sealer, host_uuid=host_uuid)
        with connect(settings, retries=0) as client, _engine(settings) as engine:
            leaving = Leaving(kept, sealer, client, engine, gives_back=give_back)
            if dry_run:
                for line in leaving.plan():
                    _say(line)
            else:
                with _alone(settings):
                    leaving.run(_say)
                _stop_container(engine)
    return 0


def _stop_container(engine: Engine) -> None:
    """Stop the long-lived container, which may be the one that this command runs in."""
    if long_lived.exists(engine):
        _say(f"stopping the container {long_lived.NAME}; it is kept, with restart policy no")
        long_lived.stop(engine)
    else:
        _say("stop the worker of this host now")


def _stored(options: Options, text: str) -> Path:
    """Store a bundle, and return its folder."""
    try:
        bundle = read_bundle(text)
    except ValueError as error:
        raise JoinError(f"--bundle: {error}") from None
    settings = command_settings("cowpoke join")
    _check_host(settings, bundle)
    folder = options.credentials or settings.home / "credentials"
    if options.dry_run:
        _say(f"would store the bundle of host {bundle.host_uuid} in {folder}")
        return folder
    try:
        written = store_bundle(bundle, folder)
    except OSError as error:
        raise JoinError(f"cannot store the bundle in {folder}: {error.strerror}") from None
    for path in written:
        _say(f"written: {path}")
    if written:
        _say(f"the worker of this host needs {CREDENTIALS_VARIABLE}={folder}; start it now")
    return folder


def _check_host(settings: JoinSettings, bundle: Bundle) -> None:
    """Errors: JoinError when this machine is another host than that of the bundle."""
    path = settings.docker_uuid_file
    try:
        kept = path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        kept = None
    if kept is not None and kept != bundle.host_uuid:
        raise JoinError(
            f"this machine is host {kept} ({path}), and the bundle is for host {bundle.host_uuid}: "
            f"make one with `cowpoke hosts add --host {kept}`, or remove the file to become a new "
            "host"
        )


def _take_over(settings: JoinSettings, folder: Path | None, options: Options) -> None:
    with _engine(settings) as engine:
        agent = read_old_agent(engine)
        scrubbing.keep_secret(settings)
        taking = TakingOver(settings, engine, agent, credentials=folder)
        taking.check()
        if options.dry_run:
            for line in taking.plan():
                _say(line)
            return
        with _alone(settings), connect(settings, retries=0) as client:
            taking.prepare(_say)
            joining = Joining(
                settings, identify(settings), client, say=_say, waits=Waits.of(options.wait_s)
            )
            taking.run(client, joining, _say)


def _show_plan(settings: JoinSettings, url: str | None, options: Options) -> None:
    """Say what a join would do; nothing is written, and nothing is asked of the server."""
    check_agent_ip(settings.agent_ip)
    if url is not None:
        check_registration_url(url)
    uuid_file = settings.docker_uuid_file
    host_uuid = settings.docker_uuid
    if host_uuid is None and uuid_file.exists():
        host_uuid = uuid_file.read_text(encoding="utf-8", errors="replace").strip()
    _say(f"host {host_uuid}" if host_uuid else f"would make a host uuid in {uuid_file}")
    if settings.joined_file.exists() and not options.new_register_key:
        _say(f"would use the keys in {settings.joined_file} again")
    elif url is None:
        _say("would fail: no registration url is given and no keys are kept")
    else:
        kept = kept_register_key(settings.register_key_file)
        verb = "use" if kept and not options.new_register_key else "make"
        _say(f"would {verb} the register key in {settings.register_key_file}")
        _say(f"would register at {shown_server(url)} and wait for the keys")
    _say(f"would keep the keys in {settings.joined_file} and hand them to the bridges")
    if host_uuid:
        with connect(settings, retries=0) as client:
            sealer = settings.keyring().host(host_uuid)
            for problem in PingPath(settings, client, sealer, host_uuid).problems():
                _say(f"would wait: {problem}")


def _url(settings: JoinSettings, options: Options) -> str | None:
    configured = settings.registration_url
    return options.url or (configured.get_secret_value() if configured else None)


def command_settings(command: str) -> JoinSettings:
    """Read the settings; nothing that is printed after that contains their secrets."""
    settings = read_or_exit(JoinSettings, command)
    # Standard output is for what was done.
    log.set_up(debug=settings.debug, stream=sys.stderr)
    scrubbing.keep_secret(settings)
    return settings


@contextmanager
def _engine(settings: JoinSettings) -> Iterator[Engine]:
    engine = Engine(settings)
    try:
        yield engine
    finally:
        engine.close()


def _alone(settings: JoinSettings) -> AbstractContextManager[bool]:
    """Hold the lock of joins: two at once would register this host twice."""
    locks = Locks(settings.lock_dir, wait_s=settings.lock_wait_s)
    return locks.hold_one_of(("join",), "another `cowpoke join` or `leave` runs on this host")


def _say(line: str) -> None:
    click.echo(line)


@contextmanager
def _errors(command: str) -> Iterator[None]:
    """End the command with a sentence for what went wrong."""
    try:
        yield
    except HostRemovedError as error:
        click.echo(f"{command}: {shown(error.message, _MOST_ERROR_CHARS)}", err=True)
        sys.exit(REMOVED_CODE)
    except WorkerError as error:
        sys.exit(f"{command}: {shown(error.message, _MOST_ERROR_CHARS)}")
    except redis.exceptions.AuthenticationError as error:
        sys.exit(f"{command}: Redis refused the login in REDIS_URL: {shown(error)}")
    except redis.RedisError as error:
        sys.exit(f"{command}: Redis does not answer: {shown(error)}")
