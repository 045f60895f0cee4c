"""Payloads and results lie sealed in Redis: unreadable in a dump, refused when forged.

Fernet (AES-128-CBC with HMAC-SHA256) under `QUEUE_KEY`; several keys allow a change of keys, the
first one seals and all of them open. Without a key the same functions read and write plain JSON,
and the programs say so when they start.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from cowpoke.broker import BrokerSettings

#: The mark of a program without a key.
NO_KEY = "no-key"


class SealBrokenError(Exception):
    """Raised when sealed text was not made with one of our keys."""


class Sealer:
    """Turns JSON objects into sealed text and back."""

    def __init__(self, *keys: str) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        #: What others may know of the keys: marks of all that open, the one that seals first.
        self.marks = tuple(map(_mark, keys)) or (NO_KEY,)

    @classmethod
    def of(cls, settings: BrokerSettings) -> "Sealer":
        """The sealer for the keys in the settings, newest first."""
        if settings.queue_key is None:
            return cls()
        return cls(*(key.strip() for key in settings.queue_key.get_secret_value().split(",")))

    def seal(self, content: Mapping[str, Any]) -> str:
        """The content as text for Redis (ASCII only)."""
        text = json.dumps(content, separators=(",", ":"))
        return self._fernet.encrypt(text.encode()).decode() if self._fernet else text

    def open(self, text: str) -> dict[str, Any]:
        """The content of sealed text.

        Errors: SealBrokenError when it was not sealed with one of our keys.
        """
        try:
            plain = self._fernet.decrypt(text) if self._fernet else text
            content = json.loads(plain)
        except (InvalidToken, ValueError) as error:
            raise SealBrokenError(
                "wanted content sealed with our QUEUE_KEY, found something else; bridge and "
                "workers need the same QUEUE_KEY (the old one second while it is being changed)"
            ) from error
        if not isinstance(content, dict):
            raise SealBrokenError("wanted a sealed JSON object, found something else")
        return content


def _mark(key: str) -> str:
    # A key is 32 random bytes: nobody finds it by its hash.
    return hashlib.blake2b(key.encode(), digest_size=8, person=b"cowpoke").hexdigest()
