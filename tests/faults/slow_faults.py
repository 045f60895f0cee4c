"""Faults that show after a minute or two, and those that lie in Redis alone."""

from contextlib import ExitStack
from typing import Self

from cowpoke.outcomes import success
from simulator.rig.redis_server import RedisServer
from tests.bridges import ACTIVATE, AGENT, EVENT, BridgeRig
from tests.faults.alert_faults import Faults
from tests.faults.telling import Views, free_port


class SlowScene:
    """A bridge whose cattle sends no pings, and takes no replies; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            server = stack.enter_context(RedisServer(appendonly=True).start())
            self.rig = stack.enter_context(BridgeRig(server))
            port = free_port()
            self.bridge = self.rig.start_bridge(BRIDGE_HTTP_PORT=str(port))
            self.bridge.wait_for_line("http.ready")
            self.views = Views(port, {"REDIS_URL": server.url, "QUEUE_KEY": self.rig.key})
            self.planted = Faults(server.url, self.rig.key)
            stack.callback(self.planted.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self) -> None:
        """Start the worker, and let cattle fall silent and refuse a reply."""
        self.rig.start_worker(script=lambda *_: success({}))
        self.rig.wait_subscribed()
        self.rig.cattle.faults(publish_status=503)
        self.rig.cattle.send(ACTIVATE, {}, **EVENT, agent=AGENT["access_key"], timeout_ms=600_000)
