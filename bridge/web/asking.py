"""Asks the bridge of this machine how it is: `cowpoke bridge health`, Docker's health check.

Uses the standard library alone, since it runs every few seconds.
"""

import http.client
import ipaddress
import json
from typing import Any

#: Nothing longer is an answer of a bridge.
_MOST_BYTES = 1024 * 1024
_ANSWERED = frozenset({200, 503})


class NoAnswerError(Exception):
    """Raised when no bridge answered; the text says what was asked and what to do."""


def ask(host: str, port: int, path: str, *, timeout_s: float) -> tuple[bool, dict[str, Any]]:
    """Return whether the bridge said yes, and all that it said.

    Errors: NoAnswerError.
    """
    connection = http.client.HTTPConnection(_own(host), port, timeout=timeout_s)
    where = f"{_own(host)}:{port}"
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as problem:
        raise NoAnswerError(
            f"no bridge answers at {where} (BRIDGE_HTTP_HOST, BRIDGE_HTTP_PORT): {problem}"
        ) from None
    finally:
        connection.close()
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if answer.status not in _ANSWERED or not isinstance(said, dict):
        raise NoAnswerError(
            f"wanted the health of a bridge at {where}{path}, found another program's answer "
            f"(HTTP {answer.status}); check BRIDGE_HTTP_PORT"
        )
    return answer.status == http.client.OK, said


def _own(host: str) -> str:
    """The address of a server that listens on all addresses, or on this one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004


def as_text(said: dict[str, Any]) -> str:
    """What a bridge said of its health, one line per reason and note."""
    lines = ["ready" if said.get("ready") else "not ready"]
    for kind, word in (("reasons", ""), ("notes", "note: ")):
        for one in said.get(kind, ()):
            names = ", ".join(map(str, one["agents"]))
            more = int(one["count"]) - len(one["agents"])
            agents = f" ({names}{f' and {more} more' if more else ''})" if names else ""
            lines.append(f"{word}{one['code']}: {one['message']}{agents}")
    return "\n".join(lines)
