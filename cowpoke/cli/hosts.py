"""`cowpoke hosts add` and `hosts remove`: give a host its Redis user and key, and take them away.

With a folder of `cowpoke credentials` the user is written to its ACL file and set in the running
Redis, so that no other user is disconnected. Without one, REDIS_URL must be of a user who may
administrate users; Redis saves its ACL file itself.
"""

import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis

from cowpoke.acl import HOST_USER, Rules, host_rules, password_words
from cowpoke.broker import every_server
from cowpoke.bundle import Bundle, check_bundle
from cowpoke.cli.credentials import ADMIN, HOSTS_FOLDER
from cowpoke.files import replace_file
from cowpoke.joined import take_back
from cowpoke.keys import is_host_uuid
from cowpoke.redis_places import SENTINEL, read_place, with_login
from cowpoke.redis_url import check_redis_url
from cowpoke.seal import host_key, key_list
from cowpoke.settings import BrokerSettings

_PASSWORD_BYTES = 32
_TIMEOUT_S = 5.0
_RECORD_MODE, _ACL_MODE = 0o400, 0o444

Say = Callable[[str], None]


class HostError(Exception):
    """Raised when a host cannot be added or removed; the text says what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """The Redis of the bridges, and the cluster's key."""

    #: With the login of a user who may administrate users.
    settings: BrokerSettings
    queue_key: str
    #: The server's version: major, minor.
    redis: tuple[int, int]
    #: A folder of `cowpoke credentials`; None if there is none.
    folder: Path | None = None

    @property
    def acl_file(self) -> Path | None:
        """The ACL file of the folder."""
        return None if self.folder is None else self.folder / "redis" / "users.acl"

    def record(self, host_uuid: str) -> Path | None:
        """The file with the hash of a host's password, from which the ACL file is made again."""
        return None if self.folder is None else self.folder / HOSTS_FOLDER / host_uuid


def hub_of_folder(folder: Path, *, version: tuple[int, int]) -> Hub:
    """Read what `cowpoke credentials` made.

    Errors: HostError.
    """
    try:
        password = (folder / "redis" / ADMIN).read_text(encoding="utf-8").strip()
        bridge_url = (folder / "bridge" / "REDIS_URL").read_text(encoding="utf-8").strip()
        queue_key = (folder / "bridge" / "QUEUE_KEY").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise HostError(
            f"cannot read {error.filename}: {error.strerror}; wanted a folder that "
            "`cowpoke credentials` made"
        ) from None
    parts = urlsplit(bridge_url)
    place = parts.netloc.rpartition("@")[2]
    admin_url = urlunsplit(parts._replace(netloc=f"{ADMIN}:{password}@{place}"))
    settings = BrokerSettings.model_validate({"REDIS_URL": admin_url})
    return Hub(settings=settings, queue_key=queue_key, redis=version, folder=folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewHost:
    """A host to be added."""

    #: None makes a new uuid.
    host_uuid: str | None
    #: Redis as the host reaches it, without a login.
    redis_url: str
    redis_ca: str | None
    cattle_url: str | None
    #: Whether a known host gets another password.
    again: bool = False


def add_host(hub: Hub, new: NewHost, say: Say) -> Bundle:
    """Make the Redis user of a host, and return the bundle with its login and key.

    Errors: HostError; ValueError for an url or a uuid that cannot be used; redis.RedisError.
    """
    host_uuid = new.host_uuid or str(uuid.uuid4())
    place = read_place(new.redis_url)
    # Before the user is made: nobody could use its password.
    check_redis_url(new.redis_url)
    rules = host_rules(host_uuid, redis=hub.redis, database=place.database)
    password = secrets.token_hex(_PASSWORD_BYTES)
    host_keys = ",".join(host_key(key, host_uuid) for key in key_list(hub.queue_key))
    bundle = Bundle(
        host_uuid=host_uuid,
        redis_url=with_login(new.redis_url, rules.user, password),
        host_key=host_keys,
        redis_ca=new.redis_ca,
        cattle_url=new.cattle_url,
        sentinels=_sentinel_settings(hub) if place.scheme == SENTINEL else {},
    )
    check_bundle(bundle)
    with _servers(hub) as servers:
        client = servers[0]
        if not new.again and _is_known(hub, client, rules.user):
            raise HostError(
                f"host {host_uuid} was added before, and its password is not kept; with --again it "
                "gets another one, and its workers need the new bundle"
            )
        _store(hub, rules, password_words(password))
        try:
            for server in servers:
                _set_user(server, rules, password)
        except (redis.ConnectionError, redis.TimeoutError):
            if hub.folder is None:
                raise
            say("Redis does not answer; it lets the host in after its next start")
        except redis.ResponseError:
            _unstore(hub, rules.user, host_uuid)
            raise
        else:
            _save(hub, servers, say)
    return bundle


def remove_host(hub: Hub, host_uuid: str, say: Say) -> None:
    """Remove the Redis user of a host, which cuts its connections, and its joined keys.

    Errors: HostError for a host that was not added; redis.RedisError.
    """
    if not is_host_uuid(host_uuid):
        raise ValueError("not a host uuid: letters, digits and . _ - only")
    user = host_rules(host_uuid, redis=hub.redis).user
    with _servers(hub) as servers:
        client = servers[0]
        if not _is_known(hub, client, user):
            raise HostError(f"host {host_uuid} is not known here")
        for server in servers:
            _acl(server, "DELUSER", user)
        # After its user is gone: its worker hands lost keys over again.
        take_back(client, host_uuid)
        _unstore(hub, user, host_uuid)
        _save(hub, servers, say)


def _is_known(hub: Hub, client: "redis.Redis", user: str) -> bool:
    record = hub.record(user.removeprefix(HOST_USER))
    if record is not None and record.exists():
        return True
    with suppress(redis.ConnectionError, redis.TimeoutError):
        return _acl(client, "GETUSER", user) is not None
    return False


def _set_user(client: "redis.Redis", rules: Rules, password: str) -> None:
    words = ("resetpass", *password_words(password), *rules.words())
    _acl(client, "SETUSER", rules.user, *words)


def _acl(client: Any, *words: str) -> Any:  # noqa: ANN401 -- redis-py's types
    return client.execute_command("ACL", *words)


def _save(hub: Hub, servers: "list[redis.Redis]", say: Say) -> None:
    """Keep the users of a Redis whose ACL file is not ours."""
    if hub.folder is not None:
        return
    try:
        for server in servers:
            _acl(server, "SAVE")
    except redis.ResponseError:
        say(
            "Redis has no ACL file and forgets this user when it restarts: set `aclfile` in its "
            "configuration, and run the command again with --again"
        )


def _store(hub: Hub, rules: Rules, password_hash: tuple[str, ...]) -> None:
    record = hub.record(rules.user.removeprefix(HOST_USER))
    if record is None:
        return
    replace_file(record, "".join(password_hash), _RECORD_MODE)
    line = " ".join(("user", rules.user, *password_hash, *rules.words()))
    _rewrite(hub, rules.user, line)


def _unstore(hub: Hub, user: str, host_uuid: str) -> None:
    record = hub.record(host_uuid)
    if record is not None:
        record.unlink(missing_ok=True)
        _rewrite(hub, user, None)


def _rewrite(hub: Hub, user: str, line: str | None) -> None:
    """Replace the line of one user in the ACL file, or remove it."""
    path = hub.acl_file
    assert path is not None
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [one for one in lines if not one.startswith(f"user {user} ")]
    text = "\n".join([*kept, *([] if line is None else [line])]) + "\n"
    replace_file(path, text, _ACL_MODE)


@contextmanager
def _servers(hub: Hub) -> "Iterator[list[redis.Redis]]":
    """Yield a client for each server; all answer, where there are several.

    Redis does not copy users to replicas: a host would lose its login with the next failover.
    """
    with every_server(hub.settings, timeout_s=_TIMEOUT_S) as servers:
        for server in servers[1:]:
            try:
                server.ping()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                raise HostError(
                    f"a replica does not answer, and users must be known to all: {error}; start "
                    "it, or let the Sentinels forget it (SENTINEL RESET)"
                ) from error
        yield servers


def _sentinel_settings(hub: Hub) -> dict[str, str]:
    settings = hub.settings
    password = settings.sentinel_password
    found = {
        "REDIS_SENTINEL_MASTER": settings.sentinel_master,
        "REDIS_SENTINEL_USERNAME": settings.sentinel_username,
        "REDIS_SENTINEL_PASSWORD": password.get_secret_value() if password else None,
    }
    return {name: value for name, value in found.items() if value}
