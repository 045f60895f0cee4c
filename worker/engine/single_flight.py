"""Work on an image that is done once on this host and shared by all who want it.

Whoever holds the work's lock (`pull:<image>`, `build:<image>:<how>`) does it; all others, in this
process and in every other worker of the host, read from a small state file how far it is, and
share how it ends (C 22). A holder that dies frees the lock with it, and the next who looks goes on.

The work has a thread of its own, which holds the lock. An event waits for it no longer than cattle
waits for the event; the work itself goes on. So a build with a long silent step ends some day,
and the event that cattle sends then finds the image.

    state_dir/pulls/<hash of the lock's name>.json, written whole or not at all, mode 0600:
    {"text", "percent", "moves", "began_s", "finished_s", "error", "account"}

`moves` counts how often the work moved: those who wait report progress only when it grew (W 3).
`finished_s` is null while the work runs; `error` is null when it ended well; `account` is a short
hash that tells credentials apart, so that nobody gets the error of another one's wrong password.
An error is shared for some seconds after its end too (C 17). Losing a file costs doing it twice.
"""

import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cowpoke.log import logger
from cowpoke.scrubbing import scrub
from worker import deadline
from worker.engine.progress import Report, Told
from worker.errors import ImageBuildError, ImagePullError, LockHeldError
from worker.host.files import write_whole
from worker.host.locks import Locks
from worker.threads import start_call

Inspect = dict[str, Any]

#: How long an error also answers those who ask after its end (C 17).
NEGATIVE_CACHE_S = 5.0
#: However steadily it goes on: a pull or a build holds the slots of all who want it.
MOST_S = 2 * 3600.0
FOLDER = "pulls"
_POLL_S = 0.3
_KEEP_S = 24 * 3600.0
#: A holder that writes nothing for this much longer than a stall may last hangs itself.
_HOLDER_MARGIN_S = 60.0

_log = logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkState:
    """How far the work is, for everybody on this host."""

    text: str
    percent: int | None = None
    moves: int = 0
    began_s: float
    finished_s: float | None = None
    error: str | None = None
    account: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is to be done once, whoever does it."""

    #: The lock's name: equal for all who want the same.
    key: str
    #: What waiting people read first.
    text: str
    #: Tells apart whose errors are shared.
    account: str = ""
    #: What an error of the work is; it is raised for all who share it.
    failure: type[ImagePullError | ImageBuildError]
    #: Whether what is wanted is here already.
    present: Callable[[], Inspect | None]
    #: Does it; tells the board how far it is. Raises `failure` when it cannot be done.
    work: Callable[["Board"], Inspect]


class SingleFlight:
    """The shared work of one host."""

    def __init__(self, locks: Locks, state_dir: Path, *, idle_timeout_s: float) -> None:
        self._locks = locks
        self._folder = state_dir / FOLDER
        self._idle_timeout_s = idle_timeout_s

    def want(self, job: Job, report: Report, *, even_if_present: bool = False) -> Inspect:
        """The image's inspect, once the work is done by us or by whoever does it already.

        With `even_if_present` only work that ended after this call began will do.
        Errors: the job's failure; EngineUnavailableError; LockHeldError when the work does not get
        on, or does not end in the time of the event.
        """
        asked_s = time.time()
        told = Told(report)
        changed_s = time.monotonic()
        seen: WorkState | None = None
        while True:
            held = ExitStack()
            if held.enter_context(self._locks.try_hold(job.key)):
                done = _in_thread(
                    held,
                    partial(self._held, job, told, asked_s, even_if_present=even_if_present),
                )
                while not wait((done,), timeout=_POLL_S).done:
                    _refuse_to_wait_longer(job)
                found = done.result()
                told.finish()
                return found
            held.close()
            state = self._read(job.key)
            if state != seen:
                seen, changed_s = state, time.monotonic()
                if state is not None and state.moves and state.finished_s is None:
                    told(state.text, state.percent)
            if time.monotonic() - changed_s > self._idle_timeout_s + _HOLDER_MARGIN_S:
                raise LockHeldError(f"{job.key} is held by a worker that does not get on")
            _refuse_to_wait_longer(job)
            time.sleep(_POLL_S)

    def _held(self, job: Job, told: Told, asked_s: float, *, even_if_present: bool) -> Inspect:
        """Nobody works on it now: take what is here, share how it ended, or do it."""
        shared = self._shared(job, asked_s)
        if not even_if_present or (shared is not None and shared.error is None):
            found = job.present()
            if found is not None:
                return found
        if shared is not None and shared.error is not None:
            raise job.failure(shared.error)
        self._sweep()
        began = WorkState(text=job.text, began_s=time.time(), account=job.account)
        board = Board(partial(self._write, job.key), told, began)
        try:
            found = job.work(board)
        except job.failure as error:
            board.end(error.message)
            raise
        board.end(None)
        return found

    def _shared(self, job: Job, asked_s: float) -> WorkState | None:
        """The end of another one's work, if it is also the answer to what was asked then."""
        state = self._read(job.key)
        now_s = time.time()
        if state is None or state.finished_s is None or state.finished_s > now_s + 1:
            return None
        if state.error is None:
            return state if state.finished_s >= asked_s else None
        fresh = state.finished_s >= asked_s or now_s - state.finished_s < NEGATIVE_CACHE_S
        return state if fresh and state.account == job.account else None

    def _read(self, key: str) -> WorkState | None:
        try:
            return WorkState(**json.loads(self._path(key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, key: str, state: WorkState) -> None:
        """Write it whole; a full disk costs the others their progress lines, not the work."""
        try:
            write_whole(self._path(key), json.dumps(asdict(state)))
        except OSError as error:
            _log.warning("pull.state-not-written", key=key, reason=error.strerror)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.json"

    def _sweep(self) -> None:
        """Forget work of yesterday, so that the folder does not grow for ever (C 31)."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if time.time() - path.stat().st_mtime > _KEEP_S:
                    path.unlink()


def _refuse_to_wait_longer(job: Job) -> None:
    if deadline.left_s() < _POLL_S:
        raise LockHeldError(
            f"{job.text} did not end in the time of this event; it goes on, and a later event "
            "finds its result"
        )


def _in_thread(held: ExitStack, work: Callable[[], Inspect]) -> "Future[Inspect]":
    """Do the work in a thread that has no deadline, and release what is held at its end."""

    def run() -> Inspect:
        deadline.unbind()
        with held:
            return work()

    return start_call(run, "shared-work")


class Board:
    """The progress of shared work: reported to its own event, written for those who wait.

    The file is written a few times a second. Nothing is reported before the work moves: an Engine
    that does not answer must not keep an event alive. The texts in the file are scrubbed here:
    readers do not have the secrets of the writer's event.
    """

    def __init__(self, write: Callable[[WorkState], None], told: Report, began: WorkState) -> None:
        self._write = write
        self._told = told
        self._state = began
        self._write_now()

    def say(self, text: str) -> None:
        """Show a sentence now."""
        self.show(text, self._state.percent, is_step=True)

    def show(self, text: str, percent: int | None, *, is_step: bool = False) -> None:
        """Show a movement of the work: more bytes, more output, or a new step.

        A movement without a sentence keeps the last one.
        A step is written at once, other movements only if the last write is not recent: nobody
        knows how long a step lasts, and those who wait must not wait for the next line.
        """
        text, moves = scrub(text or self._state.text), self._state.moves + 1
        self._state = replace(self._state, text=text, percent=percent, moves=moves)
        self._told(text, percent)
        if is_step or time.monotonic() - self._written_s >= _POLL_S:
            self._write_now()

    def end(self, error: str | None) -> None:
        """It is over, well unless there is an error."""
        scrubbed = None if error is None else scrub(error)
        self._state = replace(self._state, finished_s=time.time(), error=scrubbed)
        self._write_now()

    def _write_now(self) -> None:
        self._written_s = time.monotonic()
        self._write(self._state)
