"""The part of `cowpoke doctor` about cattle: the url, its certificate, and the keys of agents."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from itertools import islice

import aiohttp
import redis

from bridge.client import UNREACHED, foreign_kind, open_session, trusted
from bridge.settings import AgentKeys, BridgeSettings
from cowpoke import keys, scrubbing
from cowpoke.broker import connect
from cowpoke.doctor.finding import CORRECT_IT, Finding, Part
from cowpoke.envelopes import UnknownVersionError
from cowpoke.environment import BadEnvironmentError, is_given, read
from cowpoke.joined import JoinedNotes, opened_note
from cowpoke.seal import SealBrokenError

_PART = Part("bridge")
#: The old agent asked for it too: keys that are no agent's may not read it, or more than it.
_PATH = "/schemas/configContent"
TIMEOUT_S = 10.0
#: Agents whose keys are tried.
MOST_AGENTS = 20
#: The header `Date` has whole seconds.
CLOCK_DIFFERS_S = 5.0
_REFUSED = frozenset({401, 403})
_OK = 200


def examine(*, asked: bool) -> Iterator[Finding]:
    """Yield what there is to say about cattle, where a bridge has its settings."""
    if not asked and not (is_given("CATTLE_URL") and is_given("QUEUE_KEY")):
        yield _PART.skipped(
            "settings",
            "CATTLE_URL and QUEUE_KEY are not both set: no bridge runs with these settings",
        )
        return
    try:
        settings = read(BridgeSettings)
    except BadEnvironmentError as error:
        for line in str(error).splitlines():
            yield _PART.problem("settings", line, advice=CORRECT_IT)
        return
    scrubbing.keep_secret(settings)
    yield _PART.good("settings", "they are complete")
    agents = [*settings.agents]
    if settings.queue_key is None:
        yield _PART.note("QUEUE_KEY", "it is not set", code="keys-missing")
    else:
        joined, unread = _joined(settings)
        agents += joined
        if unread:
            yield _PART.skipped("joined hosts", unread)
    yield from asyncio.run(_collected(settings, agents))


def _joined(settings: BridgeSettings) -> tuple[list[AgentKeys], str]:
    """Return agents of hosts that joined this cattle; and why they cannot be read."""
    keyring = settings.cluster_keyring()
    found: list[AgentKeys] = []
    try:
        with connect(settings, retries=0) as client:
            for host_uuid in islice(sorted(JoinedNotes(client).hosts()), MOST_AGENTS):
                text = str(client.get(keys.joined(host_uuid)) or "")
                try:
                    note = opened_note(keyring.host(host_uuid), text, host_uuid=host_uuid)
                except (SealBrokenError, UnknownVersionError):
                    continue  # it is removed by its host, or of another key
                if note.cattle_url == settings.cattle_url:
                    agent = {
                        "access_key": note.access_key,
                        "secret_key": note.secret_key,
                        "host_uuid": host_uuid,
                    }
                    found.append(AgentKeys.model_validate(agent))
    except redis.RedisError as error:
        return [], f"Redis did not give their keys: {error}"
    return found, ""


async def _collected(settings: BridgeSettings, agents: list[AgentKeys]) -> list[Finding]:
    return [one async for one in _cattle(settings, agents)]


async def _cattle(settings: BridgeSettings, agents: list[AgentKeys]) -> AsyncIterator[Finding]:
    is_tls = settings.cattle_url.startswith("https")
    way = " by way of the proxy" if settings.proxy is not None else ""
    async with open_session(trusted(settings.ca_bundle), settings.proxy, tunnel=is_tls) as session:
        try:
            began_s = time.time()
            status, headers = await _ask(session, settings.cattle_url, {})
        except UNREACHED as error:
            said = f"{settings.cattle_url} does not answer{way}: {error or type(error).__name__}"
            yield _PART.problem("cattle", said, code="cattle-unreachable")
            return
        if status not in _REFUSED | {_OK}:
            said = f"{settings.cattle_url} answers with {status}{way}: that is no API of cattle"
            yield _PART.problem("cattle", said, code="cattle-unreachable")
            return
        took_ms = (time.time() - began_s) * 1000
        yield _PART.good("cattle", f"{settings.cattle_url} answers in {took_ms:.0f} ms{way}")
        clock = _clock(headers.get("Date", ""))
        if clock is not None:
            yield clock
        if not agents:
            said = "no agent is in the settings, and no host has joined"
            yield _PART.note("agents", said, advice="on a host: cowpoke join URL")
        for agent in agents[:MOST_AGENTS]:
            yield await _keys(session, settings, agent)
        if len(agents) > MOST_AGENTS:
            said = f"the keys of {len(agents) - MOST_AGENTS} more agents were not tried"
            yield _PART.skipped("agents", said)


async def _keys(
    session: aiohttp.ClientSession, settings: BridgeSettings, agent: AgentKeys
) -> Finding:
    check = f"keys of agent {agent.label}"
    host = f" (host {agent.host_uuid})" if agent.host_uuid else ""
    try:
        status, headers = await _ask(session, f"{settings.cattle_url}{_PATH}", agent.headers)
    except UNREACHED as error:
        said = f"cattle does not answer{host}: {error or type(error).__name__}"
        return _PART.problem(check, said, code="cattle-unreachable")
    if status in _REFUSED:
        return _PART.problem(check, f"cattle refuses them{host}", code="agent-keys-refused")
    kind = foreign_kind(headers)
    if kind is not None or status != _OK:
        what = f"those of {kind}" if kind is not None else f"not those of an agent ({status})"
        return _PART.problem(
            check, f"cattle takes them for {what}{host}", code="agent-keys-refused"
        )
    return _PART.good(check, f"cattle accepts them{host}")


async def _ask(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str]
) -> tuple[int, dict[str, str]]:
    """Return status and headers of an answer.

    Errors: those of `UNREACHED`.
    """
    async with asyncio.timeout(TIMEOUT_S), session.get(url, headers=headers) as response:
        return response.status, dict(response.headers)


def _clock(date: str) -> Finding | None:
    try:
        offset_s = time.time() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    said = (
        f"this machine is {abs(offset_s):.0f} s {'ahead of' if offset_s > 0 else 'behind'} cattle"
    )
    if abs(offset_s) > CLOCK_DIFFERS_S:
        return _PART.note("clock", said, code="clock-differs")
    return _PART.good("clock", said)
