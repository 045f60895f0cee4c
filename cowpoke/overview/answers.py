"""Values from Redis that somebody else may have written: each one is read, or is a problem."""

from collections.abc import Iterable
from typing import Any

import redis

#: Commands that one round trip carries.
_AT_ONCE = 1_000


def ask(client: "redis.Redis", commands: Iterable[tuple[str | int, ...]]) -> list[Any]:
    """Return the answer to each command; of one that Redis refuses, the `redis.ResponseError`.

    Errors: redis.RedisError when Redis does not answer, or the user may not ask.
    """
    listed, answers = list(commands), []
    for start in range(0, len(listed), _AT_ONCE):
        with client.pipeline(transaction=False) as pipe:
            for command in listed[start : start + _AT_ONCE]:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            answers += pipe.execute(raise_on_error=False)
    for answer in answers:
        wrong_key = isinstance(answer, redis.ResponseError)
        if isinstance(answer, redis.exceptions.NoPermissionError) or (
            isinstance(answer, redis.RedisError) and not wrong_key
        ):
            raise answer
    return answers


def texts(answer: object) -> list[str]:
    """Return the texts of a list or a set, sorted; of anything else none."""
    return sorted(map(str, answer)) if isinstance(answer, list | set | tuple) else []


def number(answer: object) -> int | None:
    """Return a number; None for anything else."""
    return answer if isinstance(answer, int) else None
