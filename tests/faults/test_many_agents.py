"""One bridge for hundreds of agents whose websockets are all cut at once."""

import threading
import time
from contextlib import suppress

import pytest
import redis

from cowpoke.broker import BrokerSettings, connect
from cowpoke.clock import Clock
from cowpoke.lease import LaneProcess, Lease
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.ledger.states import Verdict
from cowpoke.liveness import Leases
from cowpoke.messages import event_id_of
from cowpoke.outcomes import success
from cowpoke.routes import Lane, queue_for
from simulator.rig.processes import wait_until
from tests.bridges import BridgeRig
from tests.floor import allowed_s
from tests.joined import NO_AGENTS, join, leave, metrics

AGENTS = 200
PING_EVERY_S = 2.0
BOOT = "worker.control.1"
KEYS = [f"agent-{number}" for number in range(AGENTS)]


class PongingHosts:
    """So many hosts whose workers do nothing but answer pings."""

    def __init__(self, url, key, hosts):
        settings = BrokerSettings.model_validate({"REDIS_URL": url, "QUEUE_KEY": key})
        self._redis = connect(settings)
        self._keyring = settings.cluster_keyring()
        self._leases = Leases(self._redis)
        self._hosts = hosts
        self._over = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._live, self._answer)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._redis.close()

    def _live(self):
        while not self._over.wait(0.5):
            for host in self._hosts:
                if self._leases.prolong(host, "worker"):
                    continue
                process = LaneProcess(lane=Lane.CONTROL, boot_id=BOOT, node=f"control@{host}")
                lease = Lease(
                    worker_id="worker", host_uuid=host, lanes=(process,), lock_domain=host
                )
                self._leases.renew(lease, self._keyring.host(host))

    def _answer(self):
        clock = Clock(self._redis)
        ledgers = {
            queue_for(host, Lane.CONTROL): WorkerLedger(
                self._redis, self._keyring.host(host), clock, host_uuid=host, boot_id=BOOT
            )
            for host in self._hosts
        }
        while not self._over.is_set():
            with suppress(redis.RedisError):
                if found := self._redis.brpop([*ledgers], timeout=0.2):
                    ledger, event_id = ledgers[found[0]], event_id_of(found[1])
                    if ledger.claim(event_id).verdict is Verdict.CLAIMED:
                        ledger.complete(event_id, success({}))


@pytest.fixture
def rig(make_redis):
    """A cattle with many agents, who are pinged all the time."""
    agents = [{"access_key": key, "secret_key": f"secret-{key}"} for key in KEYS]
    with BridgeRig(make_redis(), agents=agents, ping_interval_s=PING_EVERY_S) as running:
        yield running


@pytest.fixture
def hosts(rig):
    """The hosts of all the agents."""
    with PongingHosts(rig.redis.url, rig.key, [f"host-{key}" for key in KEYS]) as living:
        yield living


def test_hundreds_of_hosts_join_at_once(rig, hosts):
    """C 4: each is served, one after the other, and pings none waits for; then all leave."""
    bridge = rig.start_bridge(**NO_AGENTS, CATTLE_EVENT_READ_TIMEOUT="15")
    bridge.wait_for_line("bridge.ready", 30)
    names = [f"host-{key}" for key in KEYS]
    for key, host in zip(KEYS, names, strict=True):
        join(rig, host, access_key=key, secret_key=f"secret-{key}")
    rig.wait_subscribed(AGENTS, timeout_s=90)
    answered = rig.counted("pings")["answered"]
    wait_until(
        lambda: rig.counted("pings")["answered"] >= answered + AGENTS,
        4 * PING_EVERY_S,
        "a pong of every host",
    )
    # A killed bridge needs no word from them.
    bridge.kill()
    again = rig.start_bridge(**NO_AGENTS, CATTLE_EVENT_READ_TIMEOUT="15")
    rig.wait_subscribed(AGENTS, timeout_s=90)
    leave(rig, *names)
    rig.wait_subscribed(0, timeout_s=30)
    assert metrics(again, "cowpoke_websockets_open", "cowpoke_agent_waiting") == {}
    assert again.terminate() == 0


def test_hundreds_of_cut_websockets_come_back_one_after_the_other(rig, hosts, tmp_path):
    """C 4: cattle meets no storm of handshakes, and no ping that arrives waits for it."""
    path = tmp_path / "agents.toml"
    path.write_text(
        "".join(
            f'[[agents]]\naccess_key = "{key}"\nsecret_key = "secret-{key}"\n'
            f'host_uuid = "host-{key}"\n'
            for key in KEYS
        )
    )
    rig.start_bridge(BRIDGE_AGENTS_FILE=str(path), CATTLE_EVENT_READ_TIMEOUT="15")
    rig.wait_subscribed(AGENTS, timeout_s=60)
    connected = rig.counted("connects")
    rig.cattle.faults(drop_sockets=True)
    cut_s = time.monotonic()
    rig.wait_counted("connects", connected + 1)
    assert time.monotonic() - cut_s < allowed_s(3)
    rig.wait_counted("connects", connected + AGENTS, timeout_s=40)
    took_s = time.monotonic() - cut_s
    assert 10 < took_s < allowed_s(30)
    answered = rig.counted("pings")["answered"]
    wait_until(
        lambda: rig.counted("pings")["answered"] >= answered + AGENTS,
        4 * PING_EVERY_S,
        "a pong of every host",
    )
    assert rig.counted("pings")["max_ms"] < allowed_s(5) * 1000
