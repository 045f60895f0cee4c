"""Encrypt and authenticate the content that is stored in Redis.

`QUEUE_KEY` is the cluster's secret. From it each host has a key of its own (`HOST_KEY`), and the
bridges have one for themselves. Whoever steals the key of a host opens and forges nothing of
another host, and no envelope of a bridge.

Fernet (AES-128-CBC with HMAC-SHA256) seals; HKDF-SHA256 derives. Several keys allow a change of
keys: the first one seals, all of them open. Without a key the same functions read and write plain
JSON, and the programs say so when they start.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: The fingerprint of a program without a key.
NO_KEY = "no-key"
_KEY_BYTES = 32
#: Sealers that a bridge of many hosts keeps.
_SEALERS_KEPT = 20_000


class SealBrokenError(Exception):
    """Raised when sealed text was not made with one of our keys, or for something else."""


class Sealer:
    """Turns JSON objects into sealed text and back, with the keys of one purpose."""

    def __init__(self, *keys: str) -> None:
        self._fernets = tuple(map(Fernet, keys))
        self._fernet = MultiFernet(self._fernets) if keys else None
        self._keys = keys
        #: Fingerprints of the keys; the first key seals.
        self.fingerprints = tuple(map(fingerprint, keys)) or (NO_KEY,)

    def sealing_with(self, known: Sequence[str]) -> "Sealer":
        """Return a sealer of the same keys that seals with the first one that others know.

        `known` are fingerprints. The same sealer when none is known.
        """
        for position, name in enumerate(self.fingerprints):
            if name in known:
                if position == 0:
                    return self
                first = self._keys[position]
                return Sealer(first, *(key for key in self._keys if key != first))
        return self

    def seal(self, content: Mapping[str, Any]) -> str:
        """The content as text for Redis (ASCII only)."""
        text = json.dumps(content, separators=(",", ":"))
        return self._fernet.encrypt(text.encode()).decode() if self._fernet else text

    def open(self, text: str) -> dict[str, Any]:
        """The content of sealed text.

        Errors: SealBrokenError when it was not sealed with one of our keys.
        """
        try:
            plain = self._fernet.decrypt(text.encode("ascii")) if self._fernet else text
            content = json.loads(plain, parse_constant=_finite, parse_float=_finite)
        except (InvalidToken, ValueError, RecursionError) as error:
            raise SealBrokenError(
                "not sealed with a known key; compare QUEUE_KEY or HOST_KEY of both programs "
                "(during a rotation both need both keys), or the value was forged"
            ) from error
        if not isinstance(content, dict):
            raise SealBrokenError("sealed content is not a JSON object")
        return content

    def position_of(self, text: str) -> int | None:
        """Which of our keys a text was sealed with, 0 is the one that seals; None for none."""
        if self._fernet is None:
            return 0
        for position, fernet in enumerate(self._fernets):
            if _plain(fernet, text) is not None:
                return position
        return None

    def resealed(self, text: str) -> str | None:
        """The same content, sealed with the first key; None when it is, or when no key opens it."""
        for position, fernet in enumerate(self._fernets):
            plain = _plain(fernet, text)
            if plain is not None:
                return self._fernets[0].encrypt(plain).decode() if position else None
        return None


def _plain(fernet: Fernet, text: str) -> bytes | None:
    try:
        return fernet.decrypt(text.encode("ascii"))
    except (InvalidToken, ValueError):
        return None


def _finite(text: str) -> float:
    """Errors: ValueError for `Infinity`, `NaN` and what is too large: nothing of ours is."""
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text[:20]} is not a number")
    return found


class Keyring(Protocol):
    """The keys that a program has."""

    def host(self, host_uuid: str) -> Sealer:
        """Return the sealer of one host: payloads to it, and outcomes and leases from it."""


class ClusterKeyring:
    """The keys of a program that knows QUEUE_KEY."""

    def __init__(self, *cluster_keys: str) -> None:
        self._cluster_keys = cluster_keys
        #: Of the keys in QUEUE_KEY.
        self.fingerprints = tuple(map(fingerprint, cluster_keys)) or (NO_KEY,)
        #: For what only bridges read and write.
        self.bridge = self._derived("bridge")
        self._sealer = lru_cache(maxsize=_SEALERS_KEPT)(self._derived)

    def host(self, host_uuid: str) -> Sealer:
        """Return the sealer of one host."""
        return self._sealer(f"host/{host_uuid}")

    def _derived(self, purpose: str) -> Sealer:
        return Sealer(*(derived_key(key, purpose) for key in self._cluster_keys))


class HostKeyring:
    """The keys of a worker that knows only those of its host."""

    def __init__(self, *host_keys: str) -> None:
        self._sealer = Sealer(*host_keys)

    def host(self, host_uuid: str) -> Sealer:  # noqa: ARG002 -- a worker asks for its host only
        """Return the sealer of this host."""
        return self._sealer


def new_key() -> str:
    """Return a new QUEUE_KEY."""
    return Fernet.generate_key().decode()


def host_key(cluster_key: str, host_uuid: str) -> str:
    """Return the HOST_KEY of a host, derived from one QUEUE_KEY."""
    return derived_key(cluster_key, f"host/{host_uuid}")


def derived_key(cluster_key: str, purpose: str) -> str:
    """Return the Fernet key for one purpose; contract version 1 fixes how it is made."""
    kdf = HKDF(
        algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=f"cowpoke/v1/{purpose}".encode()
    )
    return base64.urlsafe_b64encode(kdf.derive(base64.urlsafe_b64decode(cluster_key))).decode()


def fingerprint(key: str) -> str:
    """Return a short hash by which people and programs name a key without knowing it."""
    # A key is 32 random bytes: nobody finds it by its hash.
    return hashlib.blake2b(key.encode(), digest_size=8, person=b"cowpoke").hexdigest()


def key_list(text: str) -> tuple[str, ...]:
    """Return the keys of a setting: one, or several with commas between."""
    return tuple(part.strip() for part in text.split(","))
