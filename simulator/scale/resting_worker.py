"""The Redis commands of one real worker with three lanes, while no events arrive."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping

import redis

from cowpoke.broker import connect
from cowpoke.host_keys import leave_notes
from cowpoke.liveness import Leases
from cowpoke.settings import BrokerSettings
from simulator.rig.processes import Program, wait_until
from simulator.rig.redis_server import RedisServer

HOST_UUID = "scale-resting-host"
_BRIDGE_ID = "scale-bridge"
_LANES = 3
_START_TIMEOUT_S = 60.0
#: Our own question.
_OURS = frozenset({"info"})


def commands_at_rest(queue_key: str, *, settle_s: float, rest_s: float) -> dict[str, float]:
    """Return the calls a second by command; a Redis of its own counts them."""
    with (
        RedisServer() as server,
        tempfile.TemporaryDirectory(prefix="cowpoke-scale-") as state,
        Program("worker", environment=_environment(server, queue_key, state)) as worker,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        _leave_note(server, queue_key)
        wait_until(
            lambda: worker.output().count('"lane.ready"') >= _LANES,
            _START_TIMEOUT_S,
            f"{_LANES} lanes of the worker",
        )
        # Connections and first looks are no rest yet.
        time.sleep(settle_s)
        before, began_s = _calls(client), time.monotonic()
        time.sleep(rest_s)
        after, passed_s = _calls(client), time.monotonic() - began_s
    rates = {name: (after[name] - before.get(name, 0)) / passed_s for name in after}
    return {name: rate for name, rate in sorted(rates.items()) if rate and name not in _OURS}


def _environment(server: RedisServer, queue_key: str, state: str) -> dict[str, str]:
    return {
        "REDIS_URL": server.url,
        "QUEUE_KEY": queue_key,
        "CATTLE_HOME": state,
        "CATTLE_AGENT_IP": "127.0.0.1",
        "CATTLE_DOCKER_UUID": HOST_UUID,
        # No lane needs an Engine while nothing arrives.
        "DOCKER_HOST": f"unix://{state}/no-engine.sock",
    }


def _leave_note(server: RedisServer, queue_key: str) -> None:
    """Leave the note of a bridge, which the lanes compare with their keys."""
    settings = BrokerSettings.model_validate({"REDIS_URL": server.url, "QUEUE_KEY": queue_key})
    with connect(settings) as client:
        Leases(client).renew_bridge(_BRIDGE_ID)
        sealer = settings.cluster_keyring().host(HOST_UUID)
        leave_notes(client, _BRIDGE_ID, {HOST_UUID: sealer})


def _calls(client: redis.Redis) -> Mapping[str, int]:
    found = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in found.items()}
