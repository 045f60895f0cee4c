"""/schemas: the types that an account's role may use.

rancher/agent reads two of them to find out what its keys are worth: an agent has `configContent`
and has no `account`; whoever reads `account` was taken for an admin.
"""

from __future__ import annotations

from typing import Any

_AGENT = (
    *("agent", "configContent", "containerEvent", "host", "publish", "schema", "subscribe"),
    "secret",
)
_PROJECT = ("agent", "host", "register", "registrationToken", "schema")
_ADMIN = (*_PROJECT, "account", "configContent", "containerEvent", "publish")
_TYPES = {
    "agent": _AGENT,
    "project": _PROJECT,
    "register": ("register", "schema"),
    "admin": _ADMIN,
    "service": (*_ADMIN, "subscribe"),
}
_PLURALS = {"register": "register", "publish": "publish", "subscribe": "subscribe"}


def types_of(role: str) -> tuple[str, ...]:
    """Return the names of the types that a role may use."""
    return _TYPES[role]


def schema(name: str, base: str, role: str) -> dict[str, Any] | None:
    """Return a type's schema, by its name in any case; None if the role has no such type.

    `base` is the address of the API that the links begin with.
    """
    known = next((one for one in types_of(role) if one.lower() == name.lower()), None)
    if known is None:
        return None
    return {
        "id": known,
        "type": "schema",
        "links": {"self": f"{base}/schemas/{known}", "collection": f"{base}/{plural(known)}"},
        "pluralName": plural(known),
    }


def plural(name: str) -> str:
    """Return a type's name in paths, in lower case; a few types have no plural form."""
    return _PLURALS.get(name, f"{name}s").lower()
