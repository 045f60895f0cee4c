"""A Redis client for one command, from the environment; errors end the command with a sentence."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

from cowpoke import log, scrubbing
from cowpoke.broker import connect
from cowpoke.environment import is_given, read_or_exit
from cowpoke.overview.conditions import Problem
from cowpoke.overview.trouble import trouble_of
from cowpoke.settings import BrokerSettings

_WITHOUT_URL = (
    "REDIS_URL is not set, so redis://127.0.0.1:6379/0 was asked: set REDIS_URL and QUEUE_KEY, or "
    "COWPOKE_CREDENTIALS_DIR to the folder of a bridge, such as /etc/cowpoke/bridge"
)


@contextmanager
def redis_session(
    command: str, *, on_failure: Callable[[Problem], None] = lambda _: None
) -> Iterator[tuple["redis.Redis", BrokerSettings]]:
    """Give the client and the settings; exit with 1 when Redis cannot be used.

    Args:
        command: What the sentence begins with.
        on_failure: Gets what is wrong before the exit.
    """
    settings = read_or_exit(BrokerSettings, command)
    # Warnings go to standard error: standard output is the command's answer.
    log.set_up(stream=sys.stderr)
    scrubbing.keep_secret(settings)
    try:
        with connect(settings, retries=0) as client:
            yield client, settings
    except redis.RedisError as error:
        trouble = trouble_of(error)
    else:
        return
    on_failure(trouble)
    advice = trouble.advice if is_given("REDIS_URL") else _WITHOUT_URL
    sys.exit(f"{command}: {trouble.message}\n{advice}")
