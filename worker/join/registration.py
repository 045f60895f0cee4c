"""Register this host at Rancher: from the url of the page for a new host to the agent's keys.

Source: Rancher's `agent/run.sh`, `resolve_url.py`, `register.py`; the steps have the same order.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from worker.errors import HostRemovedError, JoinError
from worker.join.addresses import is_agent_ip, server_of
from worker.join.http import Answer, Http, UnreachableError, shown_server
from worker.join.script import BEGIN, Registration, parse_script

_POLL_S = 1.0
_URL_POLL_S = 2.0
_SAY_EVERY_S = 30.0
_OK, _CREATED, _SERVER_ERROR = 200, 201, 500
_DENIED = frozenset({401, 403})
#: States of a register object whose agent is gone.
_GONE = frozenset({"removing", "removed", "purging", "purged", "inactive", "deactivating"})
_REJOIN = (
    "if it was removed in Rancher on purpose, that is all; to join it again as a new host, run "
    "`cowpoke join --new-register-key URL`. Its containers were not touched"
)

_SEEN = re.compile(r"\bCATTLE_AGENT_IP=[^\n]*?((?:\d{1,3}\.){3}\d{1,3})")

Say = Callable[[str], None]
Login = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentKeys:
    """The keys of this host's agent."""

    access_key: str
    secret_key: str = field(repr=False)

    @property
    def login(self) -> Login:
        """User and password for HTTP."""
        return self.access_key, self.secret_key


def resolve(
    http: Http, url: str, *, wait_s: float, say: Say, override: str | None = None
) -> Registration:
    """Return what the server says to a host with this url; waits for a server that starts.

    The url is that of a script with a token, or of the API with a login in it:
    `http://ACCESS:SECRET@server/v1/projects/1a5`; a token is found or made then. `override` is used
    instead of the url that the server gives.
    Errors: JoinError.
    """
    url, login = _without_login(url)
    first = _wait_for(http, url, login, wait_s=wait_s, say=say)
    if first.status == _OK and first.text.startswith(BEGIN):
        return _checked(first, override)
    script_url = _script_url(http, url, first, login)
    answer = _wait_for(http, script_url, None, wait_s=wait_s, say=say)
    if answer.status != _OK or not answer.text.startswith(BEGIN):
        raise JoinError(_no_script(script_url, answer))
    return _checked(answer, override)


def _checked(answer: Answer, override: str | None) -> Registration:
    asked, found = answer.url, parse_script(answer.text)
    if override is not None:
        return replace(found, cattle_url=override)
    if server_of(asked) != server_of(found.cattle_url):
        raise JoinError(
            f"the registration url is of {shown_server(asked)}, and the server names "
            f"{shown_server(found.cattle_url)} as its url: set the host registration url in "
            "Rancher's settings and copy the new url, or set CATTLE_URL_OVERRIDE"
        )
    return found


def _wait_for(http: Http, url: str, login: Login | None, *, wait_s: float, say: Say) -> Answer:
    """GET an url until the server answers it with something else than a server error."""
    deadline_s = time.monotonic() + wait_s
    said_s = 0.0
    while True:
        try:
            answer = http.get(url, login=login, follows=login is None)
        except UnreachableError as problem:
            reason = problem.message
        else:
            if answer.status < _SERVER_ERROR:
                return answer
            reason = f"{shown_server(url)} answers HTTP {answer.status}"
        now_s = time.monotonic()
        if now_s >= deadline_s:
            raise JoinError(f"{reason}; waited {wait_s:g} s")
        if now_s - said_s > _SAY_EVERY_S:
            say(f"waiting for the server: {reason}")
            said_s = now_s
        time.sleep(min(_URL_POLL_S, max(0.0, deadline_s - now_s)))


def _script_url(http: Http, url: str, first: Answer, login: Login | None) -> str:
    """Find or make a registration token through the API."""
    if first.status in _DENIED:
        raise JoinError(
            f"{shown_server(url)} refuses the url (HTTP {first.status}): its token is not valid "
            "any more; copy a new url from the page for a new host"
        )
    if found := _registration_url(first.content):
        return found
    schemas = first.headers.get("X-API-Schemas")
    if not schemas or server_of(schemas) != server_of(url):
        raise JoinError(_no_script(url, first))
    tokens = f"{schemas.rstrip('/').removesuffix('/schemas')}/registrationtokens"
    answer = http.get(tokens, login=login, params={"state": "active"})
    for one in _listed(answer):
        if found := _registration_url(one):
            return found
    made = http.post(tokens, {}, login=login)
    own = str(made.content.get("links", {}).get("self") or "")
    deadline_s = time.monotonic() + 30
    while made.status in {_OK, _CREATED} and time.monotonic() < deadline_s:
        if found := _registration_url(made.content):
            return found
        if server_of(own) != server_of(url):
            break
        time.sleep(_POLL_S)
        made = http.get(own, login=login)
    raise JoinError(
        f"{shown_server(url)} gives no registration token (HTTP {made.status}); use the url that "
        "the page for a new host shows, or an API url with the keys of an environment"
    )


def _registration_url(content: Mapping[str, Any]) -> str | None:
    url = content.get("registrationUrl")
    return url if isinstance(url, str) and url.startswith("http") else None


def _no_script(url: str, answer: Answer) -> str:
    return (
        f"{shown_server(url)} answers the registration url with HTTP {answer.status} and no "
        "registration script; copy the whole url `.../v1/scripts/TOKEN` from the page for a new "
        "host (an old token may have been removed)"
    )


def register(  # noqa: PLR0913 -- each is one fact
    http: Http,
    registration: Registration,
    key: str,
    *,
    wait_s: float,
    say: Say,
    may_create: bool = True,
) -> AgentKeys:
    """Return the keys of the agent with this register key; make the agent if there is none.

    With `may_create` false this host has registered before, and a missing agent was removed.

    Errors: HostRemovedError when the agent of the key is gone; JoinError.
    """
    url = f"{registration.cattle_url}/register"
    login = registration.user, registration.token
    server = shown_server(url)
    deadline_s = time.monotonic() + wait_s
    is_new, state = False, "no register object yet"
    while True:
        try:
            found = _usable(http.get(url, login=login, params={"key": key}), server)
            if not found and not may_create:
                raise HostRemovedError(f"{server} does not know this host any more: {_REJOIN}")
            if not found and not is_new:
                say(f"registering this host at {server}")
                answer = http.post(url, {"key": key}, login=login)
                is_new = answer.status in {_OK, _CREATED}
                if not is_new:
                    _refuse(answer, server, "create the register object")
            keys = _keys(found)
            if keys is not None:
                if not is_new:
                    check_keys_live(http, registration.cattle_url, keys)
                return keys
            state = _state(found) or state
        except UnreachableError as problem:
            state = problem.message
        if time.monotonic() >= deadline_s:
            raise JoinError(
                f"{server} gave this host no keys within {wait_s:g} s (last seen: {state}); look "
                "at the server's log and run the command again: it continues where it stopped"
            )
        time.sleep(_POLL_S)


def _usable(answer: Answer, server: str) -> list[Mapping[str, Any]]:
    if answer.status != _OK:
        _refuse(answer, server, "list the register objects")
    return _listed(answer)


def _refuse(answer: Answer, server: str, what: str) -> None:
    """Errors: UnreachableError for what may end by itself, JoinError otherwise."""
    if answer.status in _DENIED:
        raise JoinError(
            f"{server} refuses the registration token (HTTP {answer.status}): copy a new url from "
            "the page for a new host"
        )
    if answer.status >= _SERVER_ERROR:
        raise UnreachableError(f"{server} answers HTTP {answer.status}")
    code = answer.content.get("code")
    detail = f" {code}" if isinstance(code, str) and code.isidentifier() else ""
    raise JoinError(f"cannot {what}: {server} answers HTTP {answer.status}{detail}")


def _listed(answer: Answer) -> list[Mapping[str, Any]]:
    data = answer.content.get("data")
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _keys(found: list[Mapping[str, Any]]) -> AgentKeys | None:
    """The keys of the register objects with our key; only an active one has some."""
    for one in found:
        access_key, secret_key = one.get("accessKey"), one.get("secretKey")
        if access_key and secret_key:
            return AgentKeys(access_key=str(access_key), secret_key=str(secret_key))
    return None


def _state(found: list[Mapping[str, Any]]) -> str | None:
    states = [str(one.get("state")) for one in found]
    if states and all(state in _GONE for state in states):
        raise HostRemovedError(f"Rancher removed this host (register is {states[0]}): {_REJOIN}")
    if any(one.get("transitioning") == "error" for one in found):
        raise JoinError("the server could not register this host; its log says why")
    return ", ".join(states) or None


def check_keys_live(http: Http, cattle_url: str, keys: AgentKeys) -> None:
    """Return when the server accepts an agent's keys, or does not answer now.

    With access control off, a server takes unknown keys for those of an administrator, who may read
    the schema `account`; an agent may not. The old agent checks the same.
    Errors: HostRemovedError.
    """
    try:
        own = http.get(f"{cattle_url}/schemas/configcontent", login=keys.login).status
        admins = http.get(f"{cattle_url}/schemas/account", login=keys.login).status
    except UnreachableError:
        return
    if own in _DENIED or admins in {401, _OK}:
        raise HostRemovedError(
            f"{shown_server(cattle_url)} does not accept the keys of this host any more: {_REJOIN}"
        )


def seen_address(http: Http, cattle_url: str) -> str | None:
    """Return the address of this host as the server sees it; None if the server does not say.

    The script that the old agent runs at each start has it.
    """
    try:
        answer = http.get(f"{cattle_url}/scripts/bootstrap", follows=True)
    except UnreachableError:
        return None
    found = _SEEN.search(answer.text) if answer.status == _OK else None
    return found[1] if found is not None and is_agent_ip(found[1]) else None


def _without_login(url: str) -> tuple[str, Login | None]:
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    netloc = parts.netloc.rpartition("@")[2]
    login = unquote(parts.username), unquote(parts.password or "")
    return urlunsplit(parts._replace(netloc=netloc)), login
