"""How long to wait before an agent's websocket is opened again: a pure decision.

The numbers follow Amazon's ECS agent: backoff from a quarter second, half as much again each time,
jittered, and forgotten only after the connection was open for a while. The longest wait follows
cattle, which gives a host up after six missed pings (30 s).
"""

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """How a connection, or the attempt to open one, ended."""

    #: The server closed it in order, as it does every 12 hours.
    CLOSED = "closed"
    #: Cut, reset, silent, unreachable, 5xx, or the 404 of a proxy.
    LOST = "lost"
    #: 401: the keys are wrong, or the host was removed in cattle.
    UNAUTHORIZED = "unauthorized"
    #: 403: the agent is not (yet) in a state that may subscribe.
    FORBIDDEN = "forbidden"
    #: 422: the account owns several live agents.
    AMBIGUOUS = "ambiguous"
    #: cattle took the keys for another account's, such as the admin's: with access control off it
    #: does so with keys that it does not know.
    WRONG_ACCOUNT = "wrong-account"


FIRST_S = 0.25
FACTOR = 1.5
#: The longest wait for a server that is absent, jitter included.
MOST_S = 10.0
#: Refused keys are mended by people only, so they are tried slowly.
REFUSED_S = 60.0
#: An agent that connects while it registers gets 403; it may soon be let in.
FORBIDDEN_FIRST_S = 2.0
STEADY_AFTER_S = 60.0
_REFUSED = frozenset({Ending.UNAUTHORIZED, Ending.AMBIGUOUS, Ending.WRONG_ACCOUNT})
_BY_STATUS = {401: Ending.UNAUTHORIZED, 403: Ending.FORBIDDEN, 422: Ending.AMBIGUOUS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """The wait, and the count of failures to remember."""

    wait_s: float
    failures: int


def ending_of(status: int, *, is_foreign: bool) -> Ending:
    """Return what a refused subscription means.

    Args:
        status: The HTTP status.
        is_foreign: Whether the answer says that the keys belong to another account than an agent's.
            With access control off, cattle 1.6 answers 404 so; without that, a 404 is a proxy's.
    """
    if is_foreign and 400 <= status < 500:  # noqa: PLR2004 -- HTTP's classes
        return Ending.WRONG_ACCOUNT
    return _BY_STATUS.get(status, Ending.LOST)


def next_delay(
    ending: Ending,
    *,
    lived_s: float,
    failures: int,
    jitter: float,
    refused_s: float = REFUSED_S,
) -> Delay:
    """Return the wait before the next attempt.

    Args:
        ending: How the last one ended.
        lived_s: How long its websocket was open.
        failures: What `Delay.failures` said last.
        jitter: A random number from 0 to 1.
        refused_s: The wait after keys were refused, about.
    """
    if lived_s >= STEADY_AFTER_S:
        failures = 0
    if ending in _REFUSED:
        return Delay(wait_s=refused_s * (0.5 + jitter), failures=failures + 1)
    if ending is Ending.CLOSED and failures == 0:
        # After a server restart or its 12 hours all agents come at once: spread them.
        return Delay(wait_s=FIRST_S + 2 * jitter, failures=1)
    first_s = FORBIDDEN_FIRST_S if ending is Ending.FORBIDDEN else FIRST_S
    grown_s = min(first_s * FACTOR ** min(failures, 40), MOST_S)
    # Downwards only, so that the limit holds.
    return Delay(wait_s=grown_s * (0.5 + jitter / 2), failures=failures + 1)
