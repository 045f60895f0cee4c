"""Make sure that replicas have what was written, where losing it would lose an event.

Redis answers a write before its replicas have it. When the master dies then, the next master does
not know the write. So some steps are followed by `WAIT` on the same connection, in the same round
trip. A step that is not confirmed is taken again: all steps may be repeated.
"""

import time
from typing import Any

import redis

from cowpoke.log import logger
from cowpoke.sentinels import Sentinels

_log = logger(__name__)

#: Much longer than any answer of a replica that keeps up.
WAIT_MS = 500
#: Without enough replicas: no step waits, but the Sentinels are asked so often.
ASK_AGAIN_S = 1.0


class Replication:
    """How many replicas must have a write. Thread-safe."""

    def __init__(self, replicas: int, sentinels: Sentinels | None) -> None:
        self._replicas = replicas
        self._sentinels = sentinels
        #: When more than half of the Sentinels last said that an unconfirmed master is the master.
        self._agreed_s = float("-inf")
        self._is_short = False

    def execute(self, pipe: "redis.client.Pipeline") -> list[Any]:
        """Run a pipeline, and return its answers when replicas have what it wrote.

        Also when there are not enough replicas, and the Sentinels agree that this is the master:
        work goes on. Errors: redis.RedisError; then the steps are to be repeated.
        """
        before = self._generation
        pipe.execute_command("WAIT", self._replicas, 1 if self._is_short else WAIT_MS)  # type: ignore[no-untyped-call]
        *answers, confirmed = pipe.execute(raise_on_error=False)
        if isinstance(confirmed, Exception):
            raise confirmed
        if confirmed >= self._replicas:
            self._is_short = False
        else:
            self._check_master(before, confirmed)
        return answers

    def run_script(
        self,
        client: "redis.Redis",
        script: Any,  # noqa: ANN401 -- redis-py's
        keys: list[str],
        args: list[str | int],
    ) -> Any:  # noqa: ANN401 -- what the script answers
        """Run one script, as `execute` does."""
        answer: Any = None
        for _ in range(2):
            with client.pipeline(transaction=False) as pipe:
                pipe.evalsha(script.sha, len(keys), *keys, *args)
                (answer,) = self.execute(pipe)
            if not isinstance(answer, redis.exceptions.NoScriptError):
                break
            # Another master does not know it yet.
            script.sha = client.script_load(script.script)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def _generation(self) -> int:
        return 0 if self._sentinels is None else self._sentinels.generation

    def _check_master(self, before: int, confirmed: int) -> None:
        """Allow an unconfirmed write, unless the server may have been replaced.

        A master that was frozen, or cut off from the Sentinels, is told by nobody that there is
        another one, and its writes are discarded later.
        """
        if self._sentinels is not None and time.monotonic() - self._agreed_s > ASK_AGAIN_S:
            if not self._sentinels.agree():
                raise redis.ConnectionError(
                    f"{confirmed} of {self._replicas} replicas have a write, and not enough "
                    "Sentinels say that this server is still the master"
                )
            self._agreed_s = time.monotonic()
        if self._generation != before:
            raise redis.ConnectionError("a write went to a server that is not the master any more")
        if not self._is_short:
            self._is_short = True
            _log.warning(
                "redis.write_unconfirmed",
                confirmed=confirmed,
                wanted=self._replicas,
                advice="a replica is away: what is written now is lost if this master dies too",
            )


def replication_of(client: "redis.Redis") -> Replication | None:
    """Return what a client of `cowpoke.broker.connect` waits for; None for any other one."""
    found: Replication | None = getattr(client, "replication", None)
    return found
