"""A Redis for a single host, with bridge and worker beside it in one container.

Its data are in /var/lib/rancher/cowpoke/redis, so that a new container continues with them.
"""

import shutil
from pathlib import Path

from cowpoke.cli.credentials import Installation, RedisRefusedError, write_credentials
from worker.errors import JoinError
from worker.join.long_lived import Places

ADDRESS = "127.0.0.1"
#: Not Redis's own: a user's Redis may have that port of the host.
PORT = 9346
_OLDEST = (7, 0)


def redis_program() -> str | None:
    """Return the path of redis-server; None if the image has none."""
    return shutil.which("redis-server")


def make_credentials(places: Places, host_uuid: str, *, port: int = PORT) -> None:
    """Make the keys and users of the host; what exists is kept.

    Errors: JoinError.
    """
    if redis_program() is None:
        raise JoinError(
            "no REDIS_URL and no bundle are given, and this image has no redis-server for a Redis "
            "of this host alone; build it with REDIS_PACKAGE=redis-server, or give a bundle of "
            "`cowpoke hosts add`"
        )
    installation = Installation(
        folder=places.credentials,
        host_uuid=host_uuid,
        address=f"{ADDRESS}:{port}",
        database=0,
        redis=_OLDEST,
    )
    try:
        write_credentials(installation)
    except RedisRefusedError as error:
        raise JoinError(f"the Redis of this host refuses its users: {error}") from None
    except OSError as error:
        raise JoinError(f"cannot write {error.filename}: {error.strerror}") from None


def is_embedded(places: Places) -> bool:
    """Return whether this host has a Redis of its own."""
    return acl_file(places).exists()


def acl_file(places: Places) -> Path:
    """The file with the users of the host's Redis."""
    return places.credentials / "redis" / "users.acl"


def redis_command(places: Places, *, port: int = PORT) -> list[str]:
    """Return the command of the host's Redis.

    Errors: JoinError when the image has none; OSError when its folder cannot be made.
    """
    program = redis_program()
    if program is None:
        raise JoinError("this image has no redis-server; use the image that joined this host")
    data = places.own / "redis"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        program,
        *("--bind", ADDRESS, "--port", str(port), "--daemonize", "no", "--dir", str(data)),
        # An acknowledged write is on disk, and nothing is thrown away for want of memory.
        *("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"),
        *("--aclfile", str(acl_file(places))),
    ]
