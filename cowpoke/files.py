"""Replace files atomically, with an owner and a mode that suit secrets."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

#: For the group and for others.
_SEARCH = 0o011


def replace_file(path: Path, content: str | bytes, mode: int) -> None:
    """Write a file atomically and durably; its owner is that of the folder.

    Errors: OSError; an older file stays unchanged then.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = path.parent.stat()
    data = content.encode() if isinstance(content, str) else content
    with NamedTemporaryFile("wb", dir=path.parent, delete=False) as fresh:
        try:
            fresh.write(data)
            fresh.flush()
            os.fsync(fresh.fileno())
            os.fchmod(fresh.fileno(), mode)
            if owner.st_uid != os.geteuid():
                os.fchown(fresh.fileno(), owner.st_uid, owner.st_gid)
            Path(fresh.name).replace(path)
        except OSError:
            with suppress(OSError):
                Path(fresh.name).unlink()
            raise


def let_pass(folder: Path) -> None:
    """Let every user open the files of a folder that their modes allow; only its owner lists them.

    Errors: OSError.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _SEARCH != _SEARCH:
        folder.chmod(mode | _SEARCH)
