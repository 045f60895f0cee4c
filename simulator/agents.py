"""Accounts, keys and agents: authenticate requests and find the agent they concern."""

from __future__ import annotations

import base64
import hmac
import itertools
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.schemas import types_of
from simulator.wire import CattleRefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.settings import AgentSettings, AgentState

CONNECTABLE: frozenset[AgentState] = frozenset(
    {
        "activating",
        "active",
        "reconnecting",
        "disconnected",
        "disconnecting",
        "finishing-reconnect",
        "reconnected",
    }
)
CALLABLE: frozenset[AgentState] = frozenset({"activating", "active", "reconnecting"})
FIRST_AGENT_ID = 5
FIRST_ACCOUNT_ID = 100
TOKEN_USER = "registrationToken"  # noqa: S105  a user name
"""The user name whose password is a registration token."""


@dataclass(slots=True)
class Account:
    """One account and its keys. `raw` accounts use full topic names and may publish any name.

    `role` decides which types the account may use; by default its kind.
    """

    account_id: int
    kind: str
    access_key: str
    secret_key: str
    agents: list[Agent] = field(default_factory=list)
    role: str = ""

    def __post_init__(self) -> None:
        self.role = self.role or self.kind

    @property
    def raw(self) -> bool:
        """Whether topic names are used as they are."""
        return self.kind == "service"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that identify the account; unknown keys may count as admin."""
        external = f"1a{self.account_id}"
        name = {"X-API-ACCOUNT-NAME": "admin"} if self.kind == "admin" else {}
        return {
            "X-API-ACCOUNT-ID": external,
            "X-API-ACCOUNT-KIND": self.kind,
            "X-API-USER-ID": external,
            **name,
        }


@dataclass(slots=True, eq=False)
class Agent:
    """One agent: its state, its missed pings and its last report."""

    agent_id: int
    account: Account
    state: AgentState
    misses: int = 0
    resources: list[dict[str, Any]] = field(default_factory=list)
    last_pong_ms: float | None = None
    config_versions: dict[str, str] = field(default_factory=dict)

    @property
    def external_id(self) -> str:
        """Return the id on the wire, `1a5` for agent 5."""
        return f"1a{self.agent_id}"

    @property
    def is_removed(self) -> bool:
        """Whether the agent is gone, and its keys with it."""
        return self.state == "removed"

    def to_json(self) -> dict[str, Any]:
        """Return the agent for the control API, without its secret."""
        return {
            "id": self.external_id,
            "agent_id": self.agent_id,
            "access_key": self.account.access_key,
            "kind": self.account.kind,
            "state": self.state,
            "misses": self.misses,
            "last_pong_ms": self.last_pong_ms,
            "resources": self.resources,
            "config_versions": self.config_versions,
        }


ACCOUNT = web.RequestKey("account", Account)
"""Where a request keeps the account of its keys."""


class Agents:
    """All accounts and agents, with the look-ups that requests need."""

    def __init__(self, specs: tuple[AgentSettings, ...], *, security_enabled: bool) -> None:
        self._security_enabled = security_enabled
        self._accounts: dict[str, Account] = {}
        self._agents: dict[int, Agent] = {}
        self._account_ids = itertools.count(FIRST_ACCOUNT_ID)
        self._admin = Account(1, "admin", "", "")
        self.reconnect: Callable[[Agent], None] = lambda _: None
        self.account_of_token: Callable[[str], Account | None] = lambda _: None
        for spec in specs:
            self.add(spec)

    def __iter__(self) -> Iterator[Agent]:
        return iter(tuple(self._agents.values()))

    def add(self, spec: AgentSettings) -> Agent | None:
        """Create an account or add an agent to it; a service account gets no agent.

        Errors: ValueError for an agent id in use or keys that contradict the account's.
        """
        secret = spec.secret_key.get_secret_value()
        account = self._accounts.get(spec.access_key)
        if account is not None and (account.secret_key != secret or account.kind != spec.kind):
            raise ValueError(
                f"Access key {spec.access_key!r} belongs to an account with another secret or kind;"
                " agents share an account only with the same keys."
            )
        agent_id = spec.agent_id or max(self._agents, default=FIRST_AGENT_ID - 1) + 1
        if agent_id in self._agents:
            raise ValueError(f"Agent {agent_id} exists already; choose another agent_id.")
        if account is None:
            account = Account(next(self._account_ids), spec.kind, spec.access_key, secret)
            self._accounts[spec.access_key] = account
        if spec.kind != "agent":
            return None
        return self._add(agent_id, account, spec.state)

    def register(self) -> Agent:
        """Create an agent with an account and keys of its own; it is not live yet."""
        access_key, secret_key = secrets.token_hex(10).upper(), secrets.token_urlsafe(30)
        account = Account(next(self._account_ids), "agent", access_key, secret_key)
        self._accounts[access_key] = account
        agent_id = max(self._agents, default=FIRST_AGENT_ID - 1) + 1
        return self._add(agent_id, account, "registering")

    def remove(self, agent: Agent) -> None:
        """Remove an agent and, with the account's last one, the account and its keys.

        Its sockets stay open; they get no more events.
        """
        agent.state = "removed"
        if all(other.is_removed for other in agent.account.agents):
            self._accounts.pop(agent.account.access_key, None)

    def _add(self, agent_id: int, account: Account, state: AgentState) -> Agent:
        agent = Agent(agent_id, account, state)
        account.agents.append(agent)
        self._agents[agent_id] = agent
        return agent

    def find(self, selector: str | int | None) -> Agent:
        """Return the agent with a number, external id or access key; by default the only live one.

        Errors: ValueError if no agent or several agents match.
        """
        if selector is None:
            found = [agent for agent in self._agents.values() if not agent.is_removed]
        elif match := re.fullmatch(r"(?:1a)?(\d+)", str(selector)):
            found = [self._agents[number]] if (number := int(match[1])) in self._agents else []
        else:
            account = self._accounts.get(str(selector))
            found = account.agents if account else []
        if len(found) != 1:
            known = ", ".join(agent.external_id for agent in list(self._agents.values())[:10])
            raise ValueError(
                f"Agent {selector!r} means {len(found)} agents, one is needed; known: {known}."
            )
        return found[0]

    def authenticate(self, request: web.Request, type_: str | None = None) -> Account:
        """Return the account of a request's Basic keys and store it for the response headers.

        Errors: 401; 404 if the account's role has no resources of `type_`. With access control off
        (a fresh cattle), unknown keys count as admin instead, unless the request has the header
        X-ENFORCE-AUTHENTICATION.
        """
        headers = request.headers
        access_key, secret_key = _basic_keys(headers.get("Authorization", ""))
        account = self._account_of(access_key, secret_key)
        if account is None:
            enforced = headers.get("X-ENFORCE-AUTHENTICATION", "").lower() == "true"
            if self._security_enabled or enforced:
                raise CattleRefusalError("Unauthorized", 401, "Unauthorized")
            account = self._admin
        request[ACCOUNT] = account
        if type_ is not None and type_ not in types_of(account.role):
            raise CattleRefusalError("Not Found", 404, "NotFound")
        return account

    def _account_of(self, access_key: str, secret_key: str) -> Account | None:
        if access_key == TOKEN_USER:
            return self.account_of_token(secret_key)
        account = self._accounts.get(access_key)
        if account is None:
            return None
        same = hmac.compare_digest(account.secret_key.encode(), secret_key.encode())
        return account if same else None

    def usable_agent(self, account: Account) -> Agent:
        """Return the one live agent of an account; start a reconnect if it is disconnected.

        Errors: 403 without a live agent, 422 with several.
        """
        live = [agent for agent in account.agents if agent.state in CONNECTABLE]
        if not live:
            raise CattleRefusalError("Access Denied", 403, "Forbidden")
        if len(live) > 1:
            raise CattleRefusalError("agentId is required", 422, "MissingRequired", "agentId")
        if live[0].state in ("disconnected", "disconnecting"):
            self.reconnect(live[0])
        return live[0]


def _basic_keys(authorization: str) -> tuple[str, str]:
    """Return access and secret key of an Authorization header; empty strings if not Basic."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        access_key, _, secret_key = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return access_key, secret_key
