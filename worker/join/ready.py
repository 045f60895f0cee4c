"""Check that a ping of cattle would be answered with resources, before a host registers.

Rancher removes an agent that is disconnected and has no live host. So a host must not register
before the path of its pings works: Redis, a bridge, a worker with a control lane, and the Engine.
"""

import time
from collections.abc import Callable
from pathlib import Path

import redis

from cowpoke import keys
from cowpoke.host_keys import check_keys
from cowpoke.joined import agent_hash
from cowpoke.liveness import LEASE_CHANGED, Leases
from cowpoke.routes import Lane
from cowpoke.seal import Sealer
from worker.errors import JoinError
from worker.host.resource_report import last_report_s
from worker.process.readiness import engine_problem
from worker.settings import WorkerSettings

_POLL_S = 0.5
_SAY_EVERY_S = 15.0
_CLOCK_TICK_S = 0.02


class PingPath:
    """What the pings of this host pass."""

    def __init__(
        self, settings: WorkerSettings, client: "redis.Redis", sealer: Sealer, host_uuid: str
    ) -> None:
        self._settings = settings
        self._redis = client
        self._sealer = sealer
        self._host_uuid = host_uuid

    def wait(self, wait_s: float, say: Callable[[str], None]) -> None:
        """Return when everything works.

        Errors: JoinError with all that is missing after `wait_s`.
        """
        deadline_s = time.monotonic() + wait_s
        said_s = time.monotonic()
        while found := self.problems():
            now_s = time.monotonic()
            if now_s >= deadline_s:
                raise JoinError("this host would not answer pings: " + "; ".join(found))
            if now_s - said_s > _SAY_EVERY_S:
                said_s = now_s
                say(f"waiting: {'; '.join(found)}")
            time.sleep(_POLL_S)

    def problems(self) -> list[str]:
        """Return what keeps pings from being answered, one sentence each."""
        try:
            found = [*self._worker_problems(), *self._bridge_problems()]
        except redis.exceptions.NoPermissionError as error:
            found = [f"the Redis user of REDIS_URL may not do this ({error})"]
        except redis.RedisError as error:
            found = [f"Redis does not answer ({error})"]
        engine = engine_problem(self._settings)
        if engine is not None:
            found.append(f"the Docker Engine does not answer ({engine})")
        elif not self._settings.docker_enabled:
            found.append("pings report no resources, because CATTLE_DOCKER_ENABLED is false")
        return found

    def _worker_problems(self) -> list[str]:
        live = Leases(self._redis).of_host(self._host_uuid, self._sealer)
        lanes = {one.lane for lease in live.values() for one in lease.lanes if one.consumes}
        if not live:
            problem = f"no worker of host {self._host_uuid} lives; start `cowpoke worker` here with"
            return [f"{problem} the same state folder and credentials"]
        if not self._settings.ping_enabled:
            return ["pings report no resources, because CATTLE_PING_ENABLED is false"]
        missing = sorted(set(Lane) - lanes)
        return [f"the worker does not run {', '.join(missing)} yet"] if missing else []

    def _bridge_problems(self) -> list[str]:
        # Only bridges listen on the doorbell, and Redis counts who does.
        listeners = self._redis.publish(keys.doorbell(self._host_uuid), LEASE_CHANGED)
        if not listeners:
            return ["no bridge is connected to this Redis; start `cowpoke bridge`"]
        mismatch = check_keys(self._redis, self._host_uuid, self._sealer).mismatch
        return [mismatch] if mismatch else []


def wait_served(
    client: "redis.Redis", host_uuid: str, access_key: str, *, wait_s: float
) -> str | None:
    """Wait until a bridge serves the host for this agent; return why not, None when it does.

    Errors: redis.RedisError.
    """
    wanted = agent_hash(access_key)
    deadline_s = time.monotonic() + wait_s
    while (owner := client.get(keys.served(host_uuid))) != wanted:
        if time.monotonic() >= deadline_s:
            if owner is None:
                return (
                    f"no bridge took the host within {wait_s:g} s: its CATTLE_URL must be the one "
                    "above, and its QUEUE_KEY the one that this host's key was made from"
                )
            return (
                "a bridge serves this host for another agent, which its settings or another note "
                "name; `cowpoke status` shows it"
            )
        time.sleep(_POLL_S)
    return None


def wait_reported(state_dir: Path, since_s: float, *, wait_s: float) -> str | None:
    """Wait until cattle asked for the resources of this host; return why not, None when it did.

    `since_s` is the Unix time from which on an answer counts.
    """
    deadline_s = time.monotonic() + wait_s
    # Coarse clocks of file systems may be a tick behind.
    while last_report_s(state_dir) < since_s - _CLOCK_TICK_S:
        if time.monotonic() >= deadline_s:
            return (
                f"the server has not asked for the resources of this host within {wait_s:g} s: "
                "see in `cowpoke status` and in the log of the bridge whether its websocket is open"
            )
        time.sleep(_POLL_S)
    return None


def wait_released(client: "redis.Redis", host_uuid: str, access_key: str, *, wait_s: float) -> bool:
    """Wait until no bridge serves the host for this agent, and return whether that is so.

    Errors: redis.RedisError.
    """
    ours = agent_hash(access_key)
    deadline_s = time.monotonic() + wait_s
    while client.get(keys.served(host_uuid)) == ours:
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(_POLL_S)
    return True
