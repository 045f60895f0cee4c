"""POST one container event to cattle, and classify the answer.

| answer | what it means | what becomes of the event |
|---|---|---|
| 2xx | cattle has it | it is over |
| 409 | the host has too many starts that cattle has not processed | starts wait, others go on |
| 422 about the host | cattle knows a host after its first resources ping | the host waits |
| 401, 403 | the keys are no agent's, now or any more | the host waits, another bridge may try |
| 400, 413, other 422 | this event will never be accepted | it is given up |
| anything else, or none | cattle or the way to it is broken | the host waits |

An event that waits too long is stale, and dropped by the caller.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import aiohttp

from bridge.awake import AwakeClock
from bridge.client import UNREACHED, finish, foreign_kind, read_body
from bridge.settings import AgentKeys
from cowpoke.container_events import ContainerEvent
from cowpoke.scrubbing import Scrubber, scrub, scrubbing

#: A slow cattle must not hold the events of a host until all are stale.
TIMEOUT_S = 10.0
_SHOWN_CHARS = 300
_REFUSED = frozenset({400, 413, 422})
_KEYS_REFUSED = frozenset({401, 403})
_TOO_MANY = 409
_INVALID = 422
#: What cattle calls a reference to something that does not exist for the caller.
_UNKNOWN_HOST = "InvalidReference"


class End(StrEnum):
    """How one POST ended."""

    POSTED = "posted"
    TOO_MANY_STARTS = "too-many-starts"
    HOST_UNKNOWN = "host-unknown"
    KEYS_REFUSED = "keys-refused"
    REFUSED = "refused"
    FAILED = "failed"


#: What to do about an answer after which an event waits.
ADVICE: Mapping[End, str] = MappingProxyType(
    {
        End.TOO_MANY_STARTS: "nothing: starts wait until cattle has processed earlier ones",
        End.HOST_UNKNOWN: "nothing: cattle knows a new host after its first resources ping",
        End.KEYS_REFUSED: "check the keys of the agent; those of a service account are no agent's",
        End.FAILED: "check cattle, and the way to it",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one POST."""

    end: End
    #: None when cattle was not reached.
    status: int | None = None
    #: What cattle said, scrubbed; empty after a success.
    reason: str = ""


class Poster:
    """Sends container events as one or another agent."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        cattle_url: str,
        *,
        clock: AwakeClock,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._session = session
        self._clock = clock
        self._timeout_s = timeout_s
        self._url = f"{cattle_url}/containerevents"

    async def post(self, agent: AgentKeys, event: ContainerEvent) -> Answer:
        """Send one event; never raises for an answer or for none."""
        body = event.body()
        try:
            async with (
                self._clock.timeout(self._timeout_s),
                self._session.post(self._url, json=body, headers=agent.headers) as response,
            ):
                if response.ok and foreign_kind(response.headers) is None:
                    await finish(response, self._clock)
                    return Answer(end=End.POSTED, status=response.status)
                # cattle may quote what it refuses, a container's environment among it.
                with scrubbing(Scrubber.of(body)):
                    return await _refused(response)
        except UNREACHED as error:
            reason = f"{type(error).__name__} {error}".strip()
            return Answer(end=End.FAILED, reason=f"cattle was not reached: {reason}")


async def _refused(response: aiohttp.ClientResponse) -> Answer:
    status = response.status
    raw = b"" if "Content-Encoding" in response.headers else await read_body(response)
    text = " ".join(scrub(raw[: 4 * _SHOWN_CHARS].decode(errors="replace")).split())
    reason = f"cattle answered {status}: {text[:_SHOWN_CHARS]}"
    # Accepted or refused as another account's: it is not the agent that speaks.
    if status in _KEYS_REFUSED or response.ok:
        return Answer(end=End.KEYS_REFUSED, status=status, reason=reason)
    if status == _TOO_MANY:
        return Answer(end=End.TOO_MANY_STARTS, status=status, reason=reason)
    if status == _INVALID and _code(raw) == _UNKNOWN_HOST:
        return Answer(end=End.HOST_UNKNOWN, status=status, reason=reason)
    end = End.REFUSED if status in _REFUSED else End.FAILED
    return Answer(end=end, status=status, reason=reason)


def _code(raw: bytes) -> object:
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body.get("code") if isinstance(body, dict) else None
