"""Find out what a worker lacks to do its work: the Engine, Redis, its lanes, the right keys."""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import redis

from cowpoke.broker import connect, probe
from cowpoke.figures import EngineState
from cowpoke.host_keys import check_keys
from cowpoke.liveness import Leases
from cowpoke.log import logger
from cowpoke.routes import Lane
from worker.engine.api_versions import NEWEST_API, OLDEST_API, version_numbers, version_text
from worker.engine.client import Engine
from worker.errors import WorkerError
from worker.host.identity import identify
from worker.process.runtime import process_space
from worker.settings import WorkerSettings

_log = logger(__name__)

ENGINE_TIMEOUT_S = 5.0
LOOK_EVERY_S = 5.0
#: To somebody whose shell lacks what the worker's service has.
VARIABLES_ADVICE = (
    "give this command the variables of the worker (CATTLE_STATE_DIR, COWPOKE_CREDENTIALS_DIR)"
)
_ADVICE = "start Docker on this host, or check DOCKER_HOST; events fail until the Engine answers"


def engine_problem(settings: WorkerSettings) -> str | None:
    """Return why the Engine does not answer, or None when it does or is not wanted."""
    return look_at_engine(settings).reason or None if settings.docker_enabled else None


def look_at_engine(settings: WorkerSettings) -> EngineState:
    """Ask the Engine for its version; `reason` is empty when it can be used."""
    engine = Engine(settings)
    try:
        found = engine.version(timeout_s=ENGINE_TIMEOUT_S)
        offered = version_numbers(found.api_version)
    except WorkerError as error:
        return EngineState(reachable=False, reason=error.message)
    finally:
        engine.close()
    used = settings.docker_api_version or version_text(min(offered, NEWEST_API))
    reason = ""
    if offered < OLDEST_API:
        oldest = version_text(OLDEST_API)
        reason = f"it speaks API {found.api_version}, but {oldest} or newer is needed"
    return EngineState(reachable=True, version=found.version, api_version=used, reason=reason)


class EngineWatch(threading.Thread):
    """Log when the Engine does not answer, at start and later, and when it answers again."""

    def __init__(
        self,
        settings: WorkerSettings,
        tell: Callable[[EngineState], None] = lambda _: None,
    ) -> None:
        """Watch the Engine; `tell` gets its state after each look."""
        super().__init__(name="engine-watch", daemon=True)
        self._settings = settings
        self._tell = tell
        self._since_ms = 0

    def run(self) -> None:
        """Look as long as the process lives."""
        reachable, failures = True, 0
        first = True
        while True:
            was_reachable = reachable
            state = look_at_engine(self._settings)
            problem = None if state.reachable else state.reason
            failures = 0 if problem is None else failures + 1
            if problem is None and not reachable:
                reachable = True
                _log.info("engine.reachable", engine=self._settings.docker_host)
            # One slow answer of a busy Engine is no news, except at start.
            elif reachable and (failures > 1 or (first and problem)):
                reachable = False
                _log.warning(
                    "engine.unreachable",
                    engine=self._settings.docker_host,
                    reason=problem,
                    advice=_ADVICE,
                )
            if first or reachable != was_reachable:
                self._since_ms = time.time_ns() // 1_000_000
            if reachable == state.reachable:
                self._tell(replace(state, since_ms=self._since_ms, reason=self._said(state)))
            first = False
            time.sleep(LOOK_EVERY_S)

    def _said(self, state: EngineState) -> str:
        """Return the reason with the place where the Engine was looked for."""
        if state.reachable:
            return state.reason
        return f"{self._settings.docker_host}: {state.reason}"


def problems(settings: WorkerSettings, lanes: Collection[Lane]) -> list[str]:
    """Return what keeps this machine's worker from doing its work, one line each."""
    found = [*redis_problems(settings, lanes)]
    engine = engine_problem(settings)
    if engine is not None:
        found.append(f"Docker: {settings.docker_host}: {engine}")
    return found


def redis_problems(settings: WorkerSettings, lanes: Collection[Lane]) -> list[str]:
    """Return what keeps the lanes of this machine from taking events, one line each."""
    if settings.docker_uuid is None and not settings.docker_uuid_file.exists():
        # To identify the host would make its uuid, which is a worker's part.
        said = f"worker: no worker has run here yet, {settings.docker_uuid_file} is missing"
        return [f"{said}: start one, or {VARIABLES_ADVICE}"]
    try:
        probe(settings)
        with connect(settings) as client:
            host_uuid = identify(settings).host_uuid
            sealer = settings.keyring().host(host_uuid)
            ours = f"{process_space()}:"
            processes = [
                process
                for lease in Leases(client).of_host(host_uuid, sealer).values()
                if lease.process.startswith(ours)
                for process in lease.lanes
            ]
            keys_differ = check_keys(client, host_uuid, sealer).mismatch
    except redis.RedisError as error:
        # "does not answer" would send a person to the network.
        refused = isinstance(error, redis.exceptions.AuthenticationError)
        return [f"Redis: {'refuses the login' if refused else 'does not answer'}: {error}"]
    except WorkerError as error:
        return [f"worker: {error.message}"]
    live = {process.lane for process in processes}
    consuming = {process.lane for process in processes if process.consumes}
    found = [
        f"worker: lane {lane} has no live process here; see the worker's log"
        for lane in sorted(set(lanes) - live)
    ]
    if keys_differ:
        # Its lanes take no events for this reason.
        return [*found, f"QUEUE_KEY: {keys_differ}"]
    return found + [
        f"worker: lane {lane} takes no events yet; see the worker's log"
        for lane in sorted(set(lanes) & live - consuming)
    ]
