"""The versions of the Docker Engine's API that the worker speaks."""

from worker.errors import EngineError

#: The newest API whose answers we know; a newer Engine is asked in this one.
NEWEST_API = (1, 52)
#: The oldest one that has what `create` sends (Init, healthchecks, `State` in lists).
OLDEST_API = (1, 25)


def version_numbers(version: str) -> tuple[int, int]:
    """Return the two numbers of a version such as `1.44`.

    Errors: EngineError when it is none.
    """
    major, _, minor = version.partition(".")
    try:
        return int(major), int(minor)
    except ValueError as error:
        raise EngineError(f"{version!r} is no Docker API version, such as 1.44") from error


def version_text(version: tuple[int, int]) -> str:
    """Return the text of a version, such as `1.44`."""
    return f"{version[0]}.{version[1]}"
