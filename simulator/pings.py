"""The ping schedule: all agents on one tick, and the agent states after missed pings.

active -(6 misses)-> reconnecting -(pong)-> reconnected -> finishing-reconnect -> active
reconnecting -(no pong for 180 s)-> disconnecting -> disconnected -(it subscribes)-> reconnecting
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from simulator.contexts import context_of
from simulator.wire import Event, epoch_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.agents import Agent, Agents
    from simulator.call_record import CallRecord
    from simulator.calls import Calls
    from simulator.hosts import Hosts
    from simulator.settings import SimulatorSettings
    from simulator.stats import Stats

STATS_EVERY = 24
RESOURCES_EVERY = 12
INSTANCES_EVERY = 3


def options_at(tick: int) -> dict[str, bool]:
    """Return the options of a tick's pings; all agents get large pings at the same tick."""
    every = {"stats": STATS_EVERY, "resources": RESOURCES_EVERY, "instances": INSTANCES_EVERY}
    return {name: True for name, ticks in every.items() if tick % ticks == 0}


class Pings:
    """Sends pings, counts missed ones and changes agent states."""

    def __init__(
        self,
        settings: SimulatorSettings,
        agents: Agents,
        hosts: Hosts,
        calls: Calls,
        stats: Stats,
    ) -> None:
        self._settings = settings
        self._agents = agents
        self._hosts = hosts
        self._calls = calls
        self._stats = stats
        self._reconnects: dict[int, asyncio.Task[None]] = {}
        self.on_report: Callable[[Agent, dict[str, Any]], None] = lambda *_: None
        agents.reconnect = self.reconnect

    async def run(self) -> None:
        """Ping all active agents at every interval; an interval of 0 sends none."""
        tick = 0
        while self._settings.ping_interval_s:
            options = options_at(tick)
            for agent in self._agents:
                if agent.state == "active":
                    self._ping(agent, options)
            tick += 1
            await asyncio.sleep(self._settings.ping_interval_s)

    def reconnect(self, agent: Agent) -> None:
        """Start to reconnect an agent; at most once per agent at a time."""
        if agent.agent_id in self._reconnects:
            return
        agent.state = "reconnecting"
        task = asyncio.get_running_loop().create_task(self._win_back(agent))
        self._reconnects[agent.agent_id] = task
        task.add_done_callback(lambda _: self._reconnects.pop(agent.agent_id, None))

    def activate(self, agent: Agent) -> None:
        """Activate a new agent: it is active at once, and may answer the ping any time soon."""
        agent.state = "active"
        settings = self._settings
        record = self._call(
            agent,
            {"stats": True, "resources": True},
            settings.reconnect_ping_timeout_s,
            settings.reconnect_ping_sends,
            process="agent.activate",
        )
        record.on_end.append(self._note_activation)

    async def ask(self, agent: Agent, timeout_s: float) -> bool:
        """Ping one agent for everything now and take its report; false without an answer."""
        options = {"stats": True, "resources": True, "instances": True}
        record = self._call(agent, options, timeout_s, sends=1)
        await self._calls.wait(record, timeout_s + 1)
        if record.state == "success":
            self._note_pong(record)
        return record.state == "success"

    async def stop(self) -> None:
        """Cancel all reconnects."""
        tasks = list(self._reconnects.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ping(self, agent: Agent, options: dict[str, bool]) -> None:
        record = self._call(agent, options, self._settings.ping_timeout_s, sends=1)
        record.on_end.append(self._judge)

    def _call(
        self,
        agent: Agent,
        options: dict[str, bool],
        timeout_s: float,
        sends: int,
        *,
        process: str | None = None,
    ) -> CallRecord:
        event: Event = {
            "name": "ping",
            "resourceType": "agent",
            "resourceId": agent.external_id,
            "data": {"options": options, "resources": []},
        }
        if process is not None:
            event["context"] = context_of(event, process)
        self._stats.pings_sent += 1
        return self._calls.start(agent, event, timeout_s=timeout_s, sends=sends, kept=False)

    def _judge(self, record: CallRecord) -> None:
        """Reset the misses after a pong, else count one and reconnect after the limit."""
        agent = record.agent
        if record.state == "success":
            self._note_pong(record)
            return
        self._stats.pings_missed += 1
        agent.misses += 1
        if agent.misses >= self._settings.reconnect_after_misses and agent.state == "active":
            self.reconnect(agent)

    def _note_activation(self, record: CallRecord) -> None:
        """Take the report of an activation; a missing one counts nothing."""
        if record.state == "success":
            self._note_pong(record)

    def _note_pong(self, record: CallRecord) -> None:
        agent = record.agent
        agent.misses = 0
        agent.last_pong_ms = epoch_ms()
        self._stats.pings_answered += 1
        if record.elapsed_ms is not None:
            self._stats.ping_latencies_ms.append(record.elapsed_ms)
        data = (record.final or {}).get("data") or {}
        resources = data.get("resources") if isinstance(data, dict) else None
        if isinstance(resources, list) and resources:
            agent.resources = resources
            self._hosts.report((record.final or {}).get("resourceId"), resources)
            self.on_report(agent, data)

    async def _win_back(self, agent: Agent) -> None:
        """Ping until the agent answers; disconnect it after the timeout."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        options = {"stats": True, "resources": True}
        while agent.state == "reconnecting":
            timeout_s, sends = settings.reconnect_ping_timeout_s, settings.reconnect_ping_sends
            record = self._call(agent, options, timeout_s, sends, process="agent.reconnect")
            await self._calls.wait(record, timeout_s * (sends + 1))
            if agent.is_removed:
                return
            if record.state == "success":
                self._note_pong(record)
                for state in ("reconnected", "finishing-reconnect", "active"):
                    agent.state = state
                return
            self._stats.pings_missed += 1
            if loop.time() - started_s > settings.disconnect_after_s:
                agent.state = "disconnecting"
                agent.state = "disconnected"
                return
            await asyncio.sleep(min(timeout_s, 1))
