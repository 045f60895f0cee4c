"""Work on an image that one worker of the host does and all workers share (C 22).

The thread that holds the lock of the work (`pull:<image>`, `build:<image>:<how>`) does the work.
All other callers, in this process and in other workers of the host, read its progress and its
result from a state file. When the holder dies, the kernel frees the lock, and the next caller
starts over.

The work runs in a thread of its own, which holds the lock. An event waits for the work no longer
than cattle waits for the event; the work itself continues. So a build with a long silent step ends
at some point, and the event that cattle sends next finds the image.

    state_dir/pulls/<hash of the name of the lock>.json, written atomically, mode 0600:
    {"text", "percent", "moves", "began_s", "finished_s", "error", "account"}

`moves` counts the movements of the work: waiting callers report progress only when the count grew
(W 3). `finished_s` is null while the work runs. `error` is null when the work succeeded. `account`
is a short hash of the credential, so that a wrong password of one user fails no other user's pull.
An error also answers callers that come a few seconds later (C 17). A lost file costs a repetition
of the work.

Row numbers (C, W) refer to docs/parity.md.
"""

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
from worker.engine.progress import ProgressReporter, Report
from worker.errors import ImageBuildError, ImagePullError, LockHeldError
from worker.host.files import hashed_path, write_whole
from worker.host.locks import Locks
from worker.threads import start_call

Inspect = dict[str, Any]

#: How long an error also answers later callers (C 17).
NEGATIVE_CACHE_S = 5.0
#: Maximum time of a pull or a build, however steadily it moves: it occupies the slots of all events
#: that wait for it.
MOST_S = 2 * 3600.0
FOLDER = "pulls"
_POLL_S = 0.3
_KEEP_S = 24 * 3600.0
#: A holder that writes nothing for the idle timeout and this long hangs itself.
_HOLDER_MARGIN_S = 60.0

_log = logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkState:
    """The content of a state file."""

    text: str
    percent: int | None = None
    moves: int = 0
    began_s: float
    finished_s: float | None = None
    error: str | None = None
    account: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Work that is done once for all callers that want the same."""

    #: The name of the lock: equal for all callers that want the same.
    key: str
    #: The first progress text.
    text: str
    #: Errors are shared only between callers of the same account.
    account: str = ""
    #: The type of the errors of `work`; raised to all callers that share the work.
    failure: type[ImagePullError | ImageBuildError]
    #: Returns the image if this host has it.
    present: Callable[[], Inspect | None]
    #: Does the work and reports its progress. Raises `failure` when the work fails.
    work: Callable[["SharedProgress"], Inspect]


class SingleFlight:
    """The shared work of one host."""

    def __init__(self, locks: Locks, state_dir: Path, *, idle_timeout_s: float) -> None:
        self._locks = locks
        self._folder = state_dir / FOLDER
        self._idle_timeout_s = idle_timeout_s

    def want(self, job: Job, report: Report, *, even_if_present: bool = False) -> Inspect:
        """Return the inspect of the image once this caller or another one has done the work.

        With `even_if_present` only work that ended after this call began counts.
        Errors: the failure of the job; EngineUnavailableError; LockHeldError when the holder makes
        no progress, or the work does not end within the time of the event.
        """
        asked_s = time.time()
        reporter = ProgressReporter(report)
        changed_s = time.monotonic()
        seen: WorkState | None = None
        while True:
            held = ExitStack()
            if held.enter_context(self._locks.try_hold(job.key)):
                done = _in_thread(
                    held,
                    partial(self._held, job, reporter, asked_s, even_if_present=even_if_present),
                )
                while not wait((done,), timeout=_POLL_S).done:
                    _refuse_to_wait_longer(job)
                found = done.result()
                reporter.finish()
                return found
            held.close()
            state = self._read(job.key)
            if state != seen:
                seen, changed_s = state, time.monotonic()
                if state is not None and state.moves and state.finished_s is None:
                    reporter(state.text, state.percent)
            silent_s = time.monotonic() - changed_s
            if silent_s > self._idle_timeout_s + _HOLDER_MARGIN_S:
                raise LockHeldError(
                    f"cannot wait for {job.key}: the worker that does it has made no progress for "
                    f"{silent_s:.0f} s"
                )
            _refuse_to_wait_longer(job)
            time.sleep(_POLL_S)

    def _held(
        self, job: Job, reporter: ProgressReporter, asked_s: float, *, even_if_present: bool
    ) -> Inspect:
        """Take the image that is present, share the last result, or do the work."""
        shared = self._shared(job, asked_s)
        if not even_if_present or (shared is not None and shared.error is None):
            found = job.present()
            if found is not None:
                return found
        if shared is not None and shared.error is not None:
            raise job.failure(shared.error)
        self._sweep()
        began = WorkState(text=job.text, began_s=time.time(), account=job.account)
        progress = SharedProgress(partial(self._write, job.key), reporter, began)
        try:
            found = job.work(progress)
        except job.failure as error:
            progress.finish(error.message)
            raise
        progress.finish(None)
        return found

    def _shared(self, job: Job, asked_s: float) -> WorkState | None:
        """Return the end of earlier work if it also answers a caller that came at `asked_s`."""
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
            return WorkState(**json.loads(hashed_path(self._folder, key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, key: str, state: WorkState) -> None:
        """Write the state file; the work goes on without it, waiting callers see no progress."""
        try:
            write_whole(hashed_path(self._folder, key), json.dumps(asdict(state)))
        except OSError as error:
            _log.warning("progress.not_written", key=key, reason=error.strerror)

    def _sweep(self) -> None:
        """Delete state files older than a day, so that the folder does not grow for ever (C 31)."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if time.time() - path.stat().st_mtime > _KEEP_S:
                    path.unlink()


def _refuse_to_wait_longer(job: Job) -> None:
    if deadline.left_s() < _POLL_S:
        raise LockHeldError(
            f"{job.text} did not end within the time of this event; the work goes on, and a later "
            "event finds its result"
        )


def _in_thread(held: ExitStack, work: Callable[[], Inspect]) -> "Future[Inspect]":
    """Do the work in a thread without a deadline, and release `held` at its end."""

    def run() -> Inspect:
        deadline.unbind()
        with held:
            return work()

    return start_call(run, "shared-work")


class SharedProgress:
    """The progress of shared work: reported to its own event, written for the waiting callers.

    The file is written a few times a second. Nothing is reported before the work moves, so that an
    Engine that does not answer does not keep an event alive. Texts are scrubbed before they are
    written: readers do not have the secrets of the writer's event.
    """

    def __init__(
        self, write: Callable[[WorkState], None], report: Report, began: WorkState
    ) -> None:
        self._write = write
        self._report = report
        self._state = began
        self._write_now()

    def report_step(self, text: str) -> None:
        """Report a new step of the work; write it at once."""
        self.report(text, self._state.percent, is_step=True)

    def report(self, text: str, percent: int | None, *, is_step: bool = False) -> None:
        """Report a movement of the work: more bytes, more output, or a new step.

        A movement without a text keeps the last text. Steps are written at once, other movements
        only if the last write is not recent: a step may be silent for long, and waiting callers
        must see it before the next line comes.
        """
        text, moves = scrub(text or self._state.text), self._state.moves + 1
        self._state = replace(self._state, text=text, percent=percent, moves=moves)
        self._report(text, percent)
        if is_step or time.monotonic() - self._written_s >= _POLL_S:
            self._write_now()

    def finish(self, error: str | None) -> None:
        """Write the end of the work: success when `error` is None."""
        scrubbed = None if error is None else scrub(error)
        self._state = replace(self._state, finished_s=time.time(), error=scrubbed)
        self._write_now()

    def _write_now(self) -> None:
        self._written_s = time.monotonic()
        self._write(self._state)
