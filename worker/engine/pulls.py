"""Pull images, one pull per image at a time on this host (`single_flight`).

Row numbers (A, C) refer to docs/parity.md.
"""

import hashlib
import time
from functools import partial
from pathlib import Path
from typing import Any

from cowpoke.log import logger
from worker.engine import images
from worker.engine.client import Engine
from worker.engine.images import Credential
from worker.engine.json_lines import failure_in
from worker.engine.layers import Layers
from worker.engine.progress import Report
from worker.engine.single_flight import MOST_S, Job, SharedProgress, SingleFlight
from worker.errors import EngineUnavailableError, ImagePullError
from worker.host.locks import Locks
from worker.image_reference import ImageReference

_log = logger(__name__)


class Pulls:
    """The pulls of one host."""

    def __init__(
        self, engine: Engine, locks: Locks, state_dir: Path, *, idle_timeout_s: float
    ) -> None:
        self._engine = engine
        self._shared = SingleFlight(locks, state_dir, idle_timeout_s=idle_timeout_s)
        self._idle_timeout_s = idle_timeout_s

    def want(
        self,
        name: ImageReference,
        credential: Credential | None,
        report: Report,
        *,
        even_if_present: bool = False,
    ) -> dict[str, Any]:
        """Return the inspect of an image once this caller or another one has pulled it.

        With `even_if_present` only a pull that ended after this call began counts.
        Errors: ImagePullError with the message of the registry; EngineUnavailableError;
        LockHeldError when the pull of another caller makes no progress.
        """
        job = Job(
            key=f"pull:{name}",
            text=f"Pulling {name}",
            account=_account(credential),
            failure=ImagePullError,
            present=partial(images.present, self._engine, name),
            work=partial(self._pull, name, credential),
        )
        return self._shared.want(job, report, even_if_present=even_if_present)

    def _pull(
        self, name: ImageReference, credential: Credential | None, progress: SharedProgress
    ) -> dict[str, Any]:
        """Pull; only a present image is a success, not the end of the stream (C 25)."""
        with self._engine.figures.pull():
            self._try_with_and_without(name, credential, progress)
            found = images.present(self._engine, name)
            if found is None:
                raise ImagePullError(_failed(name, "the pull ended without the image"))
            return found

    def _try_with_and_without(
        self, name: ImageReference, credential: Credential | None, progress: SharedProgress
    ) -> None:
        """Pull; if the credential is refused, try without it: the image may be public (A 12.5)."""
        refused = self._stream(name, credential, progress)
        if refused is None:
            return
        if credential is None:
            raise ImagePullError(_failed(name, refused))
        refused = credential.scrub(refused)
        _log.warning("credential.refused", image=str(name), reason=refused)
        progress.report_step(
            f"warning: the registry refused the credential of {credential.username!r} "
            f"({refused}); trying without it"
        )
        again = self._stream(name, None, progress)
        if again is not None:
            raise ImagePullError(
                _failed(
                    name,
                    f"with the credential of {credential.username!r}: {refused}; "
                    f"without it: {credential.scrub(again)}",
                )
            )

    def _stream(
        self, name: ImageReference, credential: Credential | None, progress: SharedProgress
    ) -> str | None:
        """Pull once; return the first error message, or None on success (A 12.9, C 25).

        Errors: ImagePullError when the pull makes no progress (A 12.11, C 21) or takes too long.
        """
        layers = Layers()
        began_s = moved_s = time.monotonic()
        ended = f"no progress for {self._idle_timeout_s:g} s"
        try:
            with images.pull_stream(
                self._engine, name, credential, idle_timeout_s=self._idle_timeout_s
            ) as lines:
                for line in lines:
                    if (refused := failure_in(line)) is not None:
                        return refused
                    before = layers.text
                    if layers.read(line):
                        moved_s = time.monotonic()
                        progress.report(layers.text, layers.percent, is_step=layers.text != before)
                    elif self._stalled(moved_s):
                        break
                    if time.monotonic() - began_s > MOST_S:
                        ended = f"not done after {MOST_S:g} s"
                        break
                else:
                    return None
        except EngineUnavailableError:
            # The read timeout of a silent stream is a stall, other errors are not.
            if not self._stalled(moved_s):
                raise
        except ImagePullError as error:
            return error.message
        finally:
            self._engine.figures.downloaded(layers.downloaded_bytes)
        raise ImagePullError(_failed(name, ended))

    def _stalled(self, moved_s: float) -> bool:
        return time.monotonic() - moved_s >= self._idle_timeout_s


def _account(credential: Credential | None) -> str:
    """Return a hash that differs between credentials, too short to test passwords against."""
    if credential is None:
        return ""
    return hashlib.blake2b(credential.header.encode(), digest_size=4).hexdigest()


def _failed(name: ImageReference, words: str) -> str:
    return f"Image [{name}] failed to pull: {words}"
