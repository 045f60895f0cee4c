"""Read cattle's JSON: camelCase, unknown keys are ignored, null means absent, types are lenient.

Lenient means that the different types of cattle's versions are read alike: ids and ports as text or
number, a missing list as null or `{}`. Nothing is guessed. All unreadable fields are named in one
`PayloadError`, each with the value found.

Row numbers (A) refer to docs/parity.md.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from cowpoke.secrets import is_below_secret
from worker.errors import PayloadError

#: The largest number of the Engine.
INT64_MAX = 2**63 - 1

_SHOWN_CHARACTERS = 40
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


class Payload(BaseModel):
    """A frozen model of one JSON object of cattle."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        extra="ignore",
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {key: item for key, item in value.items() if item is not None}
        return value


def _text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def _text_or_empty(value: object) -> object:
    return "" if value is None else _text(value)


def _whole(value: object) -> object:
    """Read 8080 and "8080" alike; blank text is absent; other values are errors."""
    if isinstance(value, str):
        if not value.strip():
            return None
        if not _WHOLE.fullmatch(value.strip()):
            raise ValueError("must be a whole number")
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | None):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reports ValueError only
    if value is not None and abs(value) > INT64_MAX:
        raise ValueError("must be a number of at most 64 bits")
    return value


def _only_true(value: object) -> bool:
    return value is True


def _listed(value: object) -> object:
    """Drop nulls from a list; some servers write an empty list as an empty object."""
    if isinstance(value, Mapping) and not value:
        return ()
    if isinstance(value, list | tuple):
        return tuple(item for item in value if item is not None)
    return value


def _texts(value: object) -> object:
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return _listed(value)


def _mapped(value: object) -> object:
    return {} if isinstance(value, list | tuple) and not value else value


def _map_or_empty(value: object) -> object:
    return value if isinstance(value, Mapping) else {}


def _words(value: object) -> str | tuple[str, ...]:
    """Keep a command as text or as words; the rule that uses it splits the text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        words = tuple(_text(word) for word in value if word is not None)
        if all(isinstance(word, str) for word in words):
            return tuple(str(word) for word in words)
    raise ValueError("must be a text or a list of texts")


Text = Annotated[str, BeforeValidator(_text)]
#: For the type of an optional number with bounds.
WHOLE = BeforeValidator(_whole)
#: An optional number.
Whole = Annotated[int | None, WHOLE]
#: A required number.
NeededWhole = Annotated[int, WHOLE]
#: Only JSON's true is true (A 4.25); None means absent.
Flag = Annotated[bool | None, BeforeValidator(_only_true)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_texts)]
TextMap = Annotated[
    Mapping[str, Annotated[str, BeforeValidator(_text_or_empty)]], BeforeValidator(_mapped)
]
#: The same, for keys that have another type in other versions of cattle.
OptionalTextMap = Annotated[TextMap, BeforeValidator(_map_or_empty)]
#: Environment variables; null sets a variable without a value.
Environment = Annotated[
    Mapping[str, Annotated[str | None, BeforeValidator(_text)]], BeforeValidator(_mapped)
]
Words = Annotated[str | tuple[str, ...] | None, PlainValidator(_words)]
#: For the type of a list of objects.
LISTED = BeforeValidator(_listed)
#: For the type of a map of objects.
MAPPED = BeforeValidator(_mapped)

PayloadT = TypeVar("PayloadT", bound=Payload)


def parse(model: type[PayloadT], value: object, where: str) -> PayloadT:
    """Parse one object of cattle.

    Errors: `PayloadError` with one clause per unreadable field and its path from `where` on.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        clauses = "; ".join(_clause(found, where) for found in error.errors(include_url=False))
    raise PayloadError(f"cannot read what cattle sent: {clauses}")


def member(data: object, key: str) -> Mapping[str, Any]:
    """Return the object `key` of an event's `data`.

    Errors: `PayloadError` with the existing keys.
    """
    if not isinstance(data, Mapping):
        raise PayloadError(f"the event's data must be an object, found {found_word(data)}")
    value = data.get(key)
    if not isinstance(value, Mapping):
        keys = ", ".join(sorted(str(name) for name in data)[:10]) or "nothing"
        raise PayloadError(
            f"the event's data must have an object {key!r}, found {found_word(value)}; "
            f"its keys are: {keys}"
        )
    return value


def only_docker(kind: str | None, where: str) -> None:
    """Refuse a resource whose kind is not `docker`; a missing kind is accepted.

    Source: A 1.12; python-agent did not reply, and cattle waited for its timeout.
    """
    if kind is not None and kind != "docker":
        raise PayloadError(f"{where}.kind must be 'docker' for a container event, found {kind!r}")


def found_word(value: object) -> str:
    """Describe the type of a value without showing the value."""
    match value:
        case None:
            found = "nothing"
        case bool():
            found = "true" if value else "false"
        case int() | float():
            found = "a number"
        case str():
            found = "a text"
        case list() | tuple():
            found = f"a list of {len(value)}"
        case Mapping():
            found = f"an object of {len(value)} keys"
        case _:
            found = type(value).__name__
    return found


def _clause(error: ErrorDetails, where: str) -> str:
    steps = [str(step) for step in error["loc"]]
    path = ".".join([where, *steps])
    if error["type"] == "missing":
        return f"{path} is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    value = error["input"]
    found = found_word(value)
    if isinstance(value, str | int | float) and not is_below_secret([*where.split("."), *steps]):
        found = repr(value)[:_SHOWN_CHARACTERS]
    return f"{path}: {message}, found {found}"
