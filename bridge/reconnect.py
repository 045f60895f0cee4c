"""How long to wait before an agent's websocket is opened again: a pure decision.

The numbers follow Amazon's ECS agent: backoff from a quarter second, half as much again each time,
jittered, and forgotten only after the connection has stood for a while.
"""

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """How a connection, or the try of one, ended."""

    #: The server closed it in order, as it does every 12 hours.
    CLOSED = "closed"
    #: Cut, reset, silent, unreachable, 5xx.
    LOST = "lost"
    #: 401: the keys are wrong, or the host was removed in cattle.
    UNAUTHORIZED = "unauthorized"
    #: 403: the agent is not (yet) in a state that may subscribe.
    FORBIDDEN = "forbidden"
    #: 422: the account owns several live agents.
    AMBIGUOUS = "ambiguous"
    #: The server took bad keys for the admin's (security is off): we would be the wrong account.
    WRONG_ACCOUNT = "wrong-account"


FIRST_S = 0.25
FACTOR = 1.5
MOST_S = 60.0
#: Waiting helps nobody whose keys are wrong; trying for ever does, once they are mended.
REFUSED_S = 60.0
#: An agent that connects while it registers gets 403; it may soon be let in.
FORBIDDEN_FIRST_S = 2.0
STEADY_AFTER_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """The wait, and the count of failures to remember."""

    wait_s: float
    failures: int


def next_delay(ending: Ending, *, lived_s: float, failures: int, jitter: float) -> Delay:
    """The wait before the next try; `jitter` is a random number from 0 to 1, the caller's."""
    spread = 0.5 + jitter
    if lived_s >= STEADY_AFTER_S:
        failures = 0
    if ending in {Ending.UNAUTHORIZED, Ending.AMBIGUOUS, Ending.WRONG_ACCOUNT}:
        return Delay(wait_s=REFUSED_S * spread, failures=failures + 1)
    if ending is Ending.CLOSED and failures == 0:
        # After a server restart or its 12 hours all agents come at once: spread them.
        return Delay(wait_s=FIRST_S + 2 * jitter, failures=1)
    first_s = FORBIDDEN_FIRST_S if ending is Ending.FORBIDDEN else FIRST_S
    exponent = min(failures, 40)
    return Delay(wait_s=min(first_s * FACTOR**exponent, MOST_S) * spread, failures=failures + 1)
