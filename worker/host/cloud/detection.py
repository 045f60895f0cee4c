"""Ask the metadata services of clouds where this machine is: once, in the background, bounded.

Most machines are in no cloud, and nobody answers there. So it is tried for three minutes at most,
by one worker of a host at a time, and never again afterwards.
"""

import threading
import time
from collections.abc import Sequence

from cowpoke.log import logger
from worker.host.cloud.info_file import FAILED_FILE, is_settled, store_failure, store_labels
from worker.host.cloud.metadata import Metadata, NoAnswerError
from worker.host.cloud.providers import PROVIDERS, ROUNDS, Provider
from worker.host.locks import Locks
from worker.settings import WorkerSettings

#: All tries together; a round that has begun may add the time of one answer.
MOST_S = 180.0
#: One question may need two answers.
_ROUND_MOST_S = 12.0
_LOCK = "cloud detection"

_log = logger(__name__)


def detect_cloud(settings: WorkerSettings) -> None:
    """Store the labels of the cloud, or that there are none; returns at once if that is known.

    Takes up to three minutes. Errors: none; a failure means no labels.
    """
    if not settings.detect_cloud or is_settled(settings.state_dir):
        return
    try:
        with Locks(settings.lock_dir, wait_s=settings.lock_wait_s).try_hold(_LOCK) as held:
            # Another worker may have finished while this one came to the lock.
            if held and not is_settled(settings.state_dir):
                _detect(settings)
    except OSError as error:
        _log.warning("cloud.not_stored", path=str(settings.state_dir), reason=error.strerror)


def _detect(settings: WorkerSettings) -> None:
    """Errors: OSError."""
    end_s = time.monotonic() + MOST_S
    for number in range(ROUNDS):
        began_s = time.monotonic()
        asked = [one for one in PROVIDERS if number < one.rounds]
        labels = _first_answer(asked, settings)
        if labels is not None:
            store_labels(settings.state_dir, labels)
            _log.info("cloud.detected", labels=labels)
            return
        next_s = began_s + settings.cloud_retry_s
        if number + 1 == ROUNDS or next_s >= end_s:
            break
        time.sleep(max(next_s - time.monotonic(), 0))
    store_failure(settings.state_dir)
    _log.info(
        "cloud.not_detected",
        advice=f"nothing, if this machine is in no cloud; otherwise remove {FAILED_FILE} in the "
        "state folder and restart the worker",
    )


def _first_answer(asked: Sequence[Provider], settings: WorkerSettings) -> dict[str, str] | None:
    """Ask all at once; return the labels of the first in their order that answered."""
    found: dict[str, dict[str, str]] = {}
    threads = [
        threading.Thread(target=_ask, args=(one, settings, found), name=one.name, daemon=True)
        for one in asked
    ]
    for thread in threads:
        thread.start()
    end_s = time.monotonic() + _ROUND_MOST_S
    for thread in threads:
        thread.join(max(end_s - time.monotonic(), 0))
    return next((found[one.name] for one in asked if one.name in found), None)


def _ask(provider: Provider, settings: WorkerSettings, found: dict[str, dict[str, str]]) -> None:
    url = settings.aliyun_metadata_url if provider.is_aliyun else settings.metadata_url
    try:
        found[provider.name] = provider.labels(provider.ask(Metadata(url)))
    except (NoAnswerError, ValueError, KeyError, TypeError, RecursionError) as error:
        _log.debug("cloud.no_answer", provider=provider.name, reason=str(error))
