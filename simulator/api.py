"""Other cattle resources that a bridge uses: the API root, agents, hosts, the action reconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.wire import CattleRefusalError, api_url

if TYPE_CHECKING:
    from simulator.agents import Agent, Agents
    from simulator.hosts import Hosts


RECONNECTABLE = ("disconnecting", "disconnected", "active", "activating")
SETTLED = ("inactive", "active", "disconnected", "removed")


class Api:
    """GET /v1, /v1/agents, /v1/agents/<id>, /v1/hosts; POST /v1/agents/<id>?action=reconnect."""

    def __init__(self, agents: Agents, hosts: Hosts) -> None:
        self._agents = agents
        self._hosts = hosts

    async def root(self, request: web.Request) -> web.Response:
        """Return the API root; its headers identify the caller's account."""
        self._agents.authenticate(request)
        version = request.match_info["version"]
        base = api_url(request)
        links = {name: f"{base}/{name}" for name in ("subscribe", "publish", "agents", "schemas")}
        body = {"type": "apiVersion", "id": version, "links": links}
        return web.json_response(body)

    async def agents(self, request: web.Request) -> web.Response:
        """List agents: an agent sees itself, a service account sees all."""
        account = self._agents.authenticate(request, "agent")
        shown = account.agents if account.kind == "agent" else self._agents
        body = {
            "type": "collection",
            "resourceType": "agent",
            "data": [_resource(request, agent) for agent in shown if not agent.is_removed],
        }
        return web.json_response(body)

    async def agent(self, request: web.Request) -> web.Response:
        """Return one agent; an agent sees only itself."""
        account = self._agents.authenticate(request, "agent")
        agent = self._agent_of(request)
        if account.kind == "agent" and agent not in account.agents:
            raise CattleRefusalError("Not Found", 404, "NotFound")
        return web.json_response(_resource(request, agent))

    async def hosts(self, request: web.Request) -> web.Response:
        """List live hosts: an agent sees its own, other accounts see all."""
        account = self._agents.authenticate(request, "host")
        own = account.agents if account.kind == "agent" else None
        shown = [
            host.to_json()
            for host in self._hosts
            if host.state != "removed" and (own is None or host.agent in own)
        ]
        return web.json_response({"type": "collection", "resourceType": "host", "data": shown})

    async def reconnect(self, request: web.Request) -> web.Response:
        """Reconnect an agent; a RAW subscription does not do it by itself."""
        account = self._agents.authenticate(request, "agent")
        if account.kind == "agent":
            raise CattleRefusalError("Access Denied", 403, "Forbidden")
        agent = self._agent_of(request)
        if request.query.get("action") != "reconnect" or agent.state not in RECONNECTABLE:
            raise CattleRefusalError("Action is not available", 422, "ActionNotAvailable")
        self._agents.reconnect(agent)
        return web.json_response(_resource(request, agent), status=202)

    def _agent_of(self, request: web.Request) -> Agent:
        try:
            return self._agents.find(request.match_info["agent"])
        except ValueError:
            raise CattleRefusalError("Not Found", 404, "NotFound") from None


def _resource(request: web.Request, agent: Agent) -> dict[str, Any]:
    """Return an agent in the format of cattle's API, with its available actions."""
    url = f"{api_url(request)}/agents/{agent.external_id}"
    links = ("account", "configItemStatuses", "hosts", "instances", "physicalHosts", "storagePools")
    possible = {"reconnect": agent.state in RECONNECTABLE}
    actions = [name for name, can in possible.items() if can]
    return {
        "id": agent.external_id,
        "type": "agent",
        "links": {"self": url, **{name: f"{url}/{name.lower()}" for name in links}},
        "actions": {name: f"{url}/?action={name}" for name in actions},
        "baseType": "agent",
        "name": None,
        "state": agent.state,
        "accountId": f"1a{agent.account.account_id}",
        "description": None,
        "kind": "registeredAgent",
        "managedConfig": True,
        "removed": None,
        "transitioning": "no" if agent.state in SETTLED else "yes",
        "transitioningMessage": None,
        "transitioningProgress": None,
    }
