"""An installation as its programs describe it in Redis, without the programs."""

from dataclasses import replace

from cowpoke import keys
from cowpoke.bridge_lease import (
    BridgeError,
    BridgeLease,
    WebsocketReport,
    WebsocketState,
    bridge_lease_text,
    sealed_report,
)
from cowpoke.figures import Durations, EngineState, LaneFigures, PullFigures, sealed_figures
from cowpoke.lease import LaneProcess, Lease
from cowpoke.liveness import Leases
from cowpoke.messages import task_message
from cowpoke.routes import Lane

HOST, WORKER, BRIDGE = "h-1", "w-1", "b-1"
SERVER = "http://cattle:8080/v1"
VERSION = "0.2.0"
LEASE = Lease(
    worker_id=WORKER,
    host_uuid=HOST,
    lanes=tuple(LaneProcess(lane=lane, boot_id=f"{WORKER}.{lane}.1") for lane in Lane),
    fingerprints=("f",),
    hostname="web-1",
    lock_domain="d",
    version=VERSION,
    started_ms=1,
)
ENGINE = EngineState(reachable=True, since_ms=1, version="28.5", api_version="1.51")


class Installation:
    """One bridge, one host with one worker, all well."""

    def __init__(self, client, keyring):
        self.client = client
        self.keyring = keyring
        self.leases = Leases(client)

    @property
    def now_ms(self):
        """The time of the Redis server."""
        seconds, microseconds = self.client.time()
        return seconds * 1000 + microseconds // 1000

    def begin(self):
        """Describe all of it."""
        self.client.sadd(keys.HOSTS, HOST)
        self.client.zadd(keys.SEEN, {HOST: self.now_ms // 1000})
        self.lease()
        self.figures(LaneFigures(lane="images", engine=ENGINE))
        self.bridge()
        self.websocket()
        return self

    def lease(self, **changes):
        """Renew the lease of the worker."""
        self.leases.renew(replace(LEASE, **changes), self.keyring.host(HOST))

    def figures(self, figures):
        """Write the figures of a lane."""
        text = sealed_figures(self.keyring.host(HOST), figures, host_uuid=HOST, worker_id=WORKER)
        self.client.hset(keys.figures(HOST, WORKER), figures.lane, text)

    def bridge(self, bridge_id=BRIDGE, **changes):
        """Renew the lease of a bridge."""
        lease = BridgeLease(
            bridge_id=bridge_id,
            fingerprints=self.keyring.fingerprints,
            version=VERSION,
            hostname="hub-1",
            server=SERVER,
            started_ms=self.now_ms - 60_000,
        )
        text = bridge_lease_text(replace(lease, **changes), self.keyring)
        self.leases.renew_bridge(bridge_id, text)
        self.client.hset(keys.host_keys(HOST), bridge_id, "note")

    def websocket(self, state=WebsocketState.OPEN, *, bridge_id=BRIDGE, host=HOST, **changes):
        """Report the websocket of an agent."""
        report = WebsocketReport(
            bridge_id=bridge_id,
            agent="agent-1",
            host_uuid=host,
            state=state,
            since_ms=self.now_ms - 60_000,
            last_ping_ms=self.now_ms - 2_000,
        )
        text = sealed_report(self.keyring.bridge, replace(report, **changes))
        self.client.hset(keys.websockets(bridge_id), host or "agent:x", text)

    def event(self, event_id, state="queued", *, age_ms=1_000, left_ms=60_000, lane="compute"):
        """Record an open event; a queued one is in its queue."""
        now_ms = self.now_ms
        fields = {
            "state": state,
            "name": "ping",
            "lane": lane,
            "received_ms": now_ms - age_ms,
            "queued_ms": now_ms - age_ms,
            "deadline_ms": now_ms + left_ms,
        }
        self.client.hset(keys.event(HOST, event_id), mapping=fields)
        self.client.zadd(keys.open_events(HOST), {event_id: fields["deadline_ms"]})
        if state == "queued":
            queue = f"host.{HOST}" + ("" if lane == "compute" else f".{lane}")
            message = task_message(event_id=event_id, task_name="ping", queue=queue, summary="")
            self.client.lpush(queue, message)


ERROR = BridgeError(at_ms=1_000, code="stream.closed", message="agent-1: cut", count=3)
PULLS = LaneFigures(
    lane="images",
    engine=ENGINE,
    calls={"pull": Durations().plus(2.0, is_error=False)},
    pulls=PullFigures(count=1, bytes=3 * 2**20),
)
