"""What a bridge says of itself in its lease: its keys, version and machine, and its last errors."""

import logging
import socket
import threading
import time
from dataclasses import replace
from typing import Self

from cowpoke import scrubbing
from cowpoke.bridge_lease import MOST_ERRORS, BridgeError, BridgeLease, bridge_lease_text
from cowpoke.clock import Clock
from cowpoke.lengths import shortened
from cowpoke.seal import ClusterKeyring
from cowpoke.version import VERSION

#: The lease has no room for more.
_MESSAGE_CHARS = 200
#: A time that moves by less is not worth another write of the lease.
_SAME_TIME_MS = 10_000
#: Fields of a log line that name what an error is about.
_SUBJECTS = ("agent", "host", "event_id")


class Introduction(logging.Handler):
    """The text of the lease of one bridge. Thread-safe.

    While it is entered, it is a handler of the root logger and keeps the last warnings and errors
    of the program.
    """

    def __init__(
        self, bridge_id: str, keyring: ClusterKeyring, clock: Clock, *, server: str
    ) -> None:
        super().__init__(level=logging.WARNING)
        self._keyring = keyring
        self._clock = clock
        self._own_lock = threading.Lock()
        self._lease = BridgeLease(
            bridge_id=bridge_id,
            fingerprints=keyring.fingerprints,
            version=VERSION,
            hostname=socket.gethostname(),
            server=server,
            started_ms=time.time_ns() // 1_000_000,
        )
        self._text: str | None = None

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    @property
    def lease(self) -> BridgeLease:
        """The content of the lease."""
        return self._lease

    def text(self) -> str:
        """Return the sealed lease; the same text as long as nothing changed."""
        with self._own_lock:
            if self._text is None:
                self._text = bridge_lease_text(self._lease, self._keyring)
            return self._text

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning or an error, the newest first; repeats are counted."""
        try:
            said = record.msg if isinstance(record.msg, dict) else {}
            code = str(said.get("event") or record.name)
            message = scrubbing.scrub(_message(said, record))
        except Exception:  # noqa: BLE001 -- a log line must not end what it is about
            self.handleError(record)
            return
        self._keep(code, shortened(message, _MESSAGE_CHARS))

    def _keep(self, code: str, message: str) -> None:
        now_ms = next(iter(self._clock.known_ms()), time.time_ns() // 1_000_000)
        with self._own_lock:
            listed = list(self._lease.errors)
            known = next(
                (one for one in listed if (one.code, one.message) == (code, message)), None
            )
            count = 1 if known is None else known.count + 1
            if known is not None:
                listed.remove(known)
                if now_ms - known.at_ms < _SAME_TIME_MS:
                    now_ms = known.at_ms
            error = BridgeError(at_ms=now_ms, code=code, message=message, count=count)
            self._lease = replace(self._lease, errors=(error, *listed)[:MOST_ERRORS])
            if known is None or now_ms != known.at_ms:
                self._text = None


def _message(said: dict[str, object], record: logging.LogRecord) -> str:
    """Return what a line says: its subject and its reason, or its text."""
    subject = next((str(said[name]) for name in _SUBJECTS if said.get(name)), "")
    reason = str(said.get("reason") or said.get("error") or said.get("advice") or "")
    if not said:
        reason = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        reason = f"{reason} {type(record.exc_info[1]).__name__}: {record.exc_info[1]}".strip()
    return ": ".join(filter(None, (subject, reason)))
