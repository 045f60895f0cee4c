"""Tells cattle that an agent has the newest version of config items.

cattle sends `config.update` until its own database says that an item is applied, whatever is
replied. What a worker did not fetch is therefore reported here before its reply goes out.
"""

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import quote

import aiohttp

from bridge.awake import AwakeClock
from bridge.client import UNREACHED, finish, foreign_kind
from bridge.errors import (
    KeysRefusedError,
    KeysUnknownError,
    PublishError,
    PublishRefusedError,
)
from bridge.outbound.publisher import refusal
from bridge.settings import AgentKeys
from cowpoke.log import logger
from cowpoke.outcomes import UP_TO_DATE, Kind, Outcome, error

_log = logger(__name__)

TIMEOUT_S = 15.0
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
#: An answer must still reach cattle before it gives up.
_REPLY_S = 0.5


class ConfigContent:
    """cattle's `/configcontent`, for all agents."""

    def __init__(
        self, session: aiohttp.ClientSession, cattle_url: str, *, clock: AwakeClock
    ) -> None:
        self._session = session
        self._clock = clock
        self._url = f"{cattle_url}/configcontent"

    async def reported(self, agent: AgentKeys, outcome: Outcome, within_s: float) -> Outcome:
        """Return the outcome once its items are reported, or an error when they could not be.

        Errors: KeysRefusedError when cattle does not know the agent's keys.
        """
        items = outcome.data.get(UP_TO_DATE)
        if outcome.kind is not Kind.SUCCESS or not isinstance(items, list) or not items:
            return outcome
        try:
            await self._report_all([str(item) for item in items], agent, within_s)
        except KeysRefusedError:
            # Keys of another agent, or of another bridge, may do.
            raise
        except PublishError as problem:
            _log.warning("config.report_failed", items=items, reason=problem.message)
            return error("config-not-reported", problem.message)
        return outcome

    async def _report_all(self, items: Sequence[str], agent: AgentKeys, within_s: float) -> None:
        ends_s = time.monotonic() + within_s - _REPLY_S
        for item in items:
            delay_s = RETRY_FIRST_S
            while True:
                try:
                    await self._report(item, agent)
                    break
                except (KeysRefusedError, PublishRefusedError):
                    raise
                except PublishError:
                    if time.monotonic() + delay_s >= ends_s:
                        raise
                    await asyncio.sleep(delay_s)
                    delay_s = min(delay_s * 2, RETRY_MOST_S)

    async def _report(self, item: str, agent: AgentKeys) -> None:
        """Errors: PublishError (try again), PublishRefusedError (will never change)."""
        try:
            async with (
                self._clock.timeout(TIMEOUT_S),
                self._session.put(
                    f"{self._url}/{quote(item, safe='')}",
                    params={"version": "latest"},
                    headers=agent.headers,
                ) as response,
            ):
                if response.status >= 300:  # noqa: PLR2004 -- HTTP's classes
                    raise await refusal(response, f"the report that {item} is up to date")
                await finish(response, self._clock)
                if kind := foreign_kind(response.headers):
                    raise KeysUnknownError(
                        f"cattle took the report that {item} is up to date for one of an account "
                        f"of kind {kind!r}: it does not know agent {agent.label}"
                    )
        except UNREACHED as problem:
            raise PublishError(
                f"cattle did not take the report that {item} is up to date: "
                f"{type(problem).__name__} {problem}".strip()
            ) from problem
