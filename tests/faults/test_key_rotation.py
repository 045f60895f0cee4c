"""Keys are changed in rounds under load: whatever the order, nothing is lost or doubled."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.fernet import Fernet

from cowpoke.broker import BrokerSettings, connect
from cowpoke.key_usage import key_usage
from cowpoke.ledger.resealing import Resealing
from cowpoke.seal import ClusterKeyring, host_key
from simulator import sample
from simulator.client import Cattle
from simulator.rig.processes import Program, wait_until
from tests.faults.faulty_system import FaultySystem, facts, new_instance, wait_lane

PARTS = ("bridge", "worker A", "worker B")
ORDERS = tuple(itertools.permutations(PARTS))
#: A call that is lost in a closing websocket is sent again by cattle after this.
TIMEOUT_MS = 15_000
SENDS = 4
EVENT_EVERY_S = 0.25


class RotatingSystem(FaultySystem):
    """One bridge, a worker with the cluster's key, and one that has only the keys of its host."""

    def __enter__(self):
        super().__enter__()
        keys = {"QUEUE_KEY": "", "HOST_KEY": self.host_keys(self.queue_key)}
        self.parts = {
            "bridge": self.bridge,
            "worker A": self.worker,
            "worker B": self.start_worker(**keys),
        }
        for worker in ("worker A", "worker B"):
            self.wait_lanes(self.parts[worker])
        return self

    def _program(self, module, environment):
        # One lane is enough for these events, and starts sooner.
        arguments = ("run", "--lane", "compute") if module == "worker" else ()
        return self._stack.enter_context(Program(module, *arguments, environment=environment))

    def wait_lanes(self, worker: Program | None = None, *, after_chars: int = 0) -> None:
        """Until a worker takes events."""
        wait_lane(worker or self.worker, "compute", after_chars=after_chars)

    def host_keys(self, cluster_keys: str) -> str:
        """HOST_KEY for these QUEUE_KEYs."""
        return ",".join(host_key(one, self.host_uuid) for one in cluster_keys.split(","))

    def restart(self, part: str, cluster_keys: str) -> None:
        """Stop a part as an operator does and start it with other keys, until it is ready."""
        program = self.parts[part]
        assert program.terminate() == 0, program.output()[-9000:]
        printed = len(program.output())
        if part == "worker B":
            program.environment["HOST_KEY"] = self.host_keys(cluster_keys)
        else:
            program.environment["QUEUE_KEY"] = cluster_keys
        program.start()
        if part == "bridge":
            program.wait_for_line("bridge.ready", after_chars=printed)
            self.wait_subscribed()
        else:
            self.wait_lanes(program, after_chars=printed)

    def usage(self, cluster_keys: str):
        """What `cowpoke key usage` knows."""
        settings = {"REDIS_URL": self.redis.url, "QUEUE_KEY": cluster_keys}
        keyring = ClusterKeyring(*cluster_keys.split(","))
        with connect(BrokerSettings.model_validate(settings)) as client:
            return key_usage(client, keyring)

    def reseal(self, cluster_keys: str) -> None:
        """What `cowpoke key reseal` does: answers are kept for ten minutes."""
        with connect(BrokerSettings.model_validate({"REDIS_URL": self.redis.url})) as client:
            Resealing(client, ClusterKeyring(*cluster_keys.split(","))).everything()

    def end_round(self, cluster_keys: str) -> None:
        """Wait until the next round may begin."""

        def is_complete():
            self.reseal(cluster_keys)
            return self.usage(cluster_keys).is_round_complete

        wait_until(is_complete, 60, "the end of the round", interval_s=0.3)


@pytest.fixture(scope="module")
def system(scripted, redis_server, tmp_path_factory):
    """One system for all rotations: the new key of each is the old one of the next."""
    redis_server.client().flushall()
    state_dir = tmp_path_factory.mktemp("state")
    with RotatingSystem(scripted, redis=redis_server, state_dir=state_dir) as running:
        yield running


@contextmanager
def load(system: FaultySystem) -> Iterator[dict[str, sample.Instance]]:
    """Send events all the time; what was sent, by id."""
    sent: dict[str, sample.Instance] = {}
    over = threading.Event()

    def send() -> None:
        cattle = Cattle(system.cattle_url)
        while not over.wait(EVENT_EVERY_S):
            instance = new_instance()
            event = sample.instance_activate(instance)
            event_id = cattle.send(
                event.name,
                event.data,
                resource_type=event.resource_type,
                resource_id=event.resource_id,
                timeout_ms=TIMEOUT_MS,
                sends=SENDS,
            )
            sent[event_id] = instance
        cattle.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


def log_of(system: RotatingSystem) -> dict[str, int]:
    """How many lines of each kind that no rotation may have."""
    wrong = (
        *("queue_key.mismatch", "event.unreadable", "outcome.unreadable", "lease.unreadable"),
        *("event.crashed", "reply.failed"),
    )
    return {name: sum(len(facts(one, name)) for one in system.parts.values()) for name in wrong}


@pytest.mark.parametrize("first", range(len(ORDERS)), ids=["-".join(one) for one in ORDERS])
def test_rotation_in_rounds_loses_and_doubles_nothing(system, scripted, first):
    """W 32: each rotation has another order in each of its rounds; together they have all."""
    old = system.queue_key
    new = Fernet.generate_key().decode()
    creates = scripted.count("POST", "/containers/create")
    before = log_of(system)
    with load(system) as sent:
        for number, cluster_keys in enumerate((f"{old},{new}", f"{new},{old}", new)):
            for part in ORDERS[(first + number) % len(ORDERS)]:
                system.restart(part, cluster_keys)
            system.end_round(cluster_keys)
            system.queue_key = cluster_keys.partition(",")[0]
        instances = dict(sent)
        wait_until(lambda: len(sent) > len(instances) + 4, 20, "events with the new key alone")
    for event_id, instance in sent.items():
        system.assert_answered_once(system.cattle.wait(event_id, 60), instance)
    assert scripted.count("POST", "/containers/create") - creates == len(sent)
    assert log_of(system) == before
    for worker in ("worker A", "worker B"):
        assert facts(system.parts[worker], "event.done"), f"{worker} took part"
    with system.redis.client() as client:
        assert client.llen("cowpoke:dead") == 0
