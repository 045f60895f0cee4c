"""The result of a rule, and the strict merge of all results."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.create.facts import Facts
from worker.errors import MappingConflictError
from worker.payload import Instance


@dataclass(frozen=True, slots=True)
class Fragment:
    """The part of the Engine's `POST /containers/create` body that one rule sets."""

    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[Instance, Facts], Fragment]


def merge(parts: Iterable[Mapping[str, Any]], where: str) -> dict[str, Any]:
    """Merge the parts of all rules; their order does not matter.

    Errors: `MappingConflictError` when two rules set the same key, even to the same value.
    """
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if key in merged:
                raise MappingConflictError(
                    f"two rules set {where}{key}; move both into the one rule that owns it"
                )
            merged[key] = value
    return merged


def given(values: Mapping[str, object]) -> dict[str, Any]:
    """Return the values without nulls, empty lists and empty maps; zero and false are kept."""
    return {
        key: _json(value)
        for key, value in values.items()
        if value is not None and not (isinstance(value, tuple | list | Mapping) and not value)
    }


def _json(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
