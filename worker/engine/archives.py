"""The calls to the Engine about files in containers, and images made from files.

They also work for a container that was never started, and for the volumes that it mounts.
"""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

from worker.engine.client import Call, Engine, segment
from worker.engine.json_lines import failure_in, json_lines
from worker.errors import ContainerMissingError, EngineError

_TAR = {"Content-Type": "application/x-tar"}


@dataclass(frozen=True, slots=True)
class File:
    """A file in a container; `content` may be only its beginning."""

    name: str
    content: bytes
    mode: int
    size_bytes: int


def read(engine: Engine, container_id: str, path: str, *, at_most_bytes: int) -> File | None:
    """Return the beginning of a regular file, or None when there is none at the path."""
    call = Call(
        "GET",
        f"/containers/{segment(container_id)}/archive",
        kind="container.read",
        wanted=f"read {path} in container {container_id[:12]}",
        params={"path": path},
        # The Engine would compress the archive.
        headers={"Accept-Encoding": "identity"},
        refusal=_refusal,
    )
    try:
        with (
            engine.stream(call) as response,
            tarfile.open(fileobj=response.raw, mode="r|") as tar,
        ):
            entry = tar.next()
            source = tar.extractfile(entry) if entry is not None and entry.isfile() else None
            if entry is None or source is None:
                return None
            return File(entry.name, source.read(at_most_bytes), entry.mode, entry.size)
    except ContainerMissingError:
        return None
    except tarfile.TarError as error:
        raise EngineError(f"cannot {call.wanted}: the answer is no archive ({error})") from error


def write(engine: Engine, container_id: str, folder: str, files: Iterable[File]) -> None:
    """Write files of root into a folder of a container; files with their names are replaced."""
    engine.run(
        Call(
            "PUT",
            f"/containers/{segment(container_id)}/archive",
            kind="container.write",
            wanted=f"write files into {folder} of container {container_id[:12]}",
            params={"path": folder},
            upload=_archive(files),
            headers=_TAR,
            timeout_s=engine.work_timeout_s,
        )
    )


def import_image(engine: Engine, repository: str, tag: str, files: Iterable[File]) -> None:
    """Make an image that contains these files only; an image with this name loses the name."""
    call = Call(
        "POST",
        "/images/create",
        kind="image.import",
        wanted=f"import image {repository}:{tag}",
        params={"fromSrc": "-", "repo": repository, "tag": tag},
        upload=_archive(files),
        headers=_TAR,
        timeout_s=engine.work_timeout_s,
    )
    with engine.stream(call) as response:
        for line in json_lines(response):
            if (reason := failure_in(line)) is not None:
                raise EngineError(f"cannot {call.wanted}: {reason}")


def _archive(files: Iterable[File]) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in files:
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = len(file.content), file.mode
            tar.addfile(entry, io.BytesIO(file.content))
    return archive


def _refusal(status: int, _words: str) -> type[EngineError] | None:
    return ContainerMissingError if status == 404 else None  # noqa: PLR2004 - HTTP's own number
