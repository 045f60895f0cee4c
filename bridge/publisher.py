"""POSTs replies to cattle through one pooled keep-alive client, and tells failures apart."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from bridge.errors import KeysRefusedError, PublishError, PublishRefusedError
from bridge.settings import AgentKeys

TIMEOUT_S = 60.0
CREATED = 201
UNAUTHORIZED = 401
#: Wrong now, maybe right later: a proxy is overloaded, a request came too slowly.
_TRY_AGAIN = frozenset({408, 421, 423, 425, 429})


class Publisher:
    """Sends reply events as one or another agent."""

    def __init__(
        self, session: aiohttp.ClientSession, cattle_url: str, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._url = f"{cattle_url}/publish"

    async def publish(self, agent: AgentKeys, reply: Mapping[str, Any]) -> None:
        """Send one reply; returns when cattle has put it on its bus.

        Errors: PublishError (try again), PublishRefusedError (will never change).
        """
        try:
            async with self._session.post(
                self._url,
                json=reply,
                headers=agent.headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                if response.status == CREATED:
                    with suppress(aiohttp.ClientError, TimeoutError, OSError):
                        # Read for the sake of the connection; cattle has the reply already.
                        await response.read()
                    return
                raise await refusal(response, "a reply")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PublishError(
                f"cattle did not take the reply: {type(error).__name__} {error}".strip()
            ) from error


async def refusal(response: aiohttp.ClientResponse, what: str) -> PublishError:
    """What an answer that is no success means for whatever was sent."""
    # The body may be a proxy's HTML page or JSON of cattle's; its beginning is enough for a log.
    body = (await response.content.read(300)).decode(errors="replace")
    said = f"cattle answered {response.status} to {what}: {' '.join(body.split())}"
    status = response.status
    if status == UNAUTHORIZED:
        return KeysRefusedError(said)
    if 400 <= status < 500 and status not in _TRY_AGAIN:  # noqa: PLR2004 -- HTTP's classes
        return PublishRefusedError(said)
    return PublishError(said, retry_after_s=_seconds(response.headers.get("Retry-After")))


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
