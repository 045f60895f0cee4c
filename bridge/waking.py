"""Asks cattle to take back an agent that it has given up, for keys of a service account.

An agent's own keys do so by subscribing; a service account's subscription wakes nobody.
"""

import aiohttp

from bridge.settings import AgentKeys
from worker.log import logger

_log = logger(__name__)

TIMEOUT_S = 15.0
_GIVEN_UP = frozenset({"disconnecting", "disconnected"})


async def wake(session: aiohttp.ClientSession, cattle_url: str, agent: AgentKeys) -> None:
    """Have the agent reconnected if it is given up; what fails is logged, and tried again later."""
    if agent.agent_id is None:
        return
    url = f"{cattle_url}/agents/1a{agent.agent_id.removeprefix('1a')}"
    patience = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with session.get(url, headers=agent.headers, timeout=patience) as response:
            response.raise_for_status()
            told = await response.json(content_type=None)
        state = told.get("state") if isinstance(told, dict) else None
        if state not in _GIVEN_UP:
            return
        params = {"action": "reconnect"}
        async with session.post(
            url, params=params, headers=agent.headers, timeout=patience
        ) as response:
            response.raise_for_status()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
        _log.warning("agent.not_woken", agent_id=agent.agent_id, reason=str(problem))
    else:
        _log.info("agent.woken", agent_id=agent.agent_id, state=state)
