"""The command of the container, its standard streams, health check and restart policy.

Row numbers (A, B) refer to docs/parity.md.
"""

import shlex

from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.create.managed_network import waits_for_network, wrapped
from worker.errors import PayloadError
from worker.payload import Instance

NANOSECONDS_PER_SECOND = 1_000_000_000
#: First words that tell the Engine how to run a health command.
HEALTH_KEYWORDS = frozenset({"NONE", "CMD", "CMD-SHELL"})


def command(instance: Instance, facts: Facts) -> Fragment:
    """Return the command and the entry point; the image's own apply where they are absent.

    Shape:  Cmd and Entrypoint, lists of words.
    Errors: `PayloadError` when the quotes of a command do not match.
    Source: A 4.13, 4.28 to 4.30: a text with `commandArgs` is one word, others are split as by a
        shell. B.2: in a managed network the wait program comes first.
    """
    fields = instance.fields
    words: tuple[str, ...]
    if isinstance(fields.command, str) and fields.command.strip() and fields.command_args:
        words = (fields.command, *fields.command_args)
    else:
        words = _split(fields.command, "command")
    entry_point = _split(fields.entry_point, "entryPoint")
    if waits_for_network(instance, facts.image_command):
        entry_point, words = wrapped(entry_point, words, facts.image_command)
    return Fragment(config=given({"Cmd": words, "Entrypoint": entry_point}))


def attachment(instance: Instance, facts: Facts) -> Fragment:
    """Return which standard streams are attached: none if the container is detached.

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
    """Return the health check if it has a command.

    Shape:  Healthcheck, with times in nanoseconds; cattle's are in seconds (B.1).
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
    """Return when the Engine restarts the container (A 4.22)."""
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
        # The command may contain a password, so only the reason is shown.
        message = f"cannot split {field} into words: {error}; write a list or correct the quotes"
    raise PayloadError(message)


def _nanoseconds(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * NANOSECONDS_PER_SECOND
