"""When cattle refuses an agent's keys for good: a pure decision.

cattle deletes the keys of a host that was removed in Rancher, and nobody makes them good again. But
it also refuses keys for a moment, for example while its database is restored. So only several
refusals over some minutes count, and even then the keys are tried now and then.
"""

from dataclasses import dataclass

from bridge.inbound.reconnect import REFUSED_S, Ending

#: Refusals in a row after which an agent counts as removed.
LEAST_TRIES = 4
#: How much longer than the time until then is the time between two later tries.
LATER = 2.5

_UNKNOWN = frozenset({Ending.UNAUTHORIZED, Ending.WRONG_ACCOUNT})
#: cattle knows the keys, whatever else it wants.
_KNOWN = frozenset({Ending.FORBIDDEN, Ending.AMBIGUOUS})


@dataclass(slots=True)
class Refusing:
    """The refusals of one agent since cattle last knew its keys."""

    #: How long cattle must refuse the keys.
    after_s: float
    first_s: float = 0.0
    tries: int = 0
    is_for_good: bool = False

    @property
    def pause_s(self) -> float:
        """How long to wait after a refusal, about: so that the tries fit in `after_s`."""
        return min(REFUSED_S, self.after_s / LEAST_TRIES)

    def known(self) -> None:
        """Note that cattle knows the keys."""
        self.tries, self.is_for_good = 0, False

    def ended(self, ending: Ending, now_s: float) -> bool:
        """Note how a subscription, or the try of one, ended; whether the keys count as bad now.

        True once only. An absent cattle says nothing about keys.
        """
        if ending in _KNOWN:
            self.known()
        if ending not in _UNKNOWN:
            return False
        if self.tries == 0:
            self.first_s = now_s
        self.tries += 1
        # The jitter may shorten all the waits between the tries.
        is_over = self.tries >= LEAST_TRIES and now_s - self.first_s >= self.after_s / 2
        was, self.is_for_good = self.is_for_good, self.is_for_good or is_over
        return self.is_for_good and not was

    def wait_s(self, usual_s: float, jitter: float) -> float:
        """Return the wait before the next try; `jitter` is a random number from 0 to 1."""
        return LATER * self.after_s * (0.75 + jitter / 2) if self.is_for_good else usual_s
