"""The keys, logins and Redis ACL file of an installation on one machine, or of a hub, as files.

Each part of the installation has a folder of its own, with one file per setting, named like its
variable; see COWPOKE_CREDENTIALS_DIR. What exists already is kept.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis

from cowpoke.acl import HOST_USER, Rules, bridge_rules, flower_rules, host_rules, password_words
from cowpoke.files import replace_file
from cowpoke.keys import is_host_uuid
from cowpoke.seal import host_key, key_list, new_key

#: Its user may do everything. It is for operators and for the health check of Redis.
ADMIN = "admin"
#: Host uuid -> file with the hash of its password, for hosts that `cowpoke hosts add` added. It is
#: beside the ACL file, so that with Compose both are in one volume.
HOSTS_FOLDER = "redis/hosts"
_PASSWORD_BYTES = 32
_TIMEOUT_S = 5.0
#: Only the owner of the folder reads a secret.
_SECRET_MODE = 0o400
#: Redis reads the ACL file as a user that only its image knows. The file contains the SHA-256 of
#: random passwords, which reveals nothing.
_ACL_FILE_MODE = 0o444


class RedisRefusedError(Exception):
    """Raised when a running Redis refuses the ACL file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """Where the credentials of an installation are, and for whom they are."""

    #: With the folders `redis`, `bridge`, `worker` and `flower`.
    folder: Path
    #: None for a hub, whose machine is no host itself.
    host_uuid: str | None
    #: `host:port` of Redis, as the programs reach it.
    address: str
    database: int
    #: The version of the server: major, minor.
    redis: tuple[int, int]
    #: QUEUE_KEY as configured; None to use the existing one, or to make one.
    queue_key: str | None = None

    @property
    def acl_file(self) -> Path:
        """The file for Redis's setting `aclfile`."""
        return self.folder / "redis" / "users.acl"

    @property
    def admin_file(self) -> Path:
        """The file with the password of the user `admin`."""
        return self.folder / "redis" / ADMIN


def write_credentials(installation: Installation) -> list[Path]:
    """Write the missing and the changed files, and return their paths.

    Errors:
        ValueError: the host uuid or the Redis version does not allow ACL rules.
        RedisRefusedError: a running Redis refuses the new ACL file; the old file is back then.
        OSError: a folder cannot be written.
    """
    folder, written = installation.folder, _Written()
    old_acl = _text(installation.acl_file)
    version, database = installation.redis, installation.database
    parts = {
        "bridge": bridge_rules(redis=version),
        "flower": flower_rules(redis=version, database=database),
    }
    if installation.host_uuid is not None:
        rules_of_host = host_rules(installation.host_uuid, redis=version, database=database)
        parts["worker"] = rules_of_host
    # Nobody logs in without a name. Its rights are for Redis itself: a starting Redis 7.0 replays
    # the transactions of its append-only file, so all that scripts wrote, with those of this user.
    lines = ["user default off ~* &* +@all"]
    admin_password = _text(installation.admin_file) or _new_password()
    written.add(installation.admin_file, admin_password, _SECRET_MODE)
    lines.append(" ".join(["user", ADMIN, *password_words(admin_password), "on ~* &* +@all"]))
    for part, rules in parts.items():
        url_file = folder / part / "REDIS_URL"
        password = urlsplit(_text(url_file)).password or _new_password()
        written.add(url_file, _url(installation, rules, password), _SECRET_MODE)
        lines.append(rules.line(password=password))
    lines += _lines_of_hosts(installation)
    lines += _lines_of_others(old_acl, lines)
    key_file = folder / "bridge" / "QUEUE_KEY"
    queue_key = installation.queue_key or _text(key_file) or new_key()
    written.add(key_file, queue_key, _SECRET_MODE)
    if installation.host_uuid is not None:
        host_keys = (host_key(key, installation.host_uuid) for key in key_list(queue_key))
        written.add(folder / "worker" / "HOST_KEY", ",".join(host_keys), _SECRET_MODE)
    # Last: when it exists, everything exists.
    written.add(installation.acl_file, "\n".join(lines) + "\n", _ACL_FILE_MODE)
    if old_acl and installation.acl_file in written.paths:
        _load(installation, admin_password, old_acl)
    return written.paths


def _lines_of_hosts(installation: Installation) -> Iterator[str]:
    """The ACL lines of the hosts that were added, with the rules of this release."""
    folder = installation.folder / HOSTS_FOLDER
    for record in sorted(folder.iterdir()) if folder.is_dir() else ():
        if record.name != installation.host_uuid and is_host_uuid(record.name):
            rules = host_rules(
                record.name, redis=installation.redis, database=installation.database
            )
            yield " ".join(("user", rules.user, _text(record).strip(), *rules.words()))


def _lines_of_others(acl: str, ours: list[str]) -> Iterator[str]:
    """The ACL lines of users that no command made, such as those of operators.

    A host without a record was removed, or is the host of another uuid than before.
    """
    names = {_user_of(line) for line in ours}
    for line in acl.splitlines():
        name = _user_of(line)
        if name and name not in names and not name.startswith(HOST_USER):
            yield line


def _user_of(line: str) -> str:
    """The name of a line `user NAME ...`, otherwise an empty text."""
    word, _, rest = line.partition(" ")
    return rest.partition(" ")[0] if word == "user" else ""


class _Written:
    """The files that were written because their content was missing or another one."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def add(self, path: Path, text: str, mode: int) -> None:
        if _text(path) != text:
            replace_file(path, text, mode)
            self.paths.append(path)


def _load(installation: Installation, password: str, old_acl: str) -> None:
    """Make a running Redis read its ACL file again; a stopped one reads it when it starts."""
    url = f"redis://{ADMIN}:{password}@{installation.address}"
    options = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    try:
        with redis.Redis.from_url(url, **options) as client:
            client.execute_command("ACL", "LOAD")
    except (redis.ConnectionError, redis.TimeoutError):
        return
    except redis.ResponseError as error:
        # So that the next run does not take the file for one that Redis accepted.
        replace_file(installation.acl_file, old_acl, _ACL_FILE_MODE)
        raise RedisRefusedError(str(error)) from error


def _url(installation: Installation, rules: Rules, password: str) -> str:
    return f"redis://{rules.user}:{password}@{installation.address}/{installation.database}"


def _new_password() -> str:
    return secrets.token_hex(_PASSWORD_BYTES)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
