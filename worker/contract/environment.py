"""Reads settings from the environment, or says everything that is wrong with it at once."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

_Settings = TypeVar("_Settings", bound=BaseSettings)


class BadEnvironmentError(Exception):
    """Raised when settings are missing or bad; the text names each, and no value."""


def read(settings: type[_Settings]) -> _Settings:
    """The settings from the environment.

    Errors: BadEnvironmentError with one line per missing or bad variable; values are never shown.
    """
    try:
        return settings()
    except ValidationError as error:
        # A default that is refused is told of under the field's name, a variable under its own.
        variables = {name: field.validation_alias for name, field in settings.model_fields.items()}
        lines = []
        for detail in error.errors():
            first, *inner = detail["loc"] or ("settings",)
            lines.append(_line([variables.get(str(first)) or first, *inner], detail))
        raise BadEnvironmentError("\n".join(sorted(lines))) from None


def _line(location: Sequence[object], detail: ErrorDetails) -> str:
    name = ".".join(str(part) for part in location)
    if detail["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {detail['msg'].removeprefix('Value error, ')}"
