"""Files of the state folder: written whole or not at all, readable by their owner only."""

from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def write_whole(path: Path, content: str) -> None:
    """Write a file in one step, and make its folder where it is missing.

    Errors: OSError; nothing is left of the try then, and an older file stays as it was.
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
