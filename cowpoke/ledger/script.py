"""The ledger's Lua scripts: the steps that one program takes, each atomic in Redis."""

from pathlib import Path
from typing import Any

import redis

from cowpoke import keys
from cowpoke.replication import replication_of

_FOLDER = Path(__file__).parent


def text_of(name: str) -> str:
    """Return the text of one Lua file."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def source(name: str) -> str:
    """Return the text of a script: what all have in common, then its own steps."""
    return f"{text_of('common')}\n{text_of(name)}"


class Script:
    """One script of one Redis. Thread-safe."""

    def __init__(self, client: "redis.Redis", name: str) -> None:
        self._client = client
        self._replication = replication_of(client)
        self._script = client.register_script(source(name))

    def __call__(
        self,
        step: str,
        host_uuid: str,
        event_id: str,
        *args: str | int,
        pipe: "redis.client.Pipeline | None" = None,
        confirm: bool = False,
    ) -> Any:  # noqa: ANN401 -- each step has its own answer
        """Take a step with one event; with `confirm`, replicas have it then.

        Errors: redis.RedisError; `redis.ResponseError` concerns this event alone.
        """
        names, values = [keys.event(host_uuid, event_id)], [step, host_uuid, event_id, *args]
        if confirm and self._replication is not None:
            return self._replication.run_script(self._client, self._script, names, values)
        return self._script(keys=names, args=values, client=pipe)
