"""What a check of the doctor found: data for people and for `--json`, without secrets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cowpoke.cli.shown import shown
from cowpoke.overview.conditions import CONDITIONS

#: About a setting that is missing or wrong.
CORRECT_IT = "correct it; docs/reference/settings.md has the table"
_MESSAGE_CHARS = 500


class Level(StrEnum):
    """How bad a finding is."""

    GOOD = "good"
    #: Worth knowing; nothing stops for it.
    NOTE = "note"
    #: A person must do something; the exit code is 1.
    PROBLEM = "problem"
    #: The check does not apply here, or could not be made.
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of one check. All texts are printable."""

    #: settings, redis, keys, bridge or worker.
    part: str
    #: What was looked at.
    check: str
    level: Level
    message: str
    advice: str = ""
    #: A code of `cowpoke.overview.conditions`; empty for what has no section in the runbook.
    code: str = ""
    #: One line each for many things of one kind.
    details: tuple[str, ...] = ()


class Examine(Protocol):
    """A part of the doctor. `asked`: the operator named it, so it does not skip itself."""

    def __call__(self, *, asked: bool) -> Iterator[Finding]:
        """Yield the findings of the part."""


class Part:
    """Makes the findings of one part: scrubbed, printable, with the advice of the conditions."""

    def __init__(self, name: str) -> None:
        self._name = name

    def good(self, check: str, message: str, *, details: Iterable[str] = ()) -> Finding:
        """Return a finding that needs nothing."""
        return self._make(check, Level.GOOD, message, details=details)

    def skipped(self, check: str, message: str) -> Finding:
        """Return a check that was not made."""
        return self._make(check, Level.SKIPPED, message)

    def note(self, check: str, message: str, *, code: str = "", advice: str = "") -> Finding:
        """Return a finding that is worth knowing."""
        return self._make(check, Level.NOTE, message, code=code, advice=advice)

    def problem(
        self,
        check: str,
        message: str,
        *,
        code: str = "",
        advice: str = "",
        details: Iterable[str] = (),
    ) -> Finding:
        """Return a finding that needs a person."""
        return self._make(check, Level.PROBLEM, message, code=code, advice=advice, details=details)

    def _make(  # noqa: PLR0913 -- the fields of a finding
        self,
        check: str,
        level: Level,
        message: str,
        *,
        code: str = "",
        advice: str = "",
        details: Iterable[str] = (),
    ) -> Finding:
        return Finding(
            part=self._name,
            check=check,
            level=level,
            message=shown(message, _MESSAGE_CHARS),
            advice=advice or (CONDITIONS[code].advice if code else ""),
            code=code,
            details=tuple(map(shown, details)),
        )
