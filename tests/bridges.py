"""The bridge as a real process between a simulated cattle and a worker that the test writes."""

import json
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, Self

import redis
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.clock import Clock
from cowpoke.envelopes import UnknownVersionError
from cowpoke.events import Event
from cowpoke.lease import LaneProcess, Lease
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.ledger.states import Verdict
from cowpoke.liveness import Leases
from cowpoke.messages import event_id_of
from cowpoke.outcomes import Outcome, success
from cowpoke.routes import LANES, Lane, queue_for
from cowpoke.seal import SealBrokenError
from cowpoke.version import VERSION
from simulator.client import Cattle
from simulator.rig.processes import Program, wait_until
from simulator.rig.redis_server import RedisServer

AGENT = {"access_key": "agent-key", "secret_key": "agent-secret-5f1d", "kind": "agent"}
HOST = "host-1"
EVENT = {"resource_type": "instanceHostMap", "resource_id": "1ihm7"}
ACTIVATE = "compute.instance.activate"

#: What the script says to an event: how it ends, or None for "not at all".
Script = Callable[[Event, Callable[[Outcome], Any]], Outcome | None]


def echo(event: Event, _: object) -> Outcome:
    """The usual script: success with the event's data."""
    return success(dict(event.data))


class ScriptedWorker:
    """A worker as the ledger sees it: its lease, claims, outcomes; its work is a script."""

    def __init__(self, url: str, key: str, *, host: str = HOST, script: Script = echo) -> None:
        settings = BrokerSettings.model_validate({"REDIS_URL": url, "QUEUE_KEY": key})
        self.redis = connect(settings)
        self._sealer = settings.cluster_keyring().host(host)
        self.script = script
        #: Every event claimed, in order.
        self.claimed: list[Event] = []
        #: The ids of events that it could not read, once for each try.
        self.rejected: list[str] = []
        self._leases = Leases(self.redis)
        self._host = host
        self._worker_id = uuid.uuid4().hex[:8]
        self._boots = {lane: f"{self._worker_id}.{lane}.1" for lane in Lane}
        self._ledgers = {
            lane: WorkerLedger(
                self.redis, self._sealer, Clock(self.redis), host_uuid=host, boot_id=boot_id
            )
            for lane, boot_id in self._boots.items()
        }
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._live)] + [
            threading.Thread(target=self._work, args=(lane,)) for lane in Lane
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        with suppress(redis.RedisError):
            self._leases.give_up(self._host, self._worker_id)
        self.redis.close()

    def _live(self) -> None:
        lease = Lease(
            worker_id=self._worker_id,
            host_uuid=self._host,
            lanes=tuple(
                LaneProcess(lane=lane, boot_id=boot_id, node=f"{lane}@{self._host}")
                for lane, boot_id in self._boots.items()
            ),
            events=tuple(LANES),
            fingerprints=self._sealer.fingerprints,
            hostname=self._host,
            lock_domain="d",
            version=VERSION,
        )
        written = False
        while not self._over.is_set():
            try:
                if not written or not self._leases.prolong(self._host, self._worker_id):
                    self._leases.renew(lease, self._sealer)
                    written = True
            except redis.RedisError:
                written = False
            self._over.wait(0.2)

    def _work(self, lane: Lane) -> None:
        while not self._over.is_set():
            try:
                found: Any = self.redis.brpop([queue_for(self._host, lane)], timeout=0.2)
                if found:
                    self._run(event_id_of(found[1]), lane)
            except redis.RedisError:
                self._over.wait(0.05)

    def _run(self, event_id: str, lane: Lane) -> None:
        ledger = self._ledgers[lane]
        claim = ledger.claim(event_id)
        if claim.verdict is not Verdict.CLAIMED:
            return
        try:
            event = ledger.open_event(event_id, claim)
        except (SealBrokenError, UnknownVersionError):
            # As a real worker does.
            self.rejected.append(event_id)
            ledger.reject(event_id, delay_ms=1000)
            return
        self.claimed.append(event)
        outcome = self.script(event, lambda step: ledger.progress(event_id, step))
        if outcome is not None:
            ledger.complete(event_id, outcome)


class BridgeRig:
    """Cattle, a Redis, and as many bridges and workers as a test asks for."""

    def __init__(self, server: RedisServer, **simulator: Any) -> None:
        self.redis = server
        self.key = Fernet.generate_key().decode()
        self._stack = ExitStack()
        quiet = {"agents": [AGENT], "ping_interval_s": 0, "heartbeat_s": 0.3}
        self._settings = {**quiet, "strict_publish": True, **simulator}

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.callback(self._stack.close)
            environment = {
                f"SIMULATOR_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
                for name, value in self._settings.items()
            }
            program = self._stack.enter_context(Program("simulator", environment=environment))
            line = program.wait_for_line(r"^simulator: http", timeout_s=30)
            self.url = line.split(" ", 1)[1].strip()
            self.cattle = Cattle(self.url)
            self._stack.callback(self.cattle.close)
            starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def leave_outcome(self) -> str:
        """Have a worker end an event after its bridge was killed; the event's id."""
        done = threading.Event()
        worker = self.start_worker(script=lambda *_: done.wait(20) and success({}))
        bridge = self.start_bridge()
        self.wait_subscribed()
        event_id = self.cattle.send(ACTIVATE, {}, **EVENT, agent=AGENT["access_key"])
        wait_until(lambda: worker.claimed, 10, "the event claimed")
        bridge.kill()
        done.set()
        wait_until(lambda: self.outcomes_left() == 1, 10, "the outcome")
        return event_id

    def start_worker(self, **options: Any) -> ScriptedWorker:
        """A worker that lives until the rig ends."""
        return self._stack.enter_context(ScriptedWorker(self.redis.url, self.key, **options))

    def worker(self, **options: Any) -> ScriptedWorker:
        """A worker for a `with` block."""
        return ScriptedWorker(self.redis.url, self.key, **options)

    def start_bridge(self, **environment: str) -> Program:
        """A `python -m bridge` for the agent."""
        keys = {
            "CATTLE_ACCESS_KEY": AGENT["access_key"],
            "CATTLE_SECRET_KEY": AGENT["secret_key"],
        }
        if "BRIDGE_AGENTS_FILE" in environment:
            keys = {}
        return self._stack.enter_context(
            Program(
                "bridge",
                environment={
                    "REDIS_URL": self.redis.url,
                    "QUEUE_KEY": self.key,
                    "CATTLE_URL": self.url,
                    "CATTLE_EVENT_READ_TIMEOUT": "1",
                    **keys,
                    **environment,
                },
            )
        )

    def wait_subscribed(self, sockets: int = 1, timeout_s: float = 20) -> None:
        """Until so many websockets stand: an event sent before that would vanish."""
        wait_until(
            lambda: sum(self.cattle.stats()["open_sockets"].values()) == sockets,
            timeout_s,
            f"{sockets} open subscription(s)",
        )

    def counted(self, name: str) -> Any:
        """One of cattle's counters."""
        return self.cattle.stats()[name]

    def wait_counted(self, name: str, least: int, timeout_s: float = 10) -> None:
        """Until cattle counted at least so many."""
        wait_until(lambda: self.counted(name) >= least, timeout_s, f"{least} {name}")

    def outcomes_left(self) -> int:
        """How many outcomes wait in the streams, and in the outboxes of the hosts."""
        with self.redis.client() as client:
            outboxes = map(bytes.decode, client.scan_iter(match=f"{keys.outbox('')}*"))
            return sum(int(client.xlen(key)) for key in (*keys.OUTCOME_STREAMS, *outboxes))


def send_many(rig: BridgeRig, count: int) -> list[str]:
    """So many events for different resources; the answer is their ids."""
    return [
        rig.cattle.send(ACTIVATE, {"n": number}, resource_type="x", resource_id=f"1x{number}")
        for number in range(count)
    ]


def states(rig: BridgeRig, ids: list[str], wait_s: float = 20) -> set[str]:
    """How calls ended."""
    return {rig.cattle.wait(event_id, wait_s).state for event_id in ids}
