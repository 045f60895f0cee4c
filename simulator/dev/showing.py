"""The log lines of all programs as one stream for people: who, what, and the keys."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from simulator.rig.processes import Program

_COLORS = {"warning": "yellow", "error": "red", "critical": "red"}
_NOT_SHOWN = frozenset({"event", "level", "logger", "timestamp"})
_POLL_S = 0.1


def say(who: str, what: str, *, color: str | None = None) -> None:
    """Print one line."""
    click.echo(f"{click.style(f'{who:>9}', fg='cyan')}  {click.style(what, fg=color)}")


class Shower(threading.Thread):
    """Prints what the programs log, until stopped."""

    def __init__(self) -> None:
        super().__init__(name="shower", daemon=True)
        self._lock = threading.Lock()
        #: Program -> characters of its output that were shown.
        self._shown: dict[Program, int] = {}
        self._over = threading.Event()

    def add(self, program: Program) -> None:
        """Show the lines of one more program."""
        with self._lock:
            self._shown[program] = 0

    def remove(self, program: Program) -> None:
        """Show what is left of a program that ended, and forget it."""
        self._catch_up()
        with self._lock:
            self._shown.pop(program, None)

    def run(self) -> None:
        """Print new lines until stopped."""
        while not self._over.wait(_POLL_S):
            self._catch_up()

    def stop(self) -> None:
        """End, after the last line is printed."""
        self._over.set()
        self.join()
        self._catch_up()

    def _catch_up(self) -> None:
        with self._lock:
            for program, shown in self._shown.items():
                fresh = program.output()[shown:]
                whole = fresh[: fresh.rfind("\n") + 1]
                self._shown[program] = shown + len(whole)
                for line in whole.splitlines():
                    _show(program.module, line)


def _show(who: str, line: str) -> None:
    try:
        fact: Any = json.loads(line)
    except ValueError:
        fact = None
    if not isinstance(fact, dict):
        say(who, line)
        return
    if fact.get("event_name") == "ping":
        # Every 5 s, and of no interest.
        return
    values = " ".join(f"{key}={value}" for key, value in fact.items() if key not in _NOT_SHOWN)
    level = str(fact.get("level"))
    say(who, f"{fact.get('event')} {values}".rstrip(), color=_COLORS.get(level))
