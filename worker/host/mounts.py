"""What the kernel says of the mounts of a process."""

from dataclasses import dataclass
from pathlib import PurePosixPath

_SHARED = "shared:"


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount; `path` is where, as the process sees it."""

    path: PurePosixPath
    is_shared: bool


def covering(mountinfo: str, path: PurePosixPath) -> Mount:
    """Return the mount that a path lies in, from the text of `/proc/<pid>/mountinfo`.

    Errors: ValueError when there is none.
    """
    found: Mount | None = None
    for line in mountinfo.splitlines():
        # 36 35 98:0 /root /mount/point options [optional fields] - type source options
        words = line.split(" ")
        place = PurePosixPath(words[4].replace("\\040", " ")) if "-" in words[5:] else None
        if place is None or not path.is_relative_to(place):
            continue
        # Of two in one place the later one lies on top.
        if found is None or len(place.parts) >= len(found.path.parts):
            optional = words[6 : words.index("-", 6)]
            found = Mount(place, any(one.startswith(_SHARED) for one in optional))
    if found is None:
        raise ValueError(f"no mount has {path}")
    return found
