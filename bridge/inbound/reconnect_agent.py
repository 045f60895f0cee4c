"""Request a reconnect for an agent that cattle marked as disconnected.

An agent's own keys do so by subscribing; the subscription of a service account does not.
"""

import json

import aiohttp

from bridge.awake import AwakeClock
from bridge.client import UNREACHED, read_body
from bridge.settings import AgentKeys
from cowpoke.log import logger

_log = logger(__name__)

TIMEOUT_S = 15.0
_DISCONNECTED = frozenset({"disconnecting", "disconnected"})


async def reconnect_agent(
    session: aiohttp.ClientSession, cattle_url: str, agent: AgentKeys, clock: AwakeClock
) -> None:
    """Request the reconnect if it is needed; a failure is logged, the next subscription retries."""
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
        if state not in _DISCONNECTED:
            return
        async with (
            clock.timeout(TIMEOUT_S),
            session.post(url, params={"action": "reconnect"}, headers=agent.headers) as response,
        ):
            response.raise_for_status()
    except (*UNREACHED, ValueError, RecursionError) as problem:
        _log.warning("agent.reconnect_failed", agent_id=agent.agent_id, reason=str(problem))
    else:
        _log.info("agent.reconnect_requested", agent_id=agent.agent_id, state=state)
