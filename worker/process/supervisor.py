"""The parent of a host's lanes: one process each, so that no lane can hold up another.

It starts them, starts again what died, keeps the lease of the worker, and ends them: a stopping
lane finishes what runs within the drain time, and what it cannot finish is queued again.
"""

import gc
import os
import random
import signal
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import FrameType

from cowpoke import log, log_level
from cowpoke.log_level import LevelSwitch
from cowpoke.routes import Lane
from worker.process.lease import LeaseKeeper
from worker.process.runtime import boot_id_of

_log = log.logger(__name__)

#: A lane that dies at once is started again, but not in a tight loop.
RESPAWN_FIRST_S = 0.2
RESPAWN_MOST_S = 10.0
#: A lane that lived this long had a good start.
STEADY_AFTER_S = 30.0
#: Time for a lane to leave the broker after its work. With a frozen Redis a lane cannot leave; the
#: whole worker must still be gone 5 s after the drain time.
LEAVE_S = 2.0
#: Time for the control lane to finish pings and to leave, after the other lanes are gone.
PONGS_S = 2.0
_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneStart:
    """The parameters of a process of a lane."""

    lane: Lane
    worker_id: str
    #: Counts the processes of the lane, from 1 on.
    starts: int
    #: The end of a pipe through which it says that it lives.
    pipe: int

    @property
    def boot_id(self) -> str:
        """The name of the process."""
        return boot_id_of(self.worker_id, self.lane, self.starts)


class Supervisor:
    """Keeps one process per lane running until it is stopped."""

    def __init__(  # noqa: PLR0913 -- its parts
        self,
        worker_id: str,
        run_lane: Callable[[LaneStart], int],
        lanes: tuple[Lane, ...],
        *,
        keeper: LeaseKeeper,
        drain_timeout_s: float,
        watch: Callable[[], None] = lambda: None,
        debug: bool = False,
    ) -> None:
        self._worker_id = worker_id
        self._run_lane = run_lane
        self._lanes = lanes
        self._keeper = keeper
        #: Called often; it must not wait.
        self._watch = watch
        self._starts = dict.fromkeys(lanes, 0)
        self._drain_timeout_s = drain_timeout_s
        self._pids: dict[int, Lane] = {}
        self._started_s: dict[Lane, float] = {}
        self._backoff_s = dict.fromkeys(lanes, RESPAWN_FIRST_S)
        self._due_s = dict.fromkeys(lanes, 0.0)
        self._stopping = False
        self._levels = LevelSwitch(debug=debug)
        #: The signals to change the level that have arrived.
        self._asked: list[int] = []

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; 0 when all lanes left in time."""
        # Children share the parent's pages as long as nobody writes to them.
        gc.freeze()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        for number in log_level.SIGNALS:
            signal.signal(number, lambda asked, _: self._asked.append(asked))
        log_level.name_process("cowpoke-worker")
        while not self._stopping:
            now_s = time.monotonic()
            for lane in set(self._lanes) - set(self._pids.values()):
                if now_s >= self._due_s[lane]:
                    self._spawn(lane)
            self._reap()
            self._keeper.tick()
            self._watch()
            self._change_levels()
            time.sleep(_POLL_S)
        return self._drain()

    def _spawn(self, lane: Lane) -> None:
        parent = os.getpid()
        self._starts[lane] += 1
        try:
            heard, pipe = os.pipe()
        except OSError as problem:
            self._not_started(lane, problem)
            return
        start = LaneStart(
            lane=lane, worker_id=self._worker_id, starts=self._starts[lane], pipe=pipe
        )
        try:
            pid = os.fork()
        except OSError as problem:
            os.close(heard)
            os.close(pipe)
            self._not_started(lane, problem)
            return
        if pid == 0:
            _die_with(parent)
            os.close(heard)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._levels.listen()
            log_level.name_process(f"cowpoke-{lane}")
            code = 1
            try:
                code = self._run_lane(start)
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else 1
            except Exception:  # noqa: BLE001 -- the outermost loop of this process
                # The parent starts the lane again.
                _log.exception("lane.crashed", lane=lane)
            finally:
                log.flush()
                os._exit(code)
        os.close(pipe)
        self._keeper.began(lane, start.boot_id, heard)
        self._pids[pid] = lane
        self._started_s[lane] = time.monotonic()

    def _not_started(self, lane: Lane, problem: OSError) -> None:
        """Try again later: the other lanes go on, though memory, processes or handles are short."""
        delay_s = self._back_off(lane)
        _log.error("lane.not_started", lane=lane, reason=str(problem), retry_in_s=round(delay_s, 1))

    def _back_off(self, lane: Lane) -> float:
        delay_s = self._backoff_s[lane] * random.uniform(0.8, 1.2)  # noqa: S311 -- spreads load
        self._backoff_s[lane] = min(self._backoff_s[lane] * 2, RESPAWN_MOST_S)
        self._due_s[lane] = time.monotonic() + delay_s
        return delay_s

    def _reap(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            lane = self._pids.pop(pid, None)
            if lane is None:
                continue
            self._keeper.ended(lane)
            if self._stopping:
                continue
            lived_s = time.monotonic() - self._started_s[lane]
            if lived_s > STEADY_AFTER_S:
                self._backoff_s[lane] = RESPAWN_FIRST_S
            self._back_off(lane)
            _log.warning(
                "lane.died",
                lane=lane,
                exit_code=os.waitstatus_to_exitcode(status),
                lived_s=round(lived_s, 1),
            )

    def _change_levels(self) -> None:
        """Change the level here and in the lanes. A lane that starts later inherits it.

        Not in the handler, which may interrupt a log line.
        """
        while self._asked:
            number = self._asked.pop(0)
            self._levels.change(number)
            self._signal(set(self._lanes), signal.Signals(number))

    def _on_stop(self, number: int, _: FrameType | None) -> None:
        self._stopping = True
        _log.info("worker.stopping", signal=signal.Signals(number).name)

    def _drain(self) -> int:
        """Let the lanes finish, and kill what does not; its events are sent again.

        The control lane goes on until the others are gone: cattle's pings are answered meanwhile.
        """
        others, control = set(self._lanes) - {Lane.CONTROL}, {Lane.CONTROL}
        within_s = self._drain_timeout_s + LEAVE_S
        overdue = self._end(others, within_s)
        overdue += self._end(control, PONGS_S if others else within_s)
        self._keeper.give_up()
        _log.info("worker.stopped", killed_lanes=[str(lane) for lane in overdue])
        return 0

    def _end(self, lanes: AbstractSet[Lane], within_s: float) -> list[Lane]:
        """Stop some lanes, and kill those that are not gone in time; return these."""
        self._signal(lanes, signal.SIGTERM)
        deadline_s = time.monotonic() + within_s
        while self._has(lanes) and time.monotonic() < deadline_s:
            self._reap()
            if not self._keeper.is_away:
                # What still runs must not look dead. A Redis that is away is not waited for.
                self._keeper.tick()
            time.sleep(_POLL_S)
        overdue = sorted(lanes & set(self._pids.values()))
        self._signal(lanes, signal.SIGKILL)
        while self._has(lanes):
            self._reap()
            time.sleep(0.01)
        return overdue

    def _has(self, lanes: AbstractSet[Lane]) -> bool:
        return not lanes.isdisjoint(self._pids.values())

    def _signal(self, lanes: AbstractSet[Lane], number: signal.Signals) -> None:
        for pid, lane in self._pids.items():
            if lane not in lanes:
                continue
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent is killed: no lane lives on unseen."""
    import ctypes  # noqa: PLC0415 -- one call, in the child only

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
