"""Container events as an agent posts them to the simulator, and an agent's side that answers."""

from __future__ import annotations

import asyncio

HOST = {"type": "host", "uuid": "host-a", "physicalHostUuid": "p"}
CONTAINER = "a" * 64
OTHER = "b" * 64
INSPECT = {
    "Id": CONTAINER,
    "Name": "/by-hand",
    "Config": {"Labels": {"foo": "bar"}, "Env": ["A=1"]},
    "HostConfig": {"NetworkMode": "default"},
    "NetworkSettings": {"IPAddress": "172.17.0.2"},
}
NAMES = (
    *("compute.instance.activate", "compute.instance.deactivate", "compute.instance.inspect"),
    *("storage.volume.activate", "storage.volume.remove"),
)


def event(status="start", **changes):
    """The body of a post."""
    body = {
        "externalStatus": status,
        "externalId": CONTAINER,
        "externalFrom": "busybox:latest",
        "externalTimestamp": 1_520_000_000,
        "reportedHostUuid": "host-a",
        "dockerInspect": INSPECT,
    }
    return {**body, **changes}


def replied(frame):
    """The data of an agent's reply to any event here."""
    if frame["name"] == "compute.instance.activate":
        ports = {"dockerHostIp": "1.2.3.4", "dockerPorts": [], "dockerIp": "172.17.0.2"}
        data = {"dockerInspect": INSPECT, "dockerContainer": {}, "+fields": ports}
        known = frame["data"]["instanceHostMap"]["instance"]["externalId"] or CONTAINER
        return {"instanceHostMap": {"instance": {"externalId": known, "+data": data}}}
    return {}


class Side:
    """An agent that answers every event, and posts container events."""

    def __init__(self, server, agent):
        self.server = server
        self.agent = agent
        self.frames = []

    async def post(self, body, **options):
        """One post, and the end of its processing; the answer's status."""
        status, _ = await self.agent.answer("POST", "/containerevents", json=body, **options)
        await self.processed()
        return status

    async def processed(self):
        """Wait until all events are processed and all instances are settled."""
        async with asyncio.timeout(5):
            while not self.is_quiet:  # noqa: ASYNC110  any state, not an event of ours
                await asyncio.sleep(0.002)

    async def decided(self):
        """Wait until every event has led to something, whatever its instance is doing."""
        async with asyncio.timeout(5):
            while "" in self.outcomes:  # noqa: ASYNC110  any state, not an event of ours
                await asyncio.sleep(0.002)

    @property
    def is_quiet(self):
        """Whether all events are processed and all instances settled."""
        events = self.server.container_events.events
        return all(one.state != "requested" for one in events) and all(
            known.is_settled for known in self.server.instances
        )

    @property
    def outcomes(self):
        """What the events led to, in order."""
        return [one.outcome for one in self.server.container_events.events]

    @property
    def states(self):
        """The states of all instances."""
        return [known.state for known in self.server.instances]

    @property
    def names(self):
        """The names of the events that went to the agent."""
        return [frame["name"] for frame in self.frames]
