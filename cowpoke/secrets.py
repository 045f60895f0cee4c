"""The one list of what is secret in cattle's JSON; logs, errors, replies and state files use it.

A key is secret by its name, wherever it is, or only inside one other key. State files leave secret
keys out, errors do not quote values below them, and `secrets_in` collects the values that no text
may contain (`cowpoke.scrubbing`).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from cowpoke.urls import login_secrets, tail_secrets, url_logins, without_logins

#: Secret wherever the key is, except below labels, whose keys are the user's.
_KEYS = frozenset(
    {
        *("environment", "buildArgs", "buildargs"),
        *("registryCredential", "publicValue", "secretValue", "password", "secretKey", "token"),
        *("command", "commandArgs", "entryPoint", "healthCmd"),
        *("build", "driverOpts"),
    }
)
#: Secret only inside this other key: (key around, key). Keys of Docker's inspect are among them.
_PLACES = frozenset(
    {
        *(("logConfig", "config"), ("LogConfig", "Config"), ("DriverConfig", "Options")),
        *(("secrets", "value"), ("secrets", "rewrapText")),
        *(("Config", "Env"), ("Config", "Cmd"), ("Config", "Entrypoint")),
        *(("Config", "Healthcheck"), ("Health", "Log")),
        *(("dockerInspect", "Path"), ("dockerInspect", "Args"), ("dockerContainer", "Command")),
    }
)
_LABELS = frozenset({"labels", "Labels", "createLabels"})
#: Not secret as a whole, but nothing below them is ever quoted.
_NEVER_QUOTED = _LABELS | {"dockerInspect", "dockerContainer"}
#: A label, an option or an argument whose name has one of these has a secret value.
_SECRET_WORD = re.compile(
    r"passw|passphrase|(?<![a-z])pass(?![a-z])|pwd|secret|token|credential"
    r"|(?<![a-z])auth(?![a-z])|(?:api|private|access)[-_.]?key",
    re.IGNORECASE,
)
# Two steps, so that the time to search a text grows with its length and not with the square of it.
_NAME = re.compile(r"[\w./-]+")
_VALUE = re.compile(r"(?:\s*=\s*|\s+|:\s*)(\"[^\"]*\"|'[^']*'|[^\s,]+)")
#: Options of one letter of common clients, after which a password stands.
_CLIENT_OPTION = re.compile(
    r"""(?<![\w-])(?:
        (?:mysql|mariadb)[\w-]*\s(?:[^;&|]{0,500}?\s)?-p
        | (?:redis|valkey)-cli\s(?:[^;&|]{0,500}?\s)?-a\s*
        | sshpass\s+-p\s*
        | (?:docker|podman|registry)\s+login\s(?:[^;&|]{0,500}?\s)?-p\s*
        | curl\s(?:[^;&|]{0,500}?\s)?(?:-[a-z]*u|-U|--user|--proxy-user)[\s=]*["']?[^\s:"']+:
    )(\"[^\"]*\"|'[^']*'|[^\s"']+)""",
    re.VERBOSE,
)

#: What names things in our own texts; a user's variable that repeats it hides nothing.
_PUBLIC_KEYS = frozenset(
    {"name", "uuid", "hostname", "fullName", "server", "imageUuid", "externalId"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """A text that must not be shown, and the name it has where it stands as `name=value`."""

    value: str = field(repr=False)
    name: str | None = None
    #: A password, and not something that merely may be one, such as a variable's value.
    is_password: bool = False


def is_secret(around: str, key: str) -> bool:
    """Whether everything below a key is secret; `around` is the key of the object it is in."""
    if around in _LABELS:
        return _is_secret_name(key)
    return key in _KEYS or (around, key) in _PLACES


def is_below_secret(steps: Sequence[str]) -> bool:
    """Whether a value must not be quoted, given the keys that lead to it.

    Positions in lists may be among the steps; they do not count.
    """
    keys = ["", *(step for step in steps if not step.isdecimal())]
    return any(key in _NEVER_QUOTED or is_secret(around, key) for around, key in pairwise(keys))


def without_secrets(value: Any, around: str = "") -> Any:  # noqa: ANN401 -- cattle's JSON
    """The same JSON without secret keys, and without logins in urls.

    Errors: RecursionError for what is nested very deeply.
    """
    if isinstance(value, Mapping):
        return {
            key: without_secrets(inner, key)
            for key, inner in value.items()
            if not is_secret(around, str(key))
        }
    if isinstance(value, list):
        return [without_secrets(inner, around) for inner in value]
    return without_logins(value) if isinstance(value, str) else value


def secrets_in(data: object) -> list[Secret]:
    """Every secret value in an event's `data`, or in any other JSON of cattle's or Docker's."""
    found: list[Secret] = []
    left: list[tuple[str, object]] = [("", data)]
    while left:
        around, value = left.pop()
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if is_secret(around, str(key)):
                    found += _taken(str(key), inner)
                else:
                    left.append((str(key), inner))
        elif isinstance(value, list | tuple):
            left += [(around, inner) for inner in value]
        elif isinstance(value, str):
            found += _passwords(url_logins(value))
    return found


def secrets_of_url(url: str) -> Iterator[Secret]:
    """What must not be shown of the url of a build: its login and its tail."""
    yield from _passwords(login_secrets(url))
    yield from (Secret(value=part) for part in tail_secrets(url))


def public_names(data: object) -> set[str]:
    """The names that an event gives to its containers and images, outside all that is secret."""
    names: set[str] = set()
    left: list[tuple[str, object]] = [("", data)]
    while left:
        around, value = left.pop()
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if isinstance(inner, str) and key in _PUBLIC_KEYS:
                    names.add(inner)
                elif not is_secret(around, str(key)) and key not in _LABELS:
                    left.append((str(key), inner))
        elif isinstance(value, list | tuple):
            left += [(around, inner) for inner in value]
    return names


def _taken(key: str, value: object) -> Iterator[Secret]:
    """The secrets below one secret key."""
    match key:
        case "environment" | "Env" | "buildArgs" | "buildargs" | "config" | "Config":
            yield from _variables(value)
        case "registryCredential" if isinstance(value, Mapping):
            # The user's name and the registry's address are no secrets.
            yield from _passwords(_leaves(value.get("secretValue")))
            yield from secrets_in({k: v for k, v in value.items() if k != "publicValue"})
        case "publicValue":
            return
        case "build":
            yield from _of_build(value)
        case "secretValue" | "token" | "password" | "secretKey" | "value" | "rewrapText":
            yield from _passwords(_leaves(value))
        case "registryCredential" | "Log":
            yield from _passwords(_leaves(value))
        case _ if _is_secret_name(key):
            yield from _named(key, value)
        case _:
            yield from _options(value)


def _variables(value: object) -> Iterator[Secret]:
    """Variables as an object, or as lines `NAME=value`."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from (Secret(value=leaf, name=str(name)) for leaf in _leaves(inner))
            # Users write whole lines as names.
            before, equals, rest = str(name).partition("=")
            if equals:
                yield Secret(value=rest, name=before)
    else:
        for line in _leaves(value):
            name, equals, rest = line.partition("=")
            yield Secret(value=rest, name=name) if equals else Secret(value=line)
    yield from _logins_below(value)


def _of_build(value: object) -> Iterator[Secret]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if str(key).lower() in {"args", "buildargs"}:
                yield from _variables(inner)
            else:
                yield from _of_build(inner)
        return
    for leaf in _leaves(value):
        yield from secrets_of_url(leaf)


def _options(value: object) -> Iterator[Secret]:
    """Secrets by their names: `--password x`, `TOKEN=x`, `username=a,password=x`."""
    words = list(_leaves(value))
    if isinstance(value, Mapping):
        named = [(str(name), inner) for name, inner in value.items()]
    else:
        named = [(name.lstrip("-"), word) for name, word in pairwise(words) if name[:1] == "-"]
    for name, inner in named:
        if _is_secret_name(name):
            yield from _named(name, inner)
    for word in words:
        yield from _named_values(word)
    for option in _CLIENT_OPTION.finditer(" ".join(words)):
        yield Secret(value=option[1].strip("\"'"), is_password=True)
    yield from _logins_below(value)


def _named(name: str, value: object) -> Iterator[Secret]:
    """The secrets of a secret name, also those inside of JSON, such as a token of a volume."""
    for leaf in _leaves(value):
        yield Secret(value=leaf, name=name)
        if leaf.lstrip()[:1] in {"{", "["}:
            with suppress(ValueError, RecursionError):
                yield from (Secret(value=inner) for inner in _leaves(json.loads(leaf)))


def _is_secret_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and _SECRET_WORD.search(name) is not None


def _named_values(text: str) -> Iterator[Secret]:
    at = 0
    while name := _NAME.search(text, at):
        at = name.end()
        if _SECRET_WORD.search(name[0]) and (value := _VALUE.match(text, at)):
            at = value.end()
            yield Secret(value=value[1].strip("\"'"), name=name[0])


def _logins_below(value: object) -> Iterator[Secret]:
    for leaf in _leaves(value):
        yield from _passwords(url_logins(leaf))


def _passwords(values: Iterator[str]) -> Iterator[Secret]:
    return (Secret(value=value, is_password=True) for value in values)


def _leaves(value: object) -> Iterator[str]:
    """Every text, number and truth value, as text."""
    left = [value]
    while left:
        match left.pop():
            case None:
                continue
            case str() as text:
                yield text
            case bool() as truth:
                yield "true" if truth else "false"
            case Mapping() as inner:
                left += list(inner.values())[::-1]
            case list() | tuple() as items:
                left += list(items)[::-1]
            case other:
                yield str(other)
