"""Asks cattle to take back an agent that it has given up, for keys of a service account.

An agent's own keys do so by subscribing; a service account's subscription wakes nobody.
"""

import json

import aiohttp

from bridge.awake import AwakeClock
from bridge.client import UNREACHED, read_body
from bridge.settings import AgentKeys
from cowpoke.log import logger

_log = logger(__name__)

TIMEOUT_S = 15.0
_GIVEN_UP = frozenset({"disconnecting", "disconnected"})


async def wake(
    session: aiohttp.ClientSession, cattle_url: str, agent: AgentKeys, clock: AwakeClock
) -> None:
    """Have the agent reconnected if cattle gave it up; a failure is logged and tried again."""
    if agent.agent_id is None:
        return
    url = f"{cattle_url}/agents/1a{agent.agent_id.removeprefix('1a')}"
    try:
        async with (
            clock.timeout(TIMEOUT_S),
            session.get(url, headers=agent.headers) as response,
        ):
            response.raise_for_status()
            told = json.loads(await read_body(response))
        state = told.get("state") if isinstance(told, dict) else None
        if state not in _GIVEN_UP:
            return
        async with (
            clock.timeout(TIMEOUT_S),
            session.post(url, params={"action": "reconnect"}, headers=agent.headers) as response,
        ):
            response.raise_for_status()
    except (*UNREACHED, ValueError, RecursionError) as problem:
        _log.warning("agent.not_woken", agent_id=agent.agent_id, reason=str(problem))
    else:
        _log.info("agent.woken", agent_id=agent.agent_id, state=state)
