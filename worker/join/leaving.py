"""`cowpoke leave`: take the keys of this host back in order, and give the host back if wanted.

Order: the bridge ends its subscription before the old agent starts, because two agents of one host
get every event twice. The kept keys go first, because the worker would hand them over again; a
leave that failed after that can be repeated with the keys in Redis.
"""

from collections.abc import Callable, Iterator

import redis

from cowpoke.joined import handed_over, take_back
from cowpoke.keys import SERVED_TTL_MS
from cowpoke.seal import Sealer
from worker.engine.client import Engine
from worker.errors import JoinError
from worker.join.kept import KeptKeys
from worker.join.old_agent import NAME, bring_back, has_old_agent
from worker.join.ready import wait_released

#: A bridge that died holds its claim for this long.
RELEASE_S = SERVED_TTL_MS / 1000 + 10

_STAYS = (
    "the containers of this host were not touched. Rancher still has the host, now disconnected: "
    "remove it there, or join again to continue as the same host"
)


class Leaving:
    """One run of `cowpoke leave` on this host."""

    def __init__(
        self,
        kept: KeptKeys,
        sealer: Sealer,
        client: "redis.Redis",
        engine: Engine,
        *,
        gives_back: bool,
    ) -> None:
        self._kept = kept
        self._sealer = sealer
        self._redis = client
        self._engine = engine
        self._gives_back = gives_back

    def plan(self) -> Iterator[str]:
        """Say what would be done.

        Errors: JoinError, EngineError, redis.RedisError.
        """
        self._check()
        yield f"would remove {self._kept.path}"
        yield f"would take the keys of host {self._kept.host_uuid} back from the bridges"
        yield "would wait until no bridge serves the host"
        if self._gives_back:
            yield f"would set the restart policy of the container {NAME} to always, and start it"

    def run(self, say: Callable[[str], None], *, release_s: float = RELEASE_S) -> None:
        """Leave.

        Errors: JoinError, EngineError, redis.RedisError.
        """
        self._check()
        host_uuid = self._kept.host_uuid
        agent = self._kept.read() or handed_over(self._redis, self._sealer, host_uuid)
        self._kept.forget()
        take_back(self._redis, host_uuid)
        say(f"took the keys of host {host_uuid} back from the bridges")
        if agent is not None and not wait_released(
            self._redis, host_uuid, agent.access_key, wait_s=release_s
        ):
            raise JoinError(
                f"a bridge still serves host {host_uuid} for agent {agent.access_key} after "
                f"{release_s:g} s: its settings name this agent, or it cannot read Redis; see its "
                "log and run `cowpoke leave` again"
            )
        say("no bridge serves this host any more")
        if self._gives_back:
            bring_back(self._engine)
            say(f"started the container {NAME}, with restart policy always")
        else:
            say(_STAYS)

    def _check(self) -> None:
        """Errors: JoinError when there is nothing to leave, or nothing to give the host back to."""
        if self._gives_back:
            if not has_old_agent(self._engine):
                raise JoinError(
                    f"this host has no container {NAME} to give the host back to; run "
                    "`cowpoke leave`, then the command of Rancher's page for a new host: the state "
                    "folder has the identity of the host"
                )
            return
        if (
            not self._kept.exist
            and handed_over(self._redis, self._sealer, self._kept.host_uuid) is None
        ):
            raise JoinError(f"host {self._kept.host_uuid} has not joined: nothing to leave")
