"""What keeps all programs from Redis: it does not answer, refuses the login, or takes no writes.

`cowpoke status`, the status page, `/readyz` and metrics say the same of it.
"""

from typing import Any

import redis

from cowpoke.broker import probing
from cowpoke.cli.shown import shown
from cowpoke.master_connection import refuses_writes
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.redis_server import why_no_writes
from cowpoke.settings import BrokerSettings

#: What a server answers, also to PING, that cannot keep what it would take, or is not yet ready.
_NO_WRITES = ("MISCONF", "OOM", "LOADING", "Redis is loading")


def trouble_of(error: redis.RedisError) -> Problem:
    """Return the problem that an error of Redis shows."""
    said = shown(error)
    if isinstance(error, redis.exceptions.NoPermissionError):
        return problem(
            "redis-down",
            "redis",
            f"the Redis user of REDIS_URL may not do this: {said}",
            advice="run commands of the whole installation on the hub, with the folder of a bridge "
            "in COWPOKE_CREDENTIALS_DIR, or as an operator: hosts and Flower may not ask this. "
            "`cowpoke acl` prints the rights of each program",
        )
    if isinstance(error, redis.exceptions.AuthenticationError):
        return problem(
            "redis-down",
            "redis",
            f"Redis refused the login in REDIS_URL: {said}",
            advice="check user and password in REDIS_URL; `cowpoke acl` prints the rules of a "
            "user; on the hub, `cowpoke hosts add --host UUID --again` makes a host a new bundle",
        )
    text = str(error)
    if refuses_writes(error) or text.startswith(_NO_WRITES):
        return problem("redis-refuses-writes", "redis", f"Redis refused: {said}")
    return problem("redis-down", "redis", f"Redis does not answer: {said}", advice=_advice(error))


def _advice(error: redis.RedisError) -> str:
    """Return what to do about a Redis that cannot be reached; empty for the usual."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            "name the file of the authority in REDIS_URL, `?ssl_ca_certs=FILE` (ca.crt of the "
            "hub), and Redis by a name of its certificate"
        )
    if isinstance(error, redis.TimeoutError):
        return (
            "start Redis, and check REDIS_URL and the network; `rediss://` needs the port with TLS "
            "(6380 of a hub), another one gives no answer"
        )
    return ""


def probe_writes(settings: BrokerSettings) -> Problem | None:
    """Ask Redis whether it answers and takes writes; None when it does.

    Errors: redis.RedisError when it does not answer.
    """
    with probing(settings) as client:
        info: dict[str, Any] = client.info()
        reason = why_no_writes(client, info)
    return problem("redis-refuses-writes", "redis", reason) if reason else None
