"""What runs in the container, how it is talked to, and how its health is asked for."""

import shlex

from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.errors import PayloadError
from worker.payload import Instance

NANOSECONDS_PER_SECOND = 1_000_000_000
#: First words by which the Engine knows how to run a health command.
HEALTH_KEYWORDS = frozenset({"NONE", "CMD", "CMD-SHELL"})


def command(instance: Instance, facts: Facts) -> Fragment:
    """The command and the entry point; absent, the image's own run.

    Shape:  Cmd and Entrypoint, lists of words.
    Errors: `PayloadError` when a command's quotes do not match.
    Source: A 4.13, 4.28 to 4.30: a text with `commandArgs` is one word, else it is split as a
        shell would.
    """
    fields = instance.fields
    words: tuple[str, ...]
    if isinstance(fields.command, str) and fields.command.strip() and fields.command_args:
        words = (fields.command, *fields.command_args)
    else:
        words = _split(fields.command, "command")
    return Fragment(
        config=given({"Cmd": words, "Entrypoint": _split(fields.entry_point, "entryPoint")})
    )


def attachment(instance: Instance, facts: Facts) -> Fragment:
    """Whether somebody will be attached: only when the container is not detached.

    Shape:  OpenStdin, and AttachStdin, AttachStdout, AttachStderr, StdinOnce.
    Source: A 4.11, 4.12; detached unless cattle says otherwise.
    """
    fields = instance.fields
    values: dict[str, object] = {"OpenStdin": fields.stdin_open}
    if fields.detach is False:
        values |= {"AttachStdout": True, "AttachStderr": True}
        if fields.stdin_open:
            values |= {"AttachStdin": True, "StdinOnce": True}
    return Fragment(config=given(values))


def health_check(instance: Instance, facts: Facts) -> Fragment:
    """How the Engine asks for the container's health, when a command for it is given.

    Shape:  Healthcheck; its times in nanoseconds, cattle's are in seconds (B.1).
    """
    fields = instance.fields
    test = fields.health_cmd
    if isinstance(test, str):
        test = ("CMD-SHELL", test) if test.strip() else ()
    if not test:
        return Fragment()
    if test[0] not in HEALTH_KEYWORDS:
        test = ("CMD", *test)
    values = {
        "Test": test,
        "Interval": _nanoseconds(fields.health_interval),
        "Timeout": _nanoseconds(fields.health_timeout),
        "Retries": fields.health_retries,
    }
    return Fragment(config={"Healthcheck": given(values)})


def restart_policy(instance: Instance, facts: Facts) -> Fragment:
    """When the Engine starts the container again by itself (A 4.22)."""
    policy = instance.fields.restart_policy
    if policy is None or not policy.name:
        return Fragment()
    values = {"Name": policy.name, "MaximumRetryCount": policy.maximum_retry_count}
    return Fragment(host_config={"RestartPolicy": given(values)})


def _split(words: str | tuple[str, ...] | None, field: str) -> tuple[str, ...]:
    if words is None or isinstance(words, tuple):
        return words or ()
    try:
        return tuple(shlex.split(words))
    except ValueError as error:
        # The words themselves may hold a password: only the reason is told.
        message = f"cannot split {field} into words: {error}; give it as a list or mend its quotes"
    raise PayloadError(message)


def _nanoseconds(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * NANOSECONDS_PER_SECOND
