"""Programs replaced one after the other under load, and what cattle saw of it."""

import itertools
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from simulator import sample
from simulator.rig.processes import Program, wait_until
from tests.faults.faulty_system import FaultySystem, new_instance, wait_lane

LANES = ("compute", "control", "images")
#: Between two events of the load.
EVERY_S = 0.1


class Load:
    """Activates, sent until the block ends."""

    def __init__(self, system: FaultySystem) -> None:
        self._system = system
        self._over = threading.Event()
        self._sender = threading.Thread(target=self._send)
        self._sent: list[tuple[str, sample.Instance]] = []
        #: Pings that were sent before there was a bridge: cattle counts them as missed later.
        self._lost_pings = int(system.cattle.stats()["frames_lost_no_socket"])

    def __enter__(self) -> Self:
        self._sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._sender.join()

    def _send(self) -> None:
        while not self._over.wait(EVERY_S):
            instance = new_instance()
            event_id = self._system.send(sample.instance_activate(instance))
            self._sent.append((event_id, instance))
        self._system.cattle.close()  # this thread's connection

    def wait_sent(self, more: int) -> None:
        """Until so many more events were sent."""
        wanted = len(self._sent) + more
        wait_until(lambda: len(self._sent) >= wanted, 30, f"{more} more events")

    def assert_nothing_noticed(self) -> dict[str, Any]:
        """Each event and ping has one answer, and there always was a websocket; the counters."""
        cattle = self._system.cattle
        for event_id, instance in self._sent:
            self._system.assert_answered_once(cattle.wait(event_id, 60), instance)

        def counted() -> dict[str, Any]:
            seen = cattle.stats()
            pings = seen["pings"]
            # The last one may have been sent just now.
            ended = pings["answered"] + max(pings["missed"], self._lost_pings)
            return seen if pings["sent"] - ended <= 1 else {}

        seen = wait_until(counted, 30, "the pings to be answered")
        assert list(itertools.chain(*seen["websocket_gaps_s"].values())) == []
        assert (seen["timeouts"], seen["duplicates"], seen["late"]) == (0, 0, 0)
        pings = seen["pings"]
        assert pings["missed"] <= self._lost_pings
        assert pings["duplicated"] == 0
        return seen


class Programs:
    """Bridges and workers that are started like those of a system, and stopped at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, like: Program, *, directory: Path | None = None) -> Program:
        """Start a program; when this returns, a bridge is subscribed, or a worker's lanes consume.

        Its source tree is the current one, or in the directory.
        """
        program = Program(like.module, environment=like.environment, directory=directory)
        self._stack.enter_context(program)
        if program.module == "bridge":
            program.wait_for_line("stream.opened", 60)
        else:
            for lane in LANES:
                wait_lane(program, lane)
        return program

    def replace(self, old: Program, *, directory: Path | None = None) -> Program:
        """Stop a program, and then start its successor, as Compose and systemd do."""
        assert old.terminate(60) == 0
        return self.add(old, directory=directory)
