"""The key of the register object: made once, kept for ever, and never shown.

Whoever has it can get the keys of this host's agent from the server, as long as he also has a
registration token of the environment.
"""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from worker.errors import JoinError

_KEY_BYTES = 64
_KEY = re.compile(r"[0-9A-Za-z._-]{16,512}")


def kept_register_key(path: Path) -> str | None:
    """Return the key of this host; None if there is none yet.

    Errors: JoinError when the file cannot be read or contains no key.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise JoinError(f"cannot read the register key in {path}: {error}") from None
    if not _KEY.fullmatch(text):
        raise JoinError(
            f"{path} contains no register key; restore the file, or make a new key with "
            "`cowpoke join --new-register-key`, which makes a new host"
        )
    return text


def register_key(path: Path) -> str:
    """Return the key of this host; make and store it (mode 0600) if there is none.

    The old agent reads the same file. Of two programs that make a key at once, the first wins.
    Errors: JoinError.
    """
    found = kept_register_key(path)
    if found is not None:
        return found
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as fresh:
            try:
                fresh.write(f"{secrets.token_hex(_KEY_BYTES)}\n")
                fresh.flush()
                os.fsync(fresh.fileno())
                with suppress(FileExistsError):
                    os.link(fresh.name, path)
            finally:
                Path(fresh.name).unlink()
    except OSError as error:
        raise JoinError(
            f"cannot store the register key in {path}: {error.strerror}; make the state folder "
            "writable"
        ) from None
    made = kept_register_key(path)
    assert made is not None
    return made


def forget_register_key(path: Path) -> None:
    """Remove the key, so that the next registration makes a new agent.

    Errors: JoinError.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise JoinError(f"cannot remove {path}: {error.strerror}") from None
