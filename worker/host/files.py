"""Files of the state folder: written atomically, readable by their owner only."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def write_whole(path: Path, content: str) -> None:
    """Write a file atomically; create its folder if it is missing.

    Errors: OSError; an older file stays unchanged then, and no temporary file is left.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as fresh:
        try:
            fresh.write(content)
            fresh.close()
            Path(fresh.name).replace(path)
        except OSError:
            with suppress(OSError):
                Path(fresh.name).unlink()
            raise


def hashed_path(folder: Path, name: str) -> Path:
    """Return the path of the JSON file of a name, which may contain any characters."""
    return folder / f"{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}.json"


def paths_in(folder: Path) -> Iterator[Path]:
    """Yield the paths in a folder in order; nothing when the folder does not exist.

    Errors: OSError when the folder exists and cannot be read.
    """
    with suppress(FileNotFoundError):
        yield from sorted(folder.iterdir())
