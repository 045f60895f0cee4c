"""Remembers the outcomes that this bridge could not read, so that others can try them."""

import time

#: How long an outcome waits for a bridge that can read it.
FOR_S = 60.0
#: After this it is another bridge's for certain.
FORGOTTEN_S = 3 * FOR_S


class Unreadable:
    """Ids of outcomes, and when this bridge first tried each. Thread-safe."""

    def __init__(self) -> None:
        self._tried_s: dict[str, float] = {}

    def __contains__(self, outcome_id: str) -> bool:
        return outcome_id in self._tried_s

    def add(self, outcome_id: str) -> bool:
        """Note a try that failed; return whether it is the first one."""
        now_s = time.monotonic()
        return self._tried_s.setdefault(outcome_id, now_s) == now_s

    def is_for_good(self, outcome_id: str) -> bool:
        """Return whether no other bridge could read it for long enough."""
        return time.monotonic() - self._tried_s[outcome_id] >= FOR_S

    def discard(self, outcome_id: str) -> None:
        """Forget an outcome."""
        self._tried_s.pop(outcome_id, None)

    def waiting(self) -> set[str]:
        """Return those that this bridge leaves to others for now; forgets very old ones."""
        now_s = time.monotonic()
        tried = tuple(self._tried_s.items())
        for outcome_id, at_s in tried:
            if at_s < now_s - FORGOTTEN_S:
                # Another bridge could read it.
                self.discard(outcome_id)
        return {outcome_id for outcome_id, at_s in tried if at_s > now_s - FOR_S}
