"""Look up the address of a container in a managed network, or the reason why it has none.

Rancher's plugin-manager writes a file for each start of a container. It writes none for containers
that it finds connected when it starts itself. Then the address is that of `eth0` in the network
namespace of the container.

Row numbers (B) refer to docs/parity.md.
"""

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cowpoke.log import logger
from worker.container import Container
from worker.network import namespace

_log = logger(__name__)

_MOST_BYTES = 1 << 20
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An address without prefix length, or the reason why there will be none, or neither yet."""

    address: str | None = None
    problem: str | None = None


def look_up(container: Container, state_dir: Path) -> Found:
    """Return what is known about the address of the running container now (B.2)."""
    written = _written(container, state_dir)
    if written is not None:
        return written
    pid = container.state.get("Pid")
    if not isinstance(pid, int) or pid <= 0:
        return Found()
    return Found(address=namespace.address_of(pid, container.id))


def _written(container: Container, state_dir: Path) -> Found | None:
    """Return the content of plugin-manager's file; None without one that can be read.

    The name of the file is the start time exactly as the Engine writes it. A file with another name
    is about another start, or not complete.
    """
    started = str(container.state.get("StartedAt") or "")
    if not _ID.fullmatch(container.id) or not started or "/" in started:
        return None
    result = _content(state_dir / container.id / started, container)
    # The old agent, which is written in Go, reads keys without regard to case.
    problem = _member(result, "error")
    if problem:
        return Found(problem=str(problem))
    text = _member(_member(result, "ip4"), "ip")
    if not text:
        return None
    try:
        return Found(address=str(ipaddress.IPv4Interface(str(text)).ip))
    except ValueError:
        return Found(problem=f"CNI reported the address {str(text)[:80]!r}, which is none")


def _content(path: Path, container: Container) -> object:
    """Return the JSON of a file; None when it is missing or unreadable."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read(_MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        _log.warning("network_state.not_read", container_id=container.short_id, reason=reason)
        return None


def _member(value: object, name: str) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(value, dict):
        return None
    return next((value[key] for key in value if str(key).lower() == name), None)
