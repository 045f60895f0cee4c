"""Where in the Engine's events this host is: what it reported, so that nothing is lost or doubled.

The file in the state folder is for the next process that follows the events: what the killed one
had not reported yet, that one finds again in the Engine's memory. The Engine keeps its last 256
events, so that a few keys are enough to know what was reported already.
"""

import json
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cowpoke.container_events import STALE_AFTER_S
from cowpoke.log import logger
from worker.engine.event_stream import NS, EngineEvent

_log = logger(__name__)

FILE = ".container-events"
#: A little more than the Engine keeps.
MOST_KEYS = 300
#: Events that happen at once may come in another order than their times.
OVERLAP_NS = 1 * NS
SAVE_EVERY_S = 0.25
_STALE_NS = int(STALE_AFTER_S * NS)
#: A file of ours has at most some 30 KB.
_MOST_BYTES = 256 * 1024
_KEY_CHARS = 100


class Position:
    """The position of this host. Not thread-safe."""

    def __init__(self, state_dir: Path, *, now_ns: int) -> None:
        self._path = state_dir / FILE
        #: The newest event that was noted. Without a file the host begins now: what happened
        #: before is told by the container list of the first ping.
        self._time_ns = now_ns
        #: The last events that were noted, oldest first.
        self._known: OrderedDict[str, None] = OrderedDict()
        self._saved_s = float("-inf")
        self._is_changed = True
        self._is_failing = False
        self._load(now_ns)

    def since_ns(self, now_ns: int, pending: Iterable[EngineEvent] = ()) -> int:
        """Return from when on events are wanted: nothing that is stale, nothing of the future.

        Args:
            now_ns: The Engine's clock.
            pending: Noted events that must be found again by the next process.
        """
        oldest_ns = min([self._time_ns, *(event.time_ns for event in pending)])
        since_ns = oldest_ns - OVERLAP_NS
        # A clock that was set back makes all stored times those of the future.
        return since_ns if now_ns - _STALE_NS <= since_ns <= now_ns else now_ns - _STALE_NS

    def note(self, event: EngineEvent) -> bool:
        """Note an event; false when it was noted before.

        The file need not have it: the next process finds the event again.
        """
        if event.key in self._known:
            return False
        self._known[event.key] = None
        if len(self._known) > MOST_KEYS:
            self._known.popitem(last=False)
        # Not the maximum: the clock may be set back.
        self._time_ns = event.time_ns
        return True

    def touch(self) -> None:
        """Events were reported: the file is out of date."""
        self._is_changed = True

    def save_due_s(self, now_s: float) -> float | None:
        """Return in how many seconds the file is to be written; None when it is up to date."""
        if not self._is_changed:
            return None
        return max(self._saved_s + SAVE_EVERY_S - now_s, 0)

    def save(self, pending: Iterable[EngineEvent], now_s: float) -> None:
        """Write the file: all events but the pending ones are over. A full disk is only logged."""
        waiting = list(pending)
        keys = {event.key for event in waiting}
        content = {
            "v": 1,
            "time_ns": min([self._time_ns, *(event.time_ns for event in waiting)]),
            "known": [key for key in self._known if key not in keys],
        }
        self._saved_s, self._is_changed = now_s, False
        try:
            self._write(json.dumps(content))
        except OSError as error:
            if not self._is_failing:
                _log.warning(
                    "container_events.position_not_written",
                    path=str(self._path),
                    reason=error.strerror,
                )
            self._is_failing = True
        else:
            self._is_failing = False

    def _write(self, text: str) -> None:
        # One process writes, several times a second: no file with a new name is left by a kill.
        fresh = self._path.with_name(f"{FILE}.new")
        fresh.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(fresh, "w", encoding="utf-8", opener=_owner_only) as file:
            file.write(text)
        fresh.replace(self._path)

    def _load(self, now_ns: int) -> None:
        try:
            with self._path.open("rb") as file:
                text = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            self._ignore(now_ns, str(error.strerror))
            return
        try:
            content: Any = json.loads(text)
            time_ns, known = content["time_ns"], content["known"]
            if not isinstance(time_ns, int) or isinstance(time_ns, bool):
                raise TypeError("time_ns is no number")  # noqa: TRY301 -- one handler for rubbish
            keys = [str(key)[:_KEY_CHARS] for key in known]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._ignore(now_ns, f"{type(error).__name__}: {error}")
            return
        self._time_ns = time_ns
        self._known = OrderedDict.fromkeys(keys[-MOST_KEYS:])

    def _ignore(self, now_ns: int, reason: str) -> None:
        """Begin with the oldest events that are of use: there was a position, and it is lost."""
        _log.warning(
            "container_events.position_ignored",
            path=str(self._path),
            reason=reason[:200],
            advice="events of the last minute are reported again",
        )
        self._time_ns = now_ns - _STALE_NS + OVERLAP_NS


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
