"""Find the problems in what was read: pure functions of the views."""

from collections import Counter
from collections.abc import Iterator, Sequence

from cowpoke.bridge_lease import WebsocketReport, WebsocketState
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.views import BridgeView, HostView, RedisView
from cowpoke.routes import Lane
from cowpoke.seal import NO_KEY

#: Of `maxmemory`.
MEMORY_SHARE = 0.8
MEGABYTE = 1024 * 1024
#: The sweeper ends an event at its deadline; this much later it did not.
STUCK_AFTER_S = 60.0
#: Outcomes leave Redis as soon as cattle acknowledges them.
REPLIES_STUCK_AFTER_S = 60.0
#: cattle pings every 5 s and disconnects a host after 30 s without a pong.
PINGS_SLOW_AFTER_S = 15.0
QUEUE_SLOW_AFTER_S = 300.0
#: A bridge connects, and connects again, within seconds.
CONNECTS_WITHIN_S = 15.0
LEAST_REDIS = (6, 2)

_REFUSED = frozenset({WebsocketState.REFUSED, WebsocketState.REMOVED})
#: What an agent waits for (`bridge/inbound/standing.py`) that has no host.
_UNKNOWN = frozenset({"several-hosts", "host-of-another-agent"})


def find_problems(
    server: RedisView, bridges: Sequence[BridgeView], hosts: Sequence[HostView]
) -> list[Problem]:
    """Return all that is wrong, in the order Redis, bridges, hosts."""
    if server.refuses_writes:
        # Leases end, queues grow and outcomes wait because of that alone.
        return list(_redis(server))
    live = [bridge for bridge in bridges if bridge.alive]
    unreachable = _cattle_unreachable(server, live)
    found = [*_redis(server), *_bridges(server, live), *unreachable, *_versions(live, hosts)]
    for host in hosts:
        found += _workers(host)
        if live and not unreachable:
            # Otherwise the same would be said once more of each host.
            found += _agent(server, host)
        found += _events(host)
    return found


def _redis(server: RedisView) -> Iterator[Problem]:
    numbers = tuple(int(part) for part in server.version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < LEAST_REDIS:
        yield problem("redis-version", "redis", f"Redis {server.version} is too old")
    if server.refuses_writes:
        yield problem("redis-refuses-writes", "redis", server.refuses_writes)
    if server.max_memory_bytes:
        if server.used_memory_bytes > MEMORY_SHARE * server.max_memory_bytes:
            used, most = (
                size // MEGABYTE for size in (server.used_memory_bytes, server.max_memory_bytes)
            )
            yield problem("redis-memory", "redis", f"Redis uses {used} MB of {most} MB")
        if server.memory_policy not in {"noeviction", ""}:
            said = f"maxmemory-policy is {server.memory_policy}"
            yield problem("redis-eviction", "redis", said)
    if not server.appends:
        yield problem("redis-not-persistent", "redis", "Redis keeps no append-only file")
    if (server.oldest_outcome_s or 0) > REPLIES_STUCK_AFTER_S:
        said = f"the oldest outcome has waited {server.oldest_outcome_s:.0f} s for cattle"
        yield problem("replies-stuck", "redis", said)
    if server.dead_letters:
        said = f"the bridges put {server.dead_letters} outcomes aside"
        yield problem("dead-letters", "bridges", said)


def _bridges(server: RedisView, live: Sequence[BridgeView]) -> Iterator[Problem]:
    if not live:
        yield problem("no-bridge", "bridges", "no bridge has told Redis lately that it runs")
    for bridge in live:
        subject = f"bridge {bridge.bridge_id}"
        if not bridge.readable:
            yield problem("keys-differ", subject, "QUEUE_KEY does not open the lease of the bridge")
        late = [one for one in bridge.websockets if _is_late(server, one)]
        others = any(one.count(WebsocketState.OPEN) for one in live if one is not bridge)
        if late and others and not bridge.count(WebsocketState.OPEN):
            said = f"none of its {len(bridge.websockets)} websockets is open: {late[0].reason}"
            yield problem("bridge-not-ready", subject, said)
        for report in bridge.websockets:
            yield from _hostless(report, subject)
    fingerprints = {bridge.fingerprints for bridge in live if bridge.fingerprints}
    if (NO_KEY,) in fingerprints:
        yield problem("keys-missing", "bridges", "a bridge has no QUEUE_KEY")
    if len(fingerprints) > 1:
        said = "the bridges have different keys, or the same ones in another order"
        # As during a key rotation.
        yield problem("keys-differ", "bridges", said, needs_person=False)


def _hostless(report: WebsocketReport, subject: str) -> Iterator[Problem]:
    """Yield what is wrong with an agent whose host is not known, so that no host shows it."""
    agent = f"agent {report.agent}"
    if report.wait in _UNKNOWN:
        yield problem("host-unknown", agent, f"{agent} has no host: {report.reason}")
    elif report.host_uuid:
        return
    elif report.state in _REFUSED:
        said = f"cattle refuses the keys of {agent}: {report.reason}"
        yield problem("agent-keys-refused", subject, said)
    elif report.wait == "no-worker":
        yield problem("host-without-worker", agent, f"{agent} waits: {report.reason}")


def _cattle_unreachable(server: RedisView, live: Sequence[BridgeView]) -> list[Problem]:
    """Return one problem if no bridge reaches cattle for any agent."""
    reports = [one for bridge in live for one in bridge.websockets]
    trying = [one for one in reports if one.state is not WebsocketState.WAITING]
    if not trying or not all(_is_late(server, one) for one in trying):
        return []
    urls = sorted({bridge.server for bridge in live if bridge.server})
    said = f"none of {len(trying)} websockets is open: {trying[0].reason}"
    return [problem("cattle-unreachable", ", ".join(urls) or "cattle", said)]


def _versions(live: Sequence[BridgeView], hosts: Sequence[HostView]) -> Iterator[Problem]:
    counts = Counter(bridge.version for bridge in live if bridge.version)
    leases = (worker.lease for host in hosts for worker in host.workers)
    counts.update(lease.version for lease in leases if lease and lease.version)
    if len(counts) > 1:
        said = ", ".join(f"{version}: {count}" for version, count in sorted(counts.items()))
        yield problem("versions-differ", "programs", f"programs by version: {said}")


def _is_late(server: RedisView, report: WebsocketReport) -> bool:
    """Whether a bridge has tried to connect for longer than it needs to."""
    waited_s = (server.now_ms - report.since_ms) / 1000
    return report.state is WebsocketState.CONNECTING and waited_s > CONNECTS_WITHIN_S


def _workers(host: HostView) -> Iterator[Problem]:
    uuid = host.host_uuid
    readable = [worker for worker in host.workers if worker.lease is not None]
    if not host.workers:
        removed = host.agent is not None and host.agent.removed_since_ms is not None
        expected = bool(host.websockets) or (host.agent is not None and host.agent.joined)
        # A host that nobody asks for anything may be gone on purpose.
        urgent = bool(host.open_events) or (expected and not removed)
        said = "no worker has told Redis lately that it runs"
        yield problem("host-without-worker", uuid, said, needs_person=urgent)
        return
    if not readable:
        return
    missing = [lane for lane, count in host.lanes().items() if not count]
    if missing:
        said = f"no process takes events of lane {', '.join(missing)}"
        yield problem("lane-missing", uuid, said)
    if host.engine is not None and not host.engine.reachable:
        yield problem("engine-unreachable", uuid, host.engine.reason or "it does not answer")
    elif host.engine is not None and host.engine.reason:
        yield problem("engine-version", uuid, host.engine.reason)
    domains = {worker.lease.lock_domain for worker in readable if worker.lease}
    if len(domains) > 1:
        said = f"its {len(readable)} workers have {len(domains)} different lock folders"
        yield problem("locks-not-shared", uuid, said)
    orphans = max(worker.lease.orphan_volumes for worker in readable if worker.lease)
    if orphans:
        yield problem("orphan-volumes", uuid, f"{orphans} volumes wait for their removal")


def _agent(server: RedisView, host: HostView) -> Iterator[Problem]:
    uuid, websocket, agent = host.host_uuid, host.websocket, host.agent
    if agent is not None and agent.removed_since_ms is not None:
        name = agent.access_key or (websocket.agent if websocket else "in the settings of a bridge")
        said = f"cattle refuses agent {name}"
        yield problem("agent-removed", uuid, said)
    elif websocket is None:
        if agent is not None and agent.joined and not agent.served and host.is_alive:
            yield problem("host-not-served", uuid, "the host joined, and no bridge uses its keys")
    elif websocket.state is WebsocketState.REMOVED:
        yield problem("agent-removed", uuid, f"cattle refuses agent {websocket.agent}")
    elif websocket.state is WebsocketState.REFUSED:
        yield problem("agent-keys-refused", uuid, websocket.reason or "cattle refuses the keys")
    elif _is_late(server, websocket):
        yield problem("websocket-closed", uuid, websocket.reason or "the websocket is not open")
    elif websocket.silent and all(one.silent for one in host.websockets if _is_open(one)):
        heard_ms = websocket.last_ping_ms or websocket.since_ms
        said = f"no ping from cattle for {(server.now_ms - heard_ms) / 1000:.0f} s"
        yield problem("cattle-silent", uuid, said)


def _is_open(report: WebsocketReport) -> bool:
    return report.state is WebsocketState.OPEN


def _events(host: HostView) -> Iterator[Problem]:
    uuid, oldest = host.host_uuid, host.oldest_event
    if oldest is not None and oldest.left_s < -STUCK_AFTER_S:
        said = (
            f"event {oldest.event_id} ({oldest.name}) is {oldest.state} although its deadline was "
            f"{-oldest.left_s:.0f} s ago"
        )
        yield problem("events-stuck", uuid, said)
    for lane, queue in host.queues.items():
        waited_s = queue.oldest_s or 0.0
        if not host.is_alive:
            continue  # the missing worker is the problem
        if lane == Lane.CONTROL and waited_s > PINGS_SLOW_AFTER_S:
            yield problem("pings-slow", uuid, f"a ping has waited {waited_s:.0f} s")
        elif waited_s > QUEUE_SLOW_AFTER_S:
            said = f"a message has waited {waited_s:.0f} s for a slot of lane {lane}"
            yield problem("queue-slow", uuid, said)
    if host.dead_letters:
        yield problem("dead-letters", uuid, f"{host.dead_letters} messages were put aside")
