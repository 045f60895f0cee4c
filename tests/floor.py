"""What this machine needs for next to nothing right now: latencies are judged by it.

A bound in seconds says how fast the product is on a quiet machine. On a busy one everything takes
longer, also what has nothing to do with the product. So a test adds what the machine itself costs,
measured in the same run, and stays sharp on a quiet one.
"""

import subprocess
import sys
import time

#: How many starts of a process the longest way through bridge, Redis and worker is worth.
STARTS = 20
ROUNDS = 3


def start_s() -> float:
    """Return how long it takes to start a process that does nothing: the longest of a few."""
    return max(_start_once_s() for _ in range(ROUNDS))


def _start_once_s() -> float:
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return time.monotonic() - began_s


def allowed_s(quiet_s: float) -> float:
    """Return a bound for what takes at most `quiet_s` on a quiet machine."""
    return quiet_s + STARTS * start_s()
