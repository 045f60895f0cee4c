"""All that a person may have to look at: what programs in trouble leave in Redis."""

import json
import time
from contextlib import suppress

import redis

from cowpoke import keys
from cowpoke.bridge_lease import (
    BridgeLease,
    WebsocketReport,
    WebsocketState,
    bridge_lease_text,
    sealed_report,
)
from cowpoke.broker import BrokerSettings, connect
from cowpoke.figures import EngineState, LaneFigures, sealed_figures
from cowpoke.joined import JoinedAgent, hand_over
from cowpoke.lease import LaneProcess, Lease
from cowpoke.ledger.outcome_stream import GROUP
from cowpoke.liveness import Leases
from cowpoke.routes import LANES, Lane, queue_for
from cowpoke.seal import ClusterKeyring
from cowpoke.version import VERSION

_HOSTS = (
    *("orphans", "lane", "locks", "old", "keys", "engine", "engine-old", "queue", "pings"),
    *("unserved", "stuck", "closed", "silent", "refused", "removed"),
)
PAD_BYTES = 30 * 1024 * 1024
#: The alerts that all of it leads to.
ALERTS = {
    *("CowpokeRedisMemory", "CowpokeRedisEviction", "CowpokeRedisNotPersistent"),
    *("CowpokeWebsocketClosed", "CowpokeCattleSilent", "CowpokeAgentKeysRefused"),
    *("CowpokeAgentRemoved", "CowpokeHostNotServed", "CowpokeHostUnknown", "CowpokeRepliesStuck"),
    *("CowpokeHostWithoutWorker", "CowpokeLaneMissing", "CowpokeEngineUnreachable"),
    *("CowpokeEngineVersion", "CowpokeLocksNotShared", "CowpokeOrphanVolumes"),
    *("CowpokeKeysDiffer", "CowpokeVersionsDiffer", "CowpokeEventsStuck", "CowpokePingsSlow"),
    *("CowpokeQueueSlow", "CowpokeDeadLetters", "CowpokeEntryUnreadable"),
}


class Faults:
    """Hosts and a bridge in trouble, on the Redis of a real bridge."""

    def __init__(self, url: str, key: str) -> None:
        settings = BrokerSettings.model_validate({"REDIS_URL": url, "QUEUE_KEY": key})
        self.client = connect(settings)
        self._keyring = settings.cluster_keyring()

    def cause(self) -> None:
        """Leave all of it."""
        self._redis()
        self._host("orphans", orphan_volumes=2)
        self._host("lane", lanes=[Lane.COMPUTE])
        self._host("locks")
        self._host("locks", worker_id="w2", lock_domain="another")
        self._host("old", version="0.0.1")
        self._host("keys", keyring=ClusterKeyring("A" * 43 + "="))
        self._engine("engine", EngineState(reachable=False, reason="no socket"))
        self._engine("engine-old", EngineState(reachable=True, reason="API 1.1 is too old"))
        self._waits("queue", Lane.COMPUTE, 400)
        self._waits("pings", Lane.CONTROL, 60)
        self._host("unserved")
        agent = JoinedAgent(
            host_uuid="unserved", cattle_url="http://other/v1", access_key="k", secret_key="s"
        )
        hand_over(self.client, self._keyring.host("unserved"), agent)
        self._other_bridge()
        self.client.lpush(keys.BRIDGE_DEAD_LETTERS, "{}")
        self.client.set(keys.dead_letters("lane"), "no list")

    def heal(self) -> None:
        """Take all of it back."""
        own = set(filter(self._is_ours, self.client.keys()))
        for host in sorted(key.split(":")[2] for key in own if key.startswith(keys.LEASE_PREFIX)):
            Leases(self.client).give_up(host, "w1", "w2")
        self.client.delete(*own, "pad", keys.BRIDGE_DEAD_LETTERS)
        # Nobody is to remember hosts that were none.
        self.client.zrem(keys.SEEN, *_HOSTS)
        self.client.srem(keys.HOSTS, *_HOSTS)
        self.client.xtrim(keys.CONTROL_OUTCOMES, maxlen=0)
        for name, value in (
            ("maxmemory", "0"),
            ("maxmemory-policy", "noeviction"),
            ("appendonly", "yes"),
        ):
            self.client.config_set(name, value)

    def close(self) -> None:
        """Leave Redis."""
        self.client.close()

    def _is_ours(self, key: str) -> bool:
        names = {*_HOSTS, "other"}
        return bool(names & set(key.split(":"))) or key.removeprefix("host.").split(".")[0] in names

    def _ms(self, from_now_s: float) -> int:
        return round((time.time() + from_now_s) * 1000)

    def _redis(self) -> None:
        self.client.setrange("pad", PAD_BYTES, "x")
        used = int(self.client.info("memory")["used_memory"])
        self.client.config_set("maxmemory", round(used / 0.85))
        self.client.config_set("maxmemory-policy", "volatile-lru")

    def _host(self, host, *, worker_id="w1", lanes=tuple(Lane), keyring=None, **given) -> None:
        """Leave the lease of a worker; it does not end."""
        fields = {
            "events": tuple(LANES),
            "hostname": host,
            "lock_domain": "d",
            "version": VERSION,
            **given,
        }
        lease = Lease(
            worker_id=worker_id,
            host_uuid=host,
            lanes=tuple(
                LaneProcess(lane=lane, boot_id=f"{worker_id}.{lane}.1", node=f"{lane}@{host}")
                for lane in lanes
            ),
            **fields,
        )
        Leases(self.client).renew(lease, (keyring or self._keyring).host(host))
        self.client.persist(keys.lease(host, worker_id))

    def _engine(self, host, engine) -> None:
        self._host(host)
        figures = LaneFigures(lane=Lane.COMPUTE, started_ms=1, engine=engine)
        text = sealed_figures(self._keyring.host(host), figures, host_uuid=host, worker_id="w1")
        self.client.hset(keys.figures(host, "w1"), Lane.COMPUTE, text)

    def _waits(self, host, lane, for_s) -> None:
        """Leave a message that no slot takes."""
        self._host(host)
        message = json.dumps({"headers": {"id": "e1"}})
        self.client.lpush(queue_for(host, lane), message)
        self.client.hset(keys.event(host, "e1"), "queued_ms", self._ms(-for_s))

    def cause_stuck(self) -> None:
        """Leave an event that no sweeper knows of; one that starts would look at all events."""
        host = "stuck"
        deadline_ms = self._ms(-100)
        fields = {
            "state": "claimed",
            "name": "compute.instance.activate",
            "lane": "compute",
            "received_ms": self._ms(-200),
            "deadline_ms": deadline_ms,
        }
        self.client.hset(keys.event(host, "e1"), mapping=fields)
        self.client.zadd(keys.open_events(host), {"e1": deadline_ms})
        self.client.sadd(keys.HOSTS, host)

    def _other_bridge(self) -> None:
        """Leave a live bridge with four agents in trouble."""
        lease = BridgeLease(
            bridge_id="other",
            fingerprints=self._keyring.fingerprints,
            version=VERSION,
            hostname="h",
            server="http://cattle/v1",
            started_ms=self._ms(-600),
        )
        self.client.set(keys.bridge("other"), bridge_lease_text(lease, self._keyring))
        with suppress(redis.ResponseError):  # the bridge has made it
            self.client.xgroup_create(keys.CONTROL_OUTCOMES, GROUP, "0", mkstream=True)
        # It has read an outcome two minutes ago and does not get rid of it.
        old = f"{self._ms(-120)}-0"
        self.client.xadd(keys.CONTROL_OUTCOMES, {"no": "outcome"}, id=old)
        self.client.xreadgroup(GROUP, "other", {keys.CONTROL_OUTCOMES: ">"})
        for host, state, silent in (
            ("closed", WebsocketState.CONNECTING, False),
            ("silent", WebsocketState.OPEN, True),
            ("refused", WebsocketState.REFUSED, False),
            ("removed", WebsocketState.REMOVED, False),
        ):
            report = WebsocketReport(
                bridge_id="other",
                agent=f"key-of-{host}",
                host_uuid=host,
                state=state,
                since_ms=self._ms(-300),
                reason="no answer",
                silent=silent,
            )
            text = sealed_report(self._keyring.bridge, report)
            self.client.hset(keys.websockets("other"), host, text)
