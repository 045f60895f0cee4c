"""How a demo tells what it does: steps, lines of the programs, and one line for a failure."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import click
import redis

from simulator.client import SimulatorError
from simulator.rig.errors import RigError
from simulator.rig.processes import ProgramEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.client import Call, Cattle
    from simulator.rig.processes import Program
    from simulator.sample import SampleEvent

#: What of the programs' log lines is shown, and how.
SHOWN = {
    "event.accepted": "task queued       {event_name} ({resource})",
    "container.started": "container started {container_id}",
    "event.done": "task done         {event_name} in {duration_ms} ms",
    "reply.sent": "reply published   {outcome}",
}
#: What a step may fail of; anything else is a fault of the demo. Docker's errors are OSErrors.
_FAILURES = (AssertionError, OSError, ProgramEndedError, SimulatorError, redis.RedisError)
T = TypeVar("T")


class StepFailedError(Exception):
    """A step of the demo failed; the message names the step and the reason."""


class Narrator(threading.Thread):
    """Prints the log lines of the programs between the lines of the demo.

    `shown` is the form of each log event that is printed.
    """

    def __init__(
        self, programs: Mapping[str, Program], shown: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(daemon=True)
        self._programs = programs
        self._shown = SHOWN if shown is None else shown
        self._seen = dict.fromkeys(programs, 0)
        self._over = threading.Event()

    def run(self) -> None:
        """Follow until stopped."""
        while not self._over.wait(0.05):
            self.catch_up()

    def catch_up(self) -> None:
        """Print new lines in order of time."""
        facts = [fact for name in self._programs for fact in self._fresh(name)]
        for _, name, line in sorted(facts):
            say(name, line)

    def _fresh(self, name: str) -> list[tuple[str, str, str]]:
        text = self._programs[name].output()
        fresh, self._seen[name] = text[self._seen[name] :], text.rfind("\n") + 1
        facts = []
        for line in fresh[: fresh.rfind("\n") + 1].splitlines():
            try:
                fact = json.loads(line)
            except ValueError:
                continue
            form = self._shown.get(fact.get("event", "")) if isinstance(fact, dict) else None
            if form is not None and fact.get("event_name") != "ping":
                facts.append((str(fact.get("timestamp")), name, form.format_map(fact)))
        return facts

    def stop(self) -> None:
        """Stop after the last line is printed."""
        self._over.set()
        self.join()
        self.catch_up()


def say(who: str, what: str) -> None:
    """Print one line."""
    click.echo(f"  {click.style(f'{who:>9}', fg='cyan')}  {what}")


def step(title: str, do: Callable[[], T]) -> T:
    """Run one step; a failure contains its name."""
    click.echo(click.style(title, bold=True))
    try:
        return do()
    except (StepFailedError, *_FAILURES) as error:
        raise StepFailedError(f"{title}: {error}") from error


def perform(name: str, play: Callable[[ExitStack, list[Program]], None]) -> int:
    """Play a demo and return its exit code.

    `play` puts what it starts on the exit stack, which takes it down in every case, and its
    programs also into the list: one that exited is part of the report of a failure.
    """
    # Ended like by Ctrl-C, so that everything is taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began_s = time.monotonic()
    programs: list[Program] = []
    try:
        with ExitStack() as stack:
            try:
                play(stack, programs)
            except StepFailedError as failed:
                raise StepFailedError(f"{failed}{_who_ended(programs)}") from failed
    except RigError as missing:
        click.echo(f"{name}: {missing}", err=True)
        return 1
    except StepFailedError as failed:
        click.echo(click.style(f"\n{name} FAILED at: {failed}", fg="red"), err=True)
        return 1
    except KeyboardInterrupt:
        click.echo(f"\n{name}: stopped, everything it started is gone", err=True)
        return 130
    seconds = time.monotonic() - began_s
    click.echo(click.style(f"{name} passed in {seconds:.1f} s; all it started is gone", fg="green"))
    return 0


def ask(cattle: Cattle, event: SampleEvent, *, agent: str | None = None) -> Call:
    """Let cattle send an event, and wait for its end."""
    say("cattle", f"event sent        {event.name}")
    call = cattle.call(
        event.name,
        event.data,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        as_process=True,
        agent=agent,
    )
    # The bridge's own lines about it come first: they are on their way through a pipe.
    time.sleep(0.12)
    elapsed = "" if call.elapsed_ms is None else f" in {call.elapsed_ms:.0f} ms"
    say("cattle", f"reply received    {event.name}: {call.state}{elapsed}")
    return call


def checked(call: Call) -> Call:
    """Return the call if it succeeded.

    Errors: StepFailedError.
    """
    if call.state != "success":
        raise StepFailedError(f"the event ended in {call.state}: {call.message or 'no reply'}")
    return call


def _who_ended(programs: list[Program]) -> str:
    """Return the programs that exited, with their last lines: most failures are theirs."""
    return "".join(
        f"\n  the {program.module} ended with code {program.returncode}; its last words:\n"
        + "\n".join(f"    {line}" for line in program.output().splitlines()[-3:])
        for program in programs
        if not program.running
    )
