"""/simulator/...: container events received, and the instances that cattle knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from simulator.container_events import ContainerEvents
    from simulator.instances import Instances

PREFIX = "/simulator"


class ContainerControl:
    """Handlers of the control API that concern containers."""

    def __init__(self, events: ContainerEvents, instances: Instances) -> None:
        self._events = events
        self._instances = instances

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all handlers."""
        return [
            web.get(f"{PREFIX}/containerevents", self.show_events),
            web.get(f"{PREFIX}/instances", self.show_instances),
        ]

    async def show_events(self, request: web.Request) -> web.Response:
        """Return events, oldest first; `?container=` and `?status=` choose.

        The last 5,000 are kept, refused ones too. `?inspect=0` leaves the inspected containers out.
        """
        container, status = request.query.get("container"), request.query.get("status")
        inspect = request.query.get("inspect") != "0"
        shown = [
            event.to_json(inspect=inspect)
            for event in self._events.events
            if container in (None, event.external_id) and status in (None, event.external_status)
        ]
        return web.json_response({"events": shown, "problems": self._events.problems})

    async def show_instances(self, _: web.Request) -> web.Response:
        """Return the instances that cattle knows, removed ones too."""
        return web.json_response([known.to_json() for known in self._instances])
