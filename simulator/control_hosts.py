"""/simulator/...: join, list and remove hosts; the second half of the control API."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from simulator.agents import Agents
    from simulator.hosts import Hosts
    from simulator.pings import Pings
    from simulator.registration import Registration
    from simulator.secrets import Secrets
    from simulator.subscriptions import Subscriptions

PREFIX = "/simulator"


class SecretEntry(BaseModel):
    """One secret: a file in the mounted folder, and its owner and mode."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    value: str
    uid: str | None = None
    gid: str | None = None
    mode: str | None = None


class SecretsRequest(BaseModel):
    """Body of POST /simulator/secrets."""

    model_config = ConfigDict(extra="forbid")

    host: str
    secrets: list[SecretEntry] = Field(min_length=1)


class ReportRequest(BaseModel):
    """Body of POST /simulator/reports."""

    model_config = ConfigDict(extra="forbid")

    agent: str | int | None = None
    wait_s: float = Field(15, gt=0)


class HostControl:
    """Handlers of the control API that concern hosts."""

    def __init__(  # noqa: PLR0913  one argument per part of the server
        self,
        agents: Agents,
        hosts: Hosts,
        registration: Registration,
        subscriptions: Subscriptions,
        *,
        pings: Pings,
        secrets: Secrets,
    ) -> None:
        self._agents = agents
        self._hosts = hosts
        self._registration = registration
        self._subscriptions = subscriptions
        self._pings = pings
        self._secrets = secrets

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all handlers."""
        return [
            web.post(f"{PREFIX}/registrationtokens", self.add_token),
            web.get(f"{PREFIX}/registers", self.show_registers),
            web.get(f"{PREFIX}/hosts", self.show_hosts),
            web.delete(f"{PREFIX}/hosts/{{host}}", self.remove_host),
            web.delete(f"{PREFIX}/agents/{{agent}}", self.remove_agent),
            web.post(f"{PREFIX}/secrets", self.add_secrets),
            web.post(f"{PREFIX}/reports", self.ask_report),
        ]

    async def add_token(self, request: web.Request) -> web.Response:
        """Make a registration token that is active at once."""
        token = self._registration.new_token()
        base = self._registration.public_url(request)
        return web.json_response(self._registration.tokens.to_json(token, base), status=201)

    async def show_registers(self, _: web.Request) -> web.Response:
        """Return all register objects with their agents, without secrets."""
        return web.json_response(
            [
                {
                    "id": f"1r{one.register_id}",
                    "key": one.key,
                    "state": one.state,
                    "agent": one.agent.external_id if one.agent else None,
                }
                for one in self._registration.registers
            ]
        )

    async def show_hosts(self, _: web.Request) -> web.Response:
        """Return all hosts, removed ones too, and what reports held that cattle passes over."""
        hosts = [
            {
                **host.to_json(),
                "reportedUuid": host.reported_uuid,
                "pools": host.pools,
                "hostKey": host.host_key,
            }
            for host in self._hosts
        ]
        return web.json_response({"hosts": hosts, "problems": self._hosts.problems})

    async def remove_host(self, request: web.Request) -> web.Response:
        """Remove a host with its agent and keys; `?drop_sockets=1` cuts the agent's sockets too."""
        host = self._hosts.find(request.match_info["host"])
        self._hosts.remove(host)
        dropped = self._drop_sockets(request, host.agent.agent_id)
        return web.json_response({**host.to_json(), "sockets_dropped": dropped})

    async def remove_agent(self, request: web.Request) -> web.Response:
        """Remove an agent with its keys; its hosts stay."""
        agent = self._agents.find(request.match_info["agent"])
        self._hosts.remove_agent(agent)
        dropped = self._drop_sockets(request, agent.agent_id)
        return web.json_response({**agent.to_json(), "sockets_dropped": dropped})

    async def add_secrets(self, request: web.Request) -> web.Response:
        """Make a secrets volume for a host; the answer has its name, driver, options and path."""
        asked = SecretsRequest.model_validate_json(await request.read())
        host = self._hosts.find(asked.host)
        entries = [entry.model_dump(exclude_none=True) for entry in asked.secrets]
        return web.json_response(asdict(self._secrets.volume(host, entries)), status=201)

    async def ask_report(self, request: web.Request) -> web.Response:
        """Ping an agent for everything, and show the agent when its report has been taken."""
        asked = ReportRequest.model_validate_json(await request.read())
        agent = self._agents.find(asked.agent)
        if not await self._pings.ask(agent, asked.wait_s):
            raise ValueError(f"Agent {agent.external_id} did not report within {asked.wait_s} s.")
        return web.json_response(agent.to_json())

    def _drop_sockets(self, request: web.Request, agent_id: int) -> int:
        is_asked = request.query.get("drop_sockets") == "1"
        return self._subscriptions.drop(agent_id) if is_asked else 0
