"""How a host joins: /registrationtokens, /register, and the agent that a register object makes.

    token object --active--> its url --> script --> Basic user `registrationToken`
    POST /register {key} --> registering --(delay)--> active: agent, account and keys exist

A register object shows its keys only when it is active and the request has the same key. It keeps
naming its agent after the agent's removal, and shows keys that are dead.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.schemas import schema, types_of
from simulator.tokens import PROJECT_ACCOUNT_ID, RegistrationTokens
from simulator.wire import CattleRefusalError, api_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.agents import Agent, Agents
    from simulator.settings import SimulatorSettings
    from simulator.tokens import RegistrationToken


@dataclass(slots=True, eq=False)
class Register:
    """One register object: the key of a host, and the agent made for it."""

    register_id: int
    key: str
    state: str = "registering"
    agent: Agent | None = None

    def to_json(self, key: object = None, base: str = "") -> dict[str, Any]:
        """Return the object; with its keys only if it is active and `key` is its own."""
        own_id = f"1r{self.register_id}"
        shown: dict[str, Any] = {
            "id": own_id,
            "type": "register",
            "kind": "register",
            "state": self.state,
            "transitioning": "yes" if self.state == "registering" else "no",
            "accountId": f"1a{PROJECT_ACCOUNT_ID}",
            "links": {"self": f"{base}/register/{own_id}"},
            "actions": {},
        }
        if self.state == "active" and key == self.key and self.agent is not None:
            account = self.agent.account
            shown |= {"key": self.key, "accessKey": account.access_key}
            shown["secretKey"] = account.secret_key
        return shown


class Registration:
    """Handlers of /registrationtokens, /register and /schemas."""

    def __init__(self, settings: SimulatorSettings, agents: Agents) -> None:
        self._settings = settings
        self._agents = agents
        self.tokens = RegistrationTokens(settings)
        self.registers: list[Register] = []
        self.activate: Callable[[Agent], None] = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()
        agents.account_of_token = self.tokens.valid

    def routes(self, version: str) -> list[web.RouteDef]:
        """Return the routes; everything is also there under the environment's own address."""
        project = f"{version}/projects/1a{PROJECT_ACCOUNT_ID}"
        return [
            web.get(project, self.project),
            *(
                route
                for prefix in (version, project)
                for route in (
                    web.get(f"{prefix}/schemas", self.schemas),
                    web.get(f"{prefix}/schemas/{{type}}", self.schema),
                    web.get(f"{prefix}/registrationtokens", self.list_tokens),
                    web.post(f"{prefix}/registrationtokens", self.add_token),
                    web.get(f"{prefix}/registrationtokens/{{id}}", self.show_token),
                    web.get(f"{prefix}/register", self.list_registers),
                    web.post(f"{prefix}/register", self.add_register),
                    web.get(f"{prefix}/register/{{id}}", self.show_register),
                    web.delete(f"{prefix}/register/{{id}}", self.remove_register),
                )
            ),
        ]

    async def stop(self) -> None:
        """Cancel what waits for its activation."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def agent_removed(self, agent: Agent) -> None:
        """Remove the register object of a removed agent, if the settings say so."""
        if not self._settings.registers_outlive_agents:
            for register in self.registers:
                if register.agent is agent:
                    register.state = "removed"

    async def project(self, request: web.Request) -> web.Response:
        """Show the environment; its X-API-Schemas header names its own API."""
        self._agents.authenticate(request, "registrationToken")
        own = {"type": "project", "id": f"1a{PROJECT_ACCOUNT_ID}", "name": "Default"}
        return web.json_response({**own, "state": "active"})

    async def schemas(self, request: web.Request) -> web.Response:
        """List the types of the caller's role."""
        role = self._agents.authenticate(request, "schema").role
        base = api_url(request)
        return _collection("schema", [schema(name, base, role) for name in types_of(role)])

    async def schema(self, request: web.Request) -> web.Response:
        """Show one type, named in any case.

        Errors: 401; 404 for a type that the caller's role does not have.
        """
        role = self._agents.authenticate(request, "schema").role
        found = schema(request.match_info["type"], api_url(request), role)
        if found is None:
            raise CattleRefusalError("Not Found", 404, "NotFound")
        return web.json_response(found)

    async def list_tokens(self, request: web.Request) -> web.Response:
        """List token objects; `?state=active` lists those only."""
        self._agents.authenticate(request, "registrationToken")
        state = request.query.get("state")
        chosen = [token for token in self.tokens if state in (None, token.state)]
        shown = [self.tokens.to_json(token, self.public_url(request)) for token in chosen]
        return _collection("registrationToken", shown)

    async def add_token(self, request: web.Request) -> web.Response:
        """Create a token object; its token appears when it is active."""
        self._agents.authenticate(request, "registrationToken")
        token = self.tokens.create()
        self._later(token)
        shown = self.tokens.to_json(token, self.public_url(request))
        return web.json_response(shown, status=201)

    async def show_token(self, request: web.Request) -> web.Response:
        """Show one token object."""
        self._agents.authenticate(request, "registrationToken")
        for token in self.tokens:
            if f"1c{token.token_id}" == request.match_info["id"]:
                return web.json_response(self.tokens.to_json(token, self.public_url(request)))
        raise CattleRefusalError("Not Found", 404, "NotFound")

    async def list_registers(self, request: web.Request) -> web.Response:
        """List register objects, `?key=` those of one key: only those can show keys."""
        self._agents.authenticate(request, "register")
        key = request.query.get("key")
        base = api_url(request)
        chosen = [one for one in self._kept() if key in (None, one.key)]
        return _collection("register", [one.to_json(key, base) for one in chosen])

    async def add_register(self, request: web.Request) -> web.Response:
        """Create a register object; a second one of the same key is another object and agent.

        Errors: 401; 400 InvalidBodyContent; 422 without a key.
        """
        self._agents.authenticate(request, "register")
        key = (await _body(request)).get("key")
        if not key:
            raise CattleRefusalError("key is required", 422, "MissingRequired", "key")
        if not isinstance(key, str):
            raise CattleRefusalError("key is no string", 422, "InvalidFormat", "key")
        register = Register(len(self.registers) + 1, key)
        self.registers.append(register)
        self._later(register)
        return web.json_response(register.to_json(key, api_url(request)), status=201)

    async def show_register(self, request: web.Request) -> web.Response:
        """Show one register object; its keys need `?key=` here too."""
        self._agents.authenticate(request, "register")
        register = self._register(request)
        return web.json_response(register.to_json(request.query.get("key"), api_url(request)))

    async def remove_register(self, request: web.Request) -> web.Response:
        """Remove a register object; its agent stays."""
        self._agents.authenticate(request, "register")
        register = self._register(request)
        register.state = "removed"
        return web.json_response(register.to_json(base=api_url(request)))

    def public_url(self, request: web.Request) -> str:
        """Return the API's address for scripts: the settings' host, else the caller's own way."""
        host = self._settings.api_host.rstrip("/")
        version = request.match_info.get("version", "v1")
        return f"{host}/{version}" if host else api_url(request, project=False)

    def new_token(self) -> RegistrationToken:
        """Return a new token object that is active at once, for the control API."""
        token = self.tokens.create()
        token.state = "active"
        return token

    def _kept(self) -> list[Register]:
        return [register for register in self.registers if register.state != "removed"]

    def _register(self, request: web.Request) -> Register:
        for register in self._kept():
            if f"1r{register.register_id}" == request.match_info["id"]:
                return register
        raise CattleRefusalError("Not Found", 404, "NotFound")

    def _later(self, made: RegistrationToken | Register) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(made))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, made: RegistrationToken | Register) -> None:
        """Activate an object after the delay; a register object makes its agent first.

        The agent becomes active at once: cattle pings it, but waits for no pong.
        """
        if isinstance(made, Register):
            made.agent = self._agents.register()
        await asyncio.sleep(self._settings.registration_delay_s)
        if made.state != "registering":
            return
        made.state = "active"
        if isinstance(made, Register) and made.agent is not None:
            self.activate(made.agent)


def _collection(resource_type: str, data: list[Any]) -> web.Response:
    body = {"type": "collection", "resourceType": resource_type, "data": data}
    return web.json_response(body)


async def _body(request: web.Request) -> dict[str, Any]:
    """Return a JSON body; other fields than those of the type are dropped by its user."""
    try:
        body: Any = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise CattleRefusalError("Request body is not a JSON object", 400, "InvalidBodyContent")
    return body
