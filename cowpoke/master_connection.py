"""Connections to the Redis server that Sentinels name as the master.

A master that was replaced may run on, and accepts writes until Sentinels make it a replica. So when
one connection of a process finds another master, all others leave the old one before they send
their next command.
"""

from typing import Any

import redis

from cowpoke.sentinels import Sentinels

#: A mixin for the classes of redis-py, which have no types that help.
_Connection: Any = object

#: What a server says that is no master any more, or must not take writes by its own rules.
_REFUSALS = ("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED")


class _ToMaster(_Connection):  # type: ignore[misc]  # see above
    """What a connection does beside redis-py's own to stay at the master."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:  # noqa: ANN401
        self._sentinels = sentinels
        self._generation = -1
        super().__init__(**options)

    @property
    def is_left_behind(self) -> bool:
        """Whether another server is the master since this connection was made."""
        return self._sock is not None and self._generation != self._sentinels.generation

    def connect(self) -> None:
        """Connect; an idle connection to a former master is replaced."""
        if self.is_left_behind:
            self.disconnect()
        super().connect()

    def connect_check_health(
        self,
        check_health: bool = True,  # noqa: FBT001, FBT002 -- as redis-py's
        retry_socket_connect: bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        """Connect to the server that is the master now."""
        if self._sock is None:
            self.host, self.port = self._sentinels.master()
            self._generation = self._sentinels.generation
        super().connect_check_health(check_health, retry_socket_connect)

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002
        """Log in, and make sure that the server takes itself for the master."""
        super().on_connect_check_health(check_health)
        said: Any = self.handshake_metadata or {}
        role = said.get("role") or said.get(b"role") or b"master"
        if role not in {"master", b"master"}:
            raise redis.ConnectionError(f"{self.host}:{self.port} is a replica by now")

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002
        """Send nothing to a server that was replaced."""
        if self.is_left_behind:
            self.disconnect()
            raise redis.ConnectionError(f"{self.host}:{self.port} is not the master any more")
        super().send_packed_command(command, check_health)

    def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Read an answer; one of a server that may take no writes ends the connection."""
        try:
            return super().read_response(*args, **options)
        except redis.ResponseError as problem:
            if not refuses_writes(problem):
                raise
            self.disconnect()
            raise redis.ConnectionError(f"{self.host}:{self.port} refused: {problem}") from problem


class MasterConnection(_ToMaster, redis.Connection):
    """A connection to the master."""


class MasterSSLConnection(_ToMaster, redis.SSLConnection):
    """The same with TLS."""


def refuses_writes(problem: Exception) -> bool:
    """Return whether a server answers that it takes no writes: a replica, or a lonely master."""
    if isinstance(problem, redis.exceptions.ReadOnlyError | redis.exceptions.MasterDownError):
        return True
    text = str(problem)
    # Redis before 7.0 passes on what a script ran into: `ERR Error running script ...: -READONLY`.
    return text.startswith(_REFUSALS) or any(f"-{one} " in text for one in _REFUSALS)
