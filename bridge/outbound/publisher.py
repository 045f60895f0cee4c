"""POSTs replies to cattle through one pooled keep-alive client, and classifies failures."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from bridge.awake import AwakeClock
from bridge.client import UNREACHED, finish, foreign_kind, read_body
from bridge.errors import (
    DoubtfulRefusalError,
    KeysRefusedError,
    KeysUnknownError,
    PublishError,
    PublishRefusedError,
)
from bridge.inbound.standing import Standing
from bridge.settings import AgentKeys
from cowpoke import tracing
from cowpoke.scrubbing import Scrubber, scrub, scrubbing

TIMEOUT_S = 60.0
#: Longest wait that a server's Retry-After can ask for.
MOST_RETRY_AFTER_S = 60.0
SHOWN_CHARS = 300
CREATED = 201
UNAUTHORIZED = 401
#: What cattle answers to a request that it cannot read, now or later.
_FINAL = frozenset({400, 422})
#: Wrong now, maybe right later: a proxy is overloaded or wants a login, a request came too slowly.
_TRY_AGAIN = frozenset({407, 408, 421, 423, 425, 429})


class Publisher:
    """Sends reply events as one or another agent."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        cattle_url: str,
        *,
        clock: AwakeClock,
        standing: Standing,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._session = session
        self._clock = clock
        self._standing = standing
        self._timeout_s = timeout_s
        self._url = f"{cattle_url}/publish"

    async def publish(self, agent: AgentKeys, reply: Mapping[str, Any], *, trace: str = "") -> None:
        """Send one reply; returns when cattle has put it on its bus as the agent's.

        `trace` is the context of the span of its event, see `cowpoke.tracing`.
        Errors: PublishError (try again), DoubtfulRefusalError (try again for a while),
        PublishRefusedError (will never change), KeysRefusedError (other keys may do),
        KeysUnknownError (accepted, but as another account's).
        """
        span = tracing.begin("reply.publish", parent=trace) if trace else tracing.OFF
        try:
            await self._post(agent, reply)
        except PublishError as problem:
            span.fail(type(problem).__name__)
            raise
        finally:
            span.end()

    async def _post(self, agent: AgentKeys, reply: Mapping[str, Any]) -> None:
        try:
            async with (
                self._clock.timeout(self._timeout_s),
                self._session.post(self._url, json=reply, headers=agent.headers) as response,
            ):
                if response.status != CREATED:
                    # cattle may quote what it refuses, a container's environment among it.
                    with scrubbing(Scrubber.of(reply)):
                        raise await self._refused(response)
                await finish(response, self._clock)
                self._check_account(agent, response.headers)
        except UNREACHED as error:
            raise PublishError(
                f"cattle did not take the reply: {type(error).__name__} {error}".strip()
            ) from error

    async def _refused(self, response: aiohttp.ClientResponse) -> PublishError:
        problem = await refusal(response, "a reply")
        if isinstance(problem, DoubtfulRefusalError) and foreign_kind(response.headers):
            return KeysUnknownError(problem.message)
        return problem

    def _check_account(self, agent: AgentKeys, headers: Mapping[str, str]) -> None:
        """Raise KeysUnknownError when cattle took the reply as another account's.

        The answer says whose the keys are; where it does not, the last subscription said it.
        """
        kind = foreign_kind(headers)
        says = "X-API-ACCOUNT-KIND" in headers
        if kind is None and (says or not self._standing.is_unknown(agent)):
            return
        raise KeysUnknownError(
            f"cattle answered 201 to a reply with keys of agent {agent.label}, but took them for "
            f"an account of kind {kind or 'other'}: it does not know the agent"
        )


async def refusal(response: aiohttp.ClientResponse, what: str) -> PublishError:
    """Return what an answer that is no success means for what was sent."""
    # The body may be a proxy's HTML page or JSON of cattle's; its beginning is enough for a log.
    body = await read_body(response)
    if "Content-Encoding" in response.headers:
        body = b"(a compressed body)"
    text = scrub(body[: 4 * SHOWN_CHARS].decode(errors="replace"))
    text = " ".join(text.split())[:SHOWN_CHARS]
    said = f"cattle answered {response.status} to {what}: {text}"
    status = response.status
    if status == UNAUTHORIZED:
        return KeysRefusedError(said)
    if status in _FINAL:
        return PublishRefusedError(said)
    if 400 <= status < 500 and status not in _TRY_AGAIN:  # noqa: PLR2004 -- HTTP's classes
        return DoubtfulRefusalError(said)
    return PublishError(said, retry_after_s=_retry_after_s(response.headers.get("Retry-After")))


def _retry_after_s(text: str | None) -> float | None:
    """Return the wait that a server asks for, in seconds or until a date; None if unreadable."""
    if text is None or not text.isascii():
        return None
    text = text.strip()
    if text.isdecimal():
        # More digits than the limit has are more than the limit.
        return min(float(text[:9]), MOST_RETRY_AFTER_S)
    try:
        wait_s = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return None
    return min(max(wait_s, 0.0), MOST_RETRY_AFTER_S)
