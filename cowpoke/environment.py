"""Reads settings from the environment, or says everything that is wrong with it at once."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from cowpoke import log
from cowpoke.variables import UnknownVariable, unknown_variables

#: Names a folder with one file per setting, for settings that are not in the environment.
CREDENTIALS_VARIABLE = "COWPOKE_CREDENTIALS_DIR"

_log = log.logger(__name__)

_Settings = TypeVar("_Settings", bound=BaseSettings)


class BadEnvironmentError(Exception):
    """Raised when settings are missing or bad; the text names each, and no value."""


def read(settings: type[_Settings]) -> _Settings:
    """The settings from the environment, and from the folder of credentials that it names.

    Errors: BadEnvironmentError with one line per missing or bad variable; values are never shown.
    """
    given = os.environ.get(CREDENTIALS_VARIABLE)  # noqa: TID251 -- needed to read all others
    folder = Path(given or os.devnull)
    try:
        # pydantic-settings reads the files and lets the environment win.
        return settings(_secrets_dir=folder) if folder.is_dir() else settings()
    except (OSError, UnicodeDecodeError) as error:
        raise BadEnvironmentError(
            f"{CREDENTIALS_VARIABLE}: cannot read {folder}: {error}"
        ) from None
    except ValidationError as error:
        lines = []
        for detail in error.errors():
            first, *inner = detail["loc"] or ("settings",)
            lines.append(_line([_variable(settings, str(first)), *inner], detail))
        raise BadEnvironmentError("\n".join(sorted(lines))) from None


def is_given(variable: str) -> bool:
    """Whether a variable is set, in the environment or in the folder of credentials."""
    given = os.environ  # noqa: TID251 -- whether it is set, not its value
    folder = given.get(CREDENTIALS_VARIABLE)
    return bool(given.get(variable)) or bool(folder and (Path(folder) / variable).is_file())


_known: list[BaseSettings] = []


def keep(settings: BaseSettings) -> None:
    """Make these the settings of this process; see `kept`."""
    _known[:] = [settings]


def kept(settings: type[_Settings]) -> _Settings:
    """The settings that this process started with; read now where it has none of this kind.

    Errors: BadEnvironmentError, as `read`.
    """
    for known in _known:
        if isinstance(known, settings):
            return known
    return read(settings)


def read_or_exit(settings: type[_Settings], program: str) -> _Settings:
    """Return the settings from the environment, and keep them for this process.

    Ends the program with a text for people when they are bad.
    """
    case_matters = bool(settings.model_config.get("case_sensitive"))
    strange = unknown_given(case_matters=case_matters)
    try:
        found = read(settings)
    except BadEnvironmentError as error:
        # A misspelt variable is often the reason why a setting is missing.
        lines = "".join(f"{one.name}: {one.advice}\n" for one in strange)
        sys.exit(
            f"{program}: the environment is not complete\n{error}\n{lines}"
            "docs/reference/settings.md has the table."
        )
    keep(found)
    for one in strange:
        if log.is_set_up():
            _log.warning("setting.unknown", variable=one.name, advice=one.advice)
        else:
            sys.stderr.write(f"{program}: {one.name}: {one.advice}\n")
    return found


def unknown_given(*, case_matters: bool = True) -> tuple[UnknownVariable, ...]:
    """Return what looks like a setting and is none: variables, and files of credentials.

    `case_matters`: whether a setting in lower case is not read.
    """
    given = os.environ  # noqa: TID251 -- their names only
    folder = Path(given.get(CREDENTIALS_VARIABLE) or os.devnull)
    names = [*given]
    with suppress(OSError):
        names += [path.name for path in folder.iterdir()]
    return unknown_variables(names, case_matters=case_matters)


def _variable(settings: type[BaseSettings], name: str) -> str:
    """The variable that an operator knows: the one of several names that is set, else the first.

    A default that is refused is reported under the field's name.
    """
    for field_name, field in settings.model_fields.items():
        alias = field.validation_alias
        names = [str(one) for one in getattr(alias, "choices", [alias])]
        if name == field_name or name in names:
            given = os.environ  # noqa: TID251 -- which name was used, not what it says
            return next((one for one in names if given.get(one)), names[0])
    return name


def _line(location: Sequence[object], detail: ErrorDetails) -> str:
    name = ".".join(str(part) for part in location)
    if detail["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {detail['msg'].removeprefix('Value error, ')}"
