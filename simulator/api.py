"""The few other cattle resources a bridge asks for: the root, agents, reconnecting one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.wire import CattleRefusalError

if TYPE_CHECKING:
    from simulator.agents import Agent, Agents


class Api:
    """GET /v1, GET /v1/agents, GET /v1/agents/<id>, POST /v1/agents/<id>?action=reconnect."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def root(self, request: web.Request) -> web.Response:
        """What this version offers; its headers say who the caller is taken for."""
        account = self._agents.authenticate(request.headers)
        version = request.match_info["version"]
        base = f"{request.scheme}://{request.host}/{version}"
        links = {name: f"{base}/{name}" for name in ("subscribe", "publish", "agents")}
        body = {"type": "apiVersion", "id": version, "links": links}
        return web.json_response(body, headers=account.headers)

    async def agents(self, request: web.Request) -> web.Response:
        """An agent sees exactly itself, a service account sees all."""
        account = self._agents.authenticate(request.headers)
        shown = account.agents if account.kind == "agent" else list(self._agents)
        body = {
            "type": "collection",
            "resourceType": "agent",
            "data": [_resource(agent) for agent in shown],
        }
        return web.json_response(body, headers=account.headers)

    async def agent(self, request: web.Request) -> web.Response:
        """One agent; an agent sees itself only."""
        account = self._agents.authenticate(request.headers)
        agent = self._agent_of(request)
        if account.kind == "agent" and agent not in account.agents:
            raise CattleRefusalError("Not Found", 404, "NotFound")
        return web.json_response(_resource(agent), headers=account.headers)

    async def reconnect(self, request: web.Request) -> web.Response:
        """The action a RAW subscriber needs, as its subscribing wakes nobody up."""
        account = self._agents.authenticate(request.headers)
        if account.kind == "agent":
            raise CattleRefusalError("Access Denied", 403, "Forbidden")
        agent = self._agent_of(request)
        reconnectable = ("disconnecting", "disconnected", "active", "activating")
        if request.query.get("action") != "reconnect" or agent.state not in reconnectable:
            raise CattleRefusalError("Action is not available", 422, "ActionNotAvailable")
        self._agents.reconnect(agent)
        return web.json_response(_resource(agent), status=202, headers=account.headers)

    def _agent_of(self, request: web.Request) -> Agent:
        try:
            return self._agents.find(request.match_info["agent"])
        except ValueError:
            raise CattleRefusalError("Not Found", 404, "NotFound") from None


def _resource(agent: Agent) -> dict[str, Any]:
    return {"type": "agent", "id": agent.external_id, "state": agent.state}
