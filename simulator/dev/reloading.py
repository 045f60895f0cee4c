"""Replace a running program by one with the new sources, without losing an event.

The new program starts beside the old one. When it is ready, the old one gets SIGTERM: it takes no
more events, finishes what runs and leaves. So cattle has an open websocket, and each host a worker,
at every moment. A new program that does not start, because of a mistake in the sources, changes
nothing: the old one goes on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from simulator.dev.showing import Shower, say
from simulator.rig.processes import Program, ProgramEndedError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: On a busy machine; otherwise a program is ready within two seconds.
READY_WITHIN_S = 60.0
#: A little longer than the drain time of a program.
LEAVES_WITHIN_S = 20.0


class Reloadable:
    """One program of the system, and those of its predecessors that still drain."""

    def __init__(
        self, module: str, environment: Mapping[str, str], ready: tuple[str, ...], shower: Shower
    ) -> None:
        """`ready`: patterns of the log lines that a program prints until it is ready."""
        self.module = module
        self._environment = environment
        self._ready = ready
        self._shower = shower
        self._current: Program | None = None
        #: Started, and not ready yet.
        self._next: Program | None = None
        self._began_s = 0.0
        self._leaving: list[Program] = []
        self._said_ended = False

    def start(self) -> None:
        """Start the first program.

        Errors: ProgramEndedError, WaitTimeoutError when it does not become ready.
        """
        self.begin()
        self._current = self._ready_one()

    def begin(self) -> None:
        """Start a program beside the current one; `reload` follows."""
        self._began_s = time.monotonic()
        self._next = Program(self.module, environment=self._environment)
        self._next.start()
        self._shower.add(self._next)

    def reload(self) -> bool:
        """Replace the current program by the one that began; return whether that one runs."""
        try:
            new = self._ready_one()
        except (ProgramEndedError, WaitTimeoutError):
            # What it printed is shown.
            text = f"{self.module}: the new one did not start; the old one goes on"
            say("dev", text, color="red")
            return False
        old, self._current = self._current, new
        self._said_ended = False
        if old is not None:
            if old.running:
                old.begin_stop()
            self._leaving.append(old)
        took_s = time.monotonic() - self._began_s
        say("dev", f"{self.module}: reloaded in {took_s:.1f} s", color="green")
        return True

    def look(self) -> None:
        """Forget predecessors that have left, and say when the program ended by itself."""
        for program in [one for one in self._leaving if not one.running]:
            self._leaving.remove(program)
            self._forget(program)
        if self._current is not None and not self._current.running and not self._said_ended:
            self._said_ended = True
            say(
                "dev", f"{self.module}: it ended; it starts again with the next change", color="red"
            )

    def stop(self) -> None:
        """Stop all of them."""
        programs = [one for one in (*self._leaving, self._next, self._current) if one is not None]
        for program in programs:
            if program.running:
                program.begin_stop()
        for program in programs:
            self._forget(program)
        self._leaving, self._next, self._current = [], None, None

    def _ready_one(self) -> Program:
        """Return the program that began, when it is ready.

        Errors: as `start`.
        """
        program, self._next = self._next, None
        assert program is not None
        try:
            for pattern in self._ready:
                program.wait_for_line(pattern, READY_WITHIN_S)
        except BaseException:
            self._forget(program)
            raise
        return program

    def _forget(self, program: Program) -> None:
        program.end(LEAVES_WITHIN_S)
        self._shower.remove(program)
        program.stop()
