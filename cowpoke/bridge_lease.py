"""The lease of a bridge, and its reports about the websockets of its agents.

Both are sealed with the bridge key, so that only bridges and people with QUEUE_KEY read them. The
lease contains what the bridge is and which errors it logged lately. The hash
`cowpoke:websockets:<bridge id>` contains one report per agent, by the uuid of its host, or by
`agent:<hash>` as long as the host is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cowpoke.lengths import bounded_int, shortened
from cowpoke.seal import ClusterKeyring, SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

#: Errors that a bridge keeps for its lease.
MOST_ERRORS = 20
#: The lease is written every 1.5 s.
_MESSAGE_CHARS = 300
_CHARS = 1_000
#: The field of an agent whose host is not known begins so.
AGENT_FIELD = "agent:"
#: cattle pings every 5 s, and a bridge subscribes again after 60 s to 90 s without a ping.
SILENT_AFTER_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeError:
    """An error or a warning that a bridge logged, without secrets."""

    #: When last, in ms since 1970 by the Redis server's clock.
    at_ms: int
    #: The name of the log line, such as `stream.closed`.
    code: str
    message: str
    #: How often with the same code and message.
    count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeLease:
    """One bridge, as it introduces itself."""

    bridge_id: str
    #: Of its keys, the one that seals first.
    fingerprints: tuple[str, ...]
    version: str = ""
    hostname: str = ""
    #: The url of cattle, without credentials.
    server: str = ""
    started_ms: int = 0
    #: The newest first.
    errors: tuple[BridgeError, ...] = ()


class WebsocketState(StrEnum):
    """The state of the websocket of an agent."""

    OPEN = "open"
    #: It was lost, or cattle does not answer; the bridge tries again.
    CONNECTING = "connecting"
    #: The bridge does not connect, because no worker of the host runs, or the host is not known.
    WAITING = "waiting"
    #: cattle refuses the keys of the agent.
    REFUSED = "refused"
    #: cattle has refused them for so long that the host counts as removed in Rancher.
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class WebsocketReport:
    """The websocket of one agent, as one bridge reports it."""

    bridge_id: str
    #: The access key of the agent, with its agent id if it has one.
    agent: str
    #: Empty as long as the bridge does not know the host of the agent.
    host_uuid: str
    state: WebsocketState
    #: Since when it has this state, in ms since 1970 by the Redis server's clock.
    since_ms: int
    #: None before the first ping of this websocket. With many agents up to minutes late.
    last_ping_ms: int | None = None
    #: Why it is not open; empty when it is.
    reason: str = ""
    #: What it waits for, by the name in metrics; empty when it is open.
    wait: str = ""
    #: Whether it is open, and cattle has asked nothing for `SILENT_AFTER_S`.
    silent: bool = False


def bridge_lease_text(lease: BridgeLease, keyring: ClusterKeyring) -> str:
    """Return the lease as it is in Redis."""
    return keyring.bridge.seal(
        {
            "v": CONTRACT_VERSION,
            "bridge": lease.bridge_id,
            "fingerprints": lease.fingerprints,
            "version": lease.version,
            "hostname": lease.hostname,
            "server": lease.server,
            "started_ms": lease.started_ms,
            "errors": [
                [one.at_ms, one.code, shortened(one.message, _MESSAGE_CHARS), one.count]
                for one in lease.errors[:MOST_ERRORS]
            ],
        }
    )


def read_bridge_lease(text: str, keyring: ClusterKeyring, *, bridge_id: str) -> BridgeLease | None:
    """Return the lease of a bridge; None when our keys do not open it."""
    try:
        content = keyring.bridge.open(text)
        fingerprints = content.get("fingerprints")
        if content.get("bridge") != bridge_id or not isinstance(fingerprints, list):
            return None
        return BridgeLease(
            bridge_id=bridge_id,
            fingerprints=tuple(map(str, fingerprints)),
            version=_text(content.get("version")),
            hostname=_text(content.get("hostname")),
            server=_text(content.get("server")),
            started_ms=bounded_int(content.get("started_ms")),
            errors=tuple(map(_error, content.get("errors") or ())),
        )
    except (SealBrokenError, AttributeError, TypeError, ValueError):
        return None


def _error(row: Sequence[Any]) -> BridgeError:
    at_ms, code, message, count = row[:4]
    return BridgeError(
        at_ms=bounded_int(at_ms), code=_text(code), message=_text(message), count=bounded_int(count)
    )


def sealed_report(sealer: Sealer, report: WebsocketReport) -> str:
    """Return the report as a field of the hash contains it; `sealer` is that of the bridges."""
    return sealer.seal(
        {
            "v": CONTRACT_VERSION,
            "bridge": report.bridge_id,
            "agent": report.agent,
            "host": report.host_uuid,
            "state": report.state,
            "since_ms": report.since_ms,
            "last_ping_ms": report.last_ping_ms,
            "reason": shortened(report.reason, _MESSAGE_CHARS),
            "wait": report.wait,
            "silent": report.silent,
        }
    )


def opened_report(sealer: Sealer, text: str, *, bridge_id: str) -> WebsocketReport:
    """Return the report in a field of the hash of a bridge.

    Errors: SealBrokenError when no bridge of ours wrote it for this bridge.
    """
    content: Mapping[str, Any] = sealer.open(text)
    if content.get("bridge") != bridge_id:
        raise SealBrokenError("the report belongs to another bridge")
    try:
        last_ping_ms = content.get("last_ping_ms")
        return WebsocketReport(
            bridge_id=bridge_id,
            agent=_text(content["agent"]),
            host_uuid=_text(content.get("host")),
            state=WebsocketState(content["state"]),
            since_ms=bounded_int(content.get("since_ms")),
            last_ping_ms=None if last_ping_ms is None else bounded_int(last_ping_ms),
            reason=_text(content.get("reason")),
            wait=_text(content.get("wait")),
            silent=content.get("silent") is True,
        )
    except (KeyError, TypeError, ValueError):
        raise SealBrokenError("not a valid report about a websocket") from None


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    if len(text) > _CHARS:
        raise ValueError("wanted a short text")
    return text
