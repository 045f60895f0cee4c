"""The RSA key of this host, for which cattle encrypts Rancher secrets (B.6).

cattle gets the public half with a ping; Rancher's storage driver for secrets reads the file, so it
must be the one of the host: PKCS#1 as PEM, made once, mode 0400. What somebody else put there is
never overwritten.
"""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cowpoke.log import logger

_BITS = 2048
_PUBLIC_EXPONENT = 65537
#: The file may hold a key and little else.
_MOST_BYTES = 64 * 1024
#: The only form that the driver reads.
_BEGIN = b"-----BEGIN RSA PRIVATE KEY-----"

_log = logger(__name__)


class HostKeyError(Exception):
    """The file cannot be used as the key of the host; the text says why."""


#: Path -> what tells one version of the file from another, and the public key in that version.
_known: dict[Path, tuple[tuple[int, ...], str | None]] = {}


def ensure_host_key(path: Path) -> None:
    """Make the key of this host if it has none; a key that cannot be stored is only a warning.

    Workers that start together share the key of the first one.
    """
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        _warn(path, f"it cannot be made: {error.strerror}")


def host_key_info(path: Path) -> dict[str, Any]:
    """Return the part of a ping's `info` about the key; `{}` when it cannot be used.

    A file that cannot be used is told of once, and again when it changes.
    """
    version = _version(path)
    known = _known.get(path)
    if known is None or known[0] != version:
        known = _known[path] = (version, _public_or_warn(path))
    public = known[1]
    return {"hostKey": {"data": public}} if public else {}


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes with the file; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _public_or_warn(path: Path) -> str | None:
    try:
        return public_key(path)
    except HostKeyError as error:
        _warn(path, str(error))
        return None


def public_key(path: Path) -> str:
    """Return the public half as Rancher wants it.

    Its content is a SubjectPublicKeyInfo, its label that of another form: `RSA PUBLIC KEY`.
    Errors: HostKeyError when the file has no RSA key in PKCS#1.
    """
    # A program that never pings needs none of it.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
    except OSError as error:
        raise HostKeyError(f"it cannot be read: {error.strerror}") from None
    if _BEGIN not in text:
        raise HostKeyError(f"wanted an RSA key in PKCS#1 ({_BEGIN.decode()}), found something else")
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HostKeyError("it is damaged, or encrypted with a password") from None
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public.decode("ascii").replace(" PUBLIC KEY-----", " RSA PUBLIC KEY-----")


def _make(path: Path) -> None:
    """Errors: OSError."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=_BITS)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    # Containers of agents mount the folder, with the server's certificate in it.
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with NamedTemporaryFile("wb", dir=path.parent, prefix=path.name, delete=False) as fresh:
        try:
            os.fchmod(fresh.fileno(), 0o400)
            fresh.write(text)
            fresh.flush()
            os.fsync(fresh.fileno())
            # A link fails if the file exists: the first worker wins, and nothing is overwritten.
            with suppress(FileExistsError):
                os.link(fresh.name, path)
                _log.info("rsa_key.made", path=str(path))
        finally:
            Path(fresh.name).unlink()


def _warn(path: Path, reason: str) -> None:
    _log.warning(
        "rsa_key.unusable",
        path=str(path),
        reason=reason,
        advice="Rancher secrets do not work on this host; restore the file, make its folder "
        "writable, or remove it and restart the worker to get a new key",
    )
