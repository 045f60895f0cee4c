"""How log lines leave a process: as whole lines of JSON, repeats folded.

    {"event": "redis.unavailable", ..., "timestamp": "..."}                      the first, at once
    {..., "count": 19, "first": "...", "last": "...", "timestamp": "..."} its repeats, once a window

Two lines are the same when all is the same but the time: level, logger, fact, event id, fields. The
repeats of a line are written when its window ends, before another fact of the same logger, and when
the process ends.
"""

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

#: How long repeats of a line are held back.
FOLD_WINDOW_S = 10.0
#: Lines that are remembered; the oldest is forgotten first.
MOST_REMEMBERED = 256
#: A pipe takes so much in one piece (PIPE_BUF): the lanes of a worker write to the same one.
MOST_LINE_BYTES = 4096
#: What a line's time, and the count and times of its repeats, may take.
_STAMPS_BYTES = 200
_SHORTER_CHARACTERS = (1000, 300, 100, 30)
_KEPT_ENTRIES = 20
_KEPT_FIELDS = ("event", "level", "logger", "event_id", "code", "reason")


@dataclass(slots=True)
class _Remembered:
    """One line, and its repeats that were not written yet."""

    logger: str
    due_s: float
    count: int = 0
    first: str = ""
    last: str = ""


class FoldingHandler(logging.Handler):
    """Writes each record as one line in one piece; its formatter gives JSON without a time.

    Thread-safe. A forked child starts with nothing remembered.
    """

    def __init__(self, stream: TextIO, *, window_s: float = FOLD_WINDOW_S) -> None:
        super().__init__()
        self._stream = stream
        self._window_s = window_s
        self._lines: OrderedDict[str, _Remembered] = OrderedDict()
        self._timer: threading.Thread | None = None
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as a repeat."""
        try:
            line = _shortened(self.format(record))
            stamp = _stamp(record.created)
            self._forget_after_fork()
            self._write_due(time.monotonic())
            same = self._lines.get(line)
            if same is not None:
                same.first = same.first or stamp
                same.count, same.last = same.count + 1, stamp
                self._start_timer()
                return
            self._write_repeats_of(record.name)
            if len(self._lines) >= MOST_REMEMBERED:
                oldest, repeats = self._lines.popitem(last=False)
                self._write_repeats(oldest, repeats)
            self._lines[line] = _Remembered(record.name, time.monotonic() + self._window_s)
            self._write(line, {"timestamp": stamp})
        except Exception:  # noqa: BLE001 -- logging's own rule: no line is worth a crash
            self.handleError(record)

    def flush(self) -> None:
        """Write the repeats that are still held back."""
        with self._locked():
            self._forget_after_fork()
            for line, repeats in self._lines.items():
                self._write_repeats(line, repeats)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Say that a line was lost; when that fails too, there is nowhere left to say it."""
        try:
            lost = {"event": "log.line_lost", "level": "error", "logger": record.name}
            self._write(json.dumps(lost), {"timestamp": _stamp(record.created)})
        except Exception:  # noqa: BLE001 -- the stream is gone
            return

    def _locked(self) -> Any:  # noqa: ANN401 -- the lock's type has no public name
        assert self.lock is not None
        return self.lock

    def _forget_after_fork(self) -> None:
        """The parent writes the repeats of the lines before the fork, and has the timer."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lines.clear()
            self._timer = None

    def _write_due(self, now_s: float) -> None:
        """End the windows that are over; a line without repeats in its window is forgotten."""
        while self._lines:
            line, repeats = next(iter(self._lines.items()))
            if repeats.due_s > now_s:
                return
            del self._lines[line]
            if repeats.count:
                self._write_repeats(line, repeats)
                repeats.due_s = now_s + self._window_s
                self._lines[line] = repeats

    def _write_repeats_of(self, logger: str) -> None:
        for line, repeats in self._lines.items():
            if repeats.logger == logger:
                self._write_repeats(line, repeats)

    def _write_repeats(self, line: str, repeats: _Remembered) -> None:
        if repeats.count:
            told = {"count": repeats.count, "first": repeats.first, "last": repeats.last}
            repeats.count, repeats.first = 0, ""
            self._write(line, {**told, "timestamp": repeats.last})

    def _write(self, line: str, stamps: dict[str, object]) -> None:
        whole = f"{line[:-1]}{', ' if line != '{}' else ''}{json.dumps(stamps)[1:]}\n"
        self._stream.write(whole)
        self._stream.flush()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = threading.Thread(target=self._run_timer, name="log", daemon=True)
            self._timer.start()

    def _run_timer(self) -> None:
        """Write repeats at the end of their windows; ends when nothing is held back."""
        while True:
            with self._locked():
                now_s = time.monotonic()
                self._write_due(now_s)
                if not any(repeats.count for repeats in self._lines.values()):
                    self._timer = None
                    return
                wait_s = next(iter(self._lines.values())).due_s - now_s
            time.sleep(max(0.01, wait_s))


class Printed:
    """Stands in for a standard stream: each line that is printed becomes a log line.

    It has no `fileno`: a caller that asks for one would write past the log.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._here = threading.local()

    def write(self, text: str) -> int:
        """Log every whole line of a thread's text; blank lines are left out."""
        *lines, rest = (getattr(self._here, "begun", "") + text).split("\n")
        self._here.begun = rest[-MOST_LINE_BYTES:]
        for line in lines:
            # What logging itself prints must not be logged again.
            if line.strip() and not getattr(self._here, "busy", False):
                self._here.busy = True
                try:
                    self._log.warning("output.printed", extra={"text": line.rstrip()})
                finally:
                    self._here.busy = False
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Log them all."""
        self.write("".join(lines))

    def writable(self) -> bool:
        """Return true."""
        return True

    def isatty(self) -> bool:
        """Return false."""
        return False

    def flush(self) -> None:
        """Do nothing: the log writes each line at once."""


def _stamp(time_s: float) -> str:
    written = datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds")
    return written.replace("+00:00", "Z")


def _shortened(line: str) -> str:
    """The line with its longest fields cut, when it is too long to be written in one piece."""
    if len(line.encode()) <= MOST_LINE_BYTES - _STAMPS_BYTES:
        return line
    fact = json.loads(line)
    for most in _SHORTER_CHARACTERS:
        cut = {key: _cut(value, most) for key, value in fact.items()}
        shorter = json.dumps({**cut, "cut": True})
        if len(shorter.encode()) <= MOST_LINE_BYTES - _STAMPS_BYTES:
            return shorter
    kept = {key: _cut(fact[key], _SHORTER_CHARACTERS[-1]) for key in _KEPT_FIELDS if key in fact}
    return json.dumps({**kept, "cut": True})


def _cut(value: object, most: int) -> object:
    """A text's begin and end, a list's begin; anything else that is long becomes a text."""
    if isinstance(value, list) and len(value) > _KEPT_ENTRIES:
        return [*(_cut(one, most) for one in value[:_KEPT_ENTRIES]), f"{len(value)} in all"]
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= most:
        return value
    return f"{text[: most // 2]} ... {text[-most // 2 :]}"
