"""The bridges of an overview, and what they report of the websockets of their agents."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import redis

from cowpoke import keys
from cowpoke.bridge_lease import WebsocketReport, WebsocketState, opened_report, read_bridge_lease
from cowpoke.ledger.outcome_stream import GROUP
from cowpoke.overview.answers import ask
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.views import BridgeView
from cowpoke.seal import ClusterKeyring, SealBrokenError

#: The order in which the websockets of a host are shown.
_ORDER = tuple(WebsocketState)


def read_bridges(
    client: "redis.Redis",
    keyring: ClusterKeyring,
    noted: Collection[str],
    problems: list[Problem],
) -> list[BridgeView]:
    """Return the bridges that read outcomes, and those of `noted`, which left notes for hosts.

    A bridge that is gone and has no outcomes left is left out.
    Errors: redis.RedisError.
    """
    consumers = ask(client, [("XINFO", "CONSUMERS", name, GROUP) for name in keys.OUTCOME_STREAMS])
    outcomes: Counter[str] = Counter(dict.fromkeys(noted, 0))
    for answer in consumers:
        for consumer in _rows(answer):
            outcomes[str(consumer.get("name"))] += int(consumer.get("pending") or 0)
    ids = sorted(outcomes)
    answers = ask(
        client,
        [
            *(("GET", keys.bridge(bridge_id)) for bridge_id in ids),
            *(("HGETALL", keys.websockets(bridge_id)) for bridge_id in ids),
        ],
    )
    found = []
    for bridge_id, text, websockets in zip(ids, answers, answers[len(ids) :], strict=False):
        reports = _reports(keyring, bridge_id, websockets, problems)
        # A bridge whose keys are all refused gives its lease up and goes on trying.
        alive = text is not None or bool(reports)
        if alive or outcomes[bridge_id]:
            found.append(_bridge(keyring, bridge_id, text, outcomes[bridge_id], reports))
    return found


def _bridge(
    keyring: ClusterKeyring,
    bridge_id: str,
    text: object,
    outcomes: int,
    reports: tuple[WebsocketReport, ...],
) -> BridgeView:
    is_text = isinstance(text, str)
    lease = read_bridge_lease(str(text), keyring, bridge_id=bridge_id) if is_text else None
    return BridgeView(
        bridge_id=bridge_id,
        alive=text is not None or bool(reports),
        outcomes=outcomes,
        readable=text is None or lease is not None,
        fingerprints=lease.fingerprints if lease else (),
        version=lease.version if lease else "",
        hostname=lease.hostname if lease else "",
        server=lease.server if lease else "",
        started_ms=lease.started_ms if lease else 0,
        errors=lease.errors if lease else (),
        websockets=reports,
    )


def _reports(
    keyring: ClusterKeyring, bridge_id: str, found: object, problems: list[Problem]
) -> tuple[WebsocketReport, ...]:
    """Return what a bridge reports; one that cannot be opened becomes a problem."""
    reports = []
    for name, text in sorted(found.items()) if isinstance(found, dict) else ():
        try:
            reports.append(opened_report(keyring.bridge, str(text), bridge_id=bridge_id))
        except SealBrokenError as broken:
            key = f"{keys.websockets(bridge_id)} {name}"
            problems.append(problem("entry-unreadable", key, str(broken)))
    return tuple(reports)


def by_host(bridges: Collection[BridgeView]) -> Mapping[str, tuple[WebsocketReport, ...]]:
    """Return the reports of all bridges by host; those without a host are left out."""
    found: dict[str, list[WebsocketReport]] = {}
    for bridge in bridges:
        for report in bridge.websockets:
            if report.host_uuid:
                found.setdefault(report.host_uuid, []).append(report)
    return {
        host_uuid: tuple(sorted(reports, key=lambda one: _ORDER.index(one.state)))
        for host_uuid, reports in found.items()
    }


def _rows(answer: object) -> list[dict[str, Any]]:
    if not isinstance(answer, list):
        return []  # the stream or the group does not exist yet
    return [
        row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
        for row in answer
    ]
