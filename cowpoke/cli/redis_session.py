"""A Redis client for one command, from the environment; errors end the command with a sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from cowpoke import log, scrubbing
from cowpoke.broker import connect
from cowpoke.cli.shown import shown
from cowpoke.environment import read_or_exit
from cowpoke.settings import BrokerSettings


@contextmanager
def redis_session(command: str) -> Iterator[tuple["redis.Redis", BrokerSettings]]:
    """Give the client and the settings; exit with 1 when Redis cannot be used.

    `command` is what the sentence begins with.
    """
    settings = read_or_exit(BrokerSettings, command)
    # Warnings go to standard error: standard output is the command's answer.
    log.set_up(stream=sys.stderr)
    scrubbing.keep_secret(settings)
    try:
        with connect(settings, retries=0) as client:
            yield client, settings
    except redis.exceptions.NoPermissionError as error:
        sys.exit(f"{command}: the Redis user of REDIS_URL may not do this: {shown(error)}")
    except redis.exceptions.AuthenticationError as error:
        sys.exit(f"{command}: Redis refused the login in REDIS_URL: {shown(error)}")
    except redis.RedisError as error:
        sys.exit(f"{command}: Redis does not answer: {shown(error)}")
