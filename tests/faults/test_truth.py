"""In each visible fault `cowpoke status`, page, health and metrics tell the truth, all the same."""

from contextlib import ExitStack
from functools import reduce

import pytest

from cowpoke.routes import Lane
from tests.faults import visible_faults as the
from tests.faults.slow_faults import SlowScene
from tests.faults.telling import Expected
from tests.faults.visible_faults import HOST, Cause, Scene

#: A dead worker is missed after 5 s, cattle after 15 s, a silent Engine after two looks of 10 s.
WITHIN_S = 90.0
HEALTHY = Expected(samples={"cowpoke_redis_up": 1.0, "cowpoke_bridges": 1.0})


def redis_down(sentence: str) -> Expected:
    """No program gets anything from Redis."""
    return Expected(
        urgent={"redis-down": sentence}, unready={"redis-down"}, samples={"cowpoke_redis_up": 0.0}
    )


def no_writes(sentence: str, **more: str) -> Expected:
    """Redis answers, and takes no writes."""
    code = "redis-refuses-writes"
    return Expected(
        urgent={code: sentence, **more}, unready={code}, samples={"cowpoke_redis_up": 1.0}
    )


def no_websocket(code: str, sentence: str, reason: str = "websocket-closed") -> Expected:
    """The only websocket is not open."""
    return Expected(
        urgent={code: sentence}, unready={reason}, samples={'cowpoke_websockets{state="open"}': 0.0}
    )


#: Its websocket stays open for a while: the worker may come back.
NO_WORKER = Expected(
    urgent={"host-without-worker": "no worker"},
    samples={'cowpoke_hosts{state="without-worker"}': 1.0},
)
NO_ENGINE = {f'cowpoke_engine_reachable{{host="{HOST}"}}': 0.0}
NO_BRIDGE = Expected(urgent={"no-bridge": "no bridge"})

#: fault: how it comes about, what all views tell.
FAULTS: dict[str, tuple[Cause, Expected]] = {
    "redis-frozen": (the.redis_frozen, redis_down("not answer|has not answered")),
    "redis-dead": (the.redis_dead, redis_down("refused")),
    "redis-wants-password": (the.redis_wants_password, redis_down("login in REDIS_URL")),
    "redis-read-only": (the.redis_read_only, no_writes("read-only replica")),
    "redis-full": (the.redis_full, no_writes("memory is full", **{"redis-memory": r"\d MB of"})),
    "redis-cannot-save": (the.redis_cannot_save, no_writes("snapshot")),
    "redis-without-replicas": (the.redis_without_replicas, no_writes("0 of its replicas")),
    "redis-nearly-full": (
        the.redis_nearly_full,
        Expected(urgent={"redis-memory": r"\d MB of \d+ MB"}),
    ),
    "redis-evicts": (the.redis_evicts, Expected(urgent={"redis-eviction": "allkeys-lru"})),
    "redis-forgets": (
        the.redis_forgets,
        Expected(
            known={"redis-not-persistent": "no append-only file"},
            samples={"cowpoke_redis_append_only": 0.0},
        ),
    ),
    "cattle-dead": (the.cattle_dead, no_websocket("cattle-unreachable", "cannot be reached")),
    "cattle-frozen": (the.cattle_frozen, no_websocket("cattle-unreachable", "heartbeat|reached")),
    "agent-deactivated": (
        the.cattle_answers(403),
        no_websocket("agent-keys-refused", "403", "agent-keys-refused"),
    ),
    "agent-removed": (
        the.cattle_answers(401),
        Expected(
            urgent={"agent-removed": "agent-key"},
            notes={"agent-removed"},
            samples={'cowpoke_websockets{state="removed"}': 1.0},
        ),
    ),
    "engine-dead": (
        the.engine_dead,
        Expected(urgent={"engine-unreachable": "engine.sock.*refused"}, samples=NO_ENGINE),
    ),
    "engine-hangs": (
        the.engine_hangs,
        Expected(urgent={"engine-unreachable": "engine.sock.*did not answer"}, samples=NO_ENGINE),
    ),
    "engine-too-old": (the.engine_too_old, Expected(urgent={"engine-version": "1.18"})),
    "worker-dead": (the.worker_dead, NO_WORKER),
    "worker-frozen": (the.worker_frozen, NO_WORKER),
    "lane-frozen": (
        the.lane_frozen(Lane.COMPUTE),
        Expected(
            urgent={"lane-missing": "compute"},
            samples={'cowpoke_lane_processes{lane="compute"}': 0.0},
        ),
    ),
    "control-lane-frozen": (
        the.lane_frozen(Lane.CONTROL),
        Expected(urgent={"lane-missing": "control", "pings-slow": r"waited \d+ s"}),
    ),
    "worker-has-other-key": (
        the.worker_has_other_key,
        Expected(urgent={"keys-differ": "cannot be opened"}, notes={"keys-differ"}),
    ),
    "volumes-left": (the.volumes_left, Expected(known={"orphan-volumes": "1 volume"})),
    "bridge-dead": (the.bridge_dead, NO_BRIDGE),
    "bridge-frozen": (the.bridge_frozen, NO_BRIDGE),
    "one-bridge-without-cattle": (
        the.one_bridge_without_cattle,
        Expected(known={"bridge-not-ready": "cannot be reached"}),
    ),
    "agent-without-host": (
        the.agent_without_host,
        Expected(urgent={"host-unknown": "another-agent"}),
    ),
    "rubbish-in-queue": (the.rubbish_in_queue, Expected(urgent={"dead-letters": "1 message"})),
    "rubbish-in-key": (the.rubbish_in_key, Expected(known={"entry-unreadable": "WRONGTYPE"})),
}
#: Faults of different parts, brought about at once: what takes long is waited for once.
TOGETHER = (
    "redis-frozen",
    "redis-dead",
    "redis-wants-password",
    "redis-read-only",
    "redis-full",
    "redis-cannot-save",
    "redis-without-replicas",
    "cattle-dead engine-hangs redis-evicts rubbish-in-queue volumes-left",
    "cattle-frozen engine-dead redis-forgets redis-nearly-full rubbish-in-key",
    "agent-deactivated engine-too-old",
    "agent-removed lane-frozen",
    "control-lane-frozen agent-without-host one-bridge-without-cattle",
    "worker-dead",
    "worker-frozen",
    "worker-has-other-key",
    "bridge-dead",
    "bridge-frozen",
)
#: The agent of a new bridge does not know its host yet.
NO_WORKER_ANYWHERE = Expected(
    urgent={"host-without-worker": "agent-key.*no worker of any host"},
    notes={"host-without-worker"},
)
SILENT = Expected(
    urgent={"cattle-silent": r"no ping from cattle for \d+ s"},
    samples={"cowpoke_silent_websockets": 1.0},
)
SLOW = SILENT | Expected(urgent={"replies-stuck": r"waited \d+ s"})
#: What programs in trouble leave in Redis, see `alert_faults.py`.
PLANTED = SLOW | Expected(
    urgent={
        "redis-memory": r"\d MB of",
        "redis-eviction": "volatile-lru",
        "websocket-closed": "no answer",
        "agent-keys-refused": "no answer",
        "agent-removed": "key-of-removed",
        "host-not-served": "no bridge uses its keys",
        "host-without-worker": "no worker",
        "lane-missing": "control, images",
        "engine-unreachable": "no socket",
        "engine-version": "API 1.1 ",
        "locks-not-shared": "2 workers have 2",
        "keys-differ": "cannot be opened",
        "pings-slow": r"waited \d+ s",
        "dead-letters": "the bridges put",
    },
    known={
        "orphan-volumes": "2 volumes",
        "versions-differ": "0.0.1: 1",
        "queue-slow": r"waited 4\d\d s",
        "entry-unreadable": "WRONGTYPE",
    },
    samples={"cowpoke_bridges": 2.0},
)
STUCK = Expected(urgent={"events-stuck": r"e1 \(compute.instance.activate\) is claimed.*\d+ s ago"})
SILENT_BRIDGE = {"bridge-dead", "bridge-frozen"}


def test_each_fault_is_tried_once():
    """Whoever adds a fault says with which others it comes."""
    assert sorted(" ".join(TOGETHER).split()) == sorted(FAULTS)


@pytest.fixture(scope="module")
def slow():
    """What shows after a minute or two begins before the other tests."""
    with SlowScene() as made:
        made.views.wait(NO_WORKER_ANYWHERE, WITHIN_S)
        made.begin()
        yield made


@pytest.fixture(scope="module")
def scene(tmp_path_factory, slow):
    """One system for all faults."""
    with Scene(tmp_path_factory.mktemp("truth")) as made:
        made.views.wait(HEALTHY, WITHIN_S)
        yield made


@pytest.mark.parametrize("faults", TOGETHER)
def test_all_views_tell_the_truth(scene: Scene, faults: str):
    """While the faults last; and when they are healed, all is well everywhere."""
    names = faults.split()
    expected = reduce(Expected.__or__, (FAULTS[name][1] for name in names))
    with ExitStack() as lasting:
        for name in names:
            lasting.enter_context(FAULTS[name][0](scene))
        scene.views.wait(expected, WITHIN_S, bridge=not SILENT_BRIDGE & set(names))
    scene.views.wait(HEALTHY, WITHIN_S)


@pytest.mark.timeout(300)
def test_slow_faults_are_told(slow: SlowScene):
    """A cattle without pings that takes no replies; the websocket was open all the time."""
    slow.views.wait(SLOW, 150.0)
    slow.planted.cause()
    slow.views.wait(PLANTED, WITHIN_S)
    slow.planted.cause_stuck()
    slow.views.wait(PLANTED | STUCK, WITHIN_S)
    slow.planted.heal()
    slow.rig.cattle.faults_off()
    slow.views.wait(SILENT, WITHIN_S)
