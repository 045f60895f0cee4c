"""Outcomes of an event: progress reports, then one final success or error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cowpoke.lengths import CODE_CHARS, MESSAGE_CHARS, shortened

#: Key of a successful outcome's data: config items that the bridge reports to cattle as applied
#: before it sends the reply.
UP_TO_DATE = "upToDate"
#: Key under which a task's result carries its warnings to the backend, which makes them the
#: message; cattle has no resource of this name.
WARNINGS = "+warnings"
_MOST_WARNING_CHARACTERS = 2000


class Kind(StrEnum):
    """How an outcome ends the event, or does not."""

    PROGRESS = "progress"
    SUCCESS = "success"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One report to cattle about an event."""

    kind: Kind
    #: The reply's `data`.
    data: dict[str, Any] = field(default_factory=dict)
    #: For people: what is going on, what went wrong, or what they should know of a success.
    message: str = ""
    #: Stable, for programs; errors only.
    code: str = ""
    #: 0 to 100; progress only.
    percent: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing comes after it."""
        return self.kind is not Kind.PROGRESS

    def to_json(self) -> dict[str, Any]:
        """The outcome as it lies sealed in Redis."""
        return {
            "kind": self.kind,
            "data": self.data,
            "message": self.message,
            "code": self.code,
            "percent": self.percent,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Outcome":
        """The outcome that `to_json` described; keys of later versions are skipped.

        Errors: KeyError, TypeError or ValueError when it is not one.
        """
        data, percent = content.get("data") or {}, content.get("percent")
        if not isinstance(data, dict):
            raise TypeError("wanted an object as data")
        return cls(
            kind=Kind(content["kind"]),
            data=data,
            message=str(content.get("message") or ""),
            code=str(content.get("code") or ""),
            percent=None if percent is None else int(percent),
        )


def success(data: dict[str, Any]) -> Outcome:
    """The operation did what was asked; `data` is the reply's, its `WARNINGS` become the message.

    Each warning is shown once; all together are cut to 2,000 characters.
    """
    warnings = dict.fromkeys(data.get(WARNINGS) or ())
    content = {key: value for key, value in data.items() if key != WARNINGS}
    message = "; ".join(warnings)[:_MOST_WARNING_CHARACTERS]
    return Outcome(kind=Kind.SUCCESS, data=content, message=message)


def error(code: str, message: str) -> Outcome:
    """The operation could not do what was asked; a long message is cut."""
    return Outcome(
        kind=Kind.ERROR,
        code=shortened(code, CODE_CHARS),
        message=shortened(message, MESSAGE_CHARS),
    )


def progress(message: str, percent: int | None = None) -> Outcome:
    """The operation is on its way; a long message is cut."""
    return Outcome(kind=Kind.PROGRESS, message=shortened(message, MESSAGE_CHARS), percent=percent)
