"""Something that is done only now and then."""

import time


class Rarely:
    """Says now and then that it is time."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def is_time(self, every_s: float) -> bool:
        """Whether so many seconds passed since it was time last."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + every_s
        return True
