"""A kombu channel that reaches Redis on each way that REDIS_URL can name.

kombu's own transports for Sentinels and unix sockets are chosen by the scheme of an url, and would
take the place of ours.
"""

from typing import Any

import redis

from cowpoke.master_connection import MasterConnection, MasterSSLConnection
from cowpoke.sentinels import Sentinels
from worker.process.mailbox import MailboxChannel


class RedisChannel(MailboxChannel):
    """A channel whose connections go to the master that Sentinels name, or to a unix socket."""

    #: Where Redis is, when it is not at host and port of the url.
    sentinels: Sentinels | None = None
    socket_path: str | None = None
    from_transport_options = (*MailboxChannel.from_transport_options, "sentinels", "socket_path")

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
        self.connection_class: Any = self.connection_class
        if self.sentinels is not None:
            self.connection_class, self.connection_class_ssl = MasterConnection, MasterSSLConnection
        elif self.socket_path is not None:
            self.connection_class = redis.UnixDomainSocketConnection
        options: dict[str, Any] = super()._connparams(asynchronous)
        if self.sentinels is not None:
            options["sentinels"] = self.sentinels
        elif self.socket_path is not None:
            for name in ("host", "port", "socket_keepalive", "socket_keepalive_options"):
                options.pop(name, None)
            options["path"] = self.socket_path
        return options

    def leave_former_master(self) -> None:
        """Subscribe to remote control at the server that is the master now."""
        subclient = self.__dict__.get("subclient")  # kombu makes it when it is asked for
        connection = getattr(subclient, "connection", None)
        if connection is not None and is_left_behind(connection):
            self._in_listen = None
            connection.disconnect()


def is_left_behind(connection: Any) -> bool:  # noqa: ANN401 -- redis-py's
    """Whether a connection is to a server that is not the master any more."""
    return bool(getattr(connection, "is_left_behind", False))
