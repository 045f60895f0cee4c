"""The ways to Redis that `REDIS_URL` can name: bridge, worker, commands and Flower use each."""

import json
import subprocess
import sys
from urllib.parse import quote

import pytest

from cowpoke.acl import LEAST_REDIS, bridge_rules, flower_rules, host_rules
from simulator import sample
from simulator.rig.processes import PROJECT_DIR, clean_environment
from simulator.rig.sentinels import SentinelRedis
from tests.faults.faulty_system import FaultySystem, new_instance

HOST = "host-under-test"
#: Redis takes every character but blanks.
USERS = {"bridge": "brücke@hub:1/x", "worker": "wörker;50%?#&=[1]", "flower": "fl'o\"wer+*"}
PASSWORD = "p@ss:w/rd?#%;é"

#: What `celery inspect ping` and Flower's broker page do.
_FLOWER = """
import asyncio, json, time
from flower.utils.broker import Broker
from worker.app import app
with app.connection() as connection:
    url = connection.as_uri(include_password=True)
conf = app.conf
broker = Broker(
    url, broker_options=conf.broker_transport_options, broker_use_ssl=conf.broker_use_ssl
)
queues = asyncio.run(broker.queues(["host.host-under-test"]))
ends_s = time.monotonic() + 60
while time.monotonic() < ends_s:
    # A lane that has just lost its connection may not listen yet.
    pongs = app.control.inspect(timeout=2).ping() or {}
    if len(pongs) == 3:
        break
print(json.dumps({"queues": [queue["name"] for queue in queues], "pongs": len(pongs)}))
"""


def add_users(*servers):
    """Add a user for each part, with the rights of docs/security.md; their logins in an url."""
    logins = {}
    for server in servers:
        with server.client() as client:
            major, minor, *_ = client.info("server")["redis_version"].split(".")
            version = int(major), int(minor)
            if version < LEAST_REDIS:
                pytest.skip("a Redis before 7.0 has no selectors")
            for rules in (
                bridge_rules(user=USERS["bridge"], redis=version),
                host_rules(HOST, user=USERS["worker"], redis=version),
                flower_rules(user=USERS["flower"], redis=version),
            ):
                words = ("SETUSER", rules.user, "resetpass", f">{PASSWORD}", *rules.words())
                client.execute_command("ACL", *words)
    for part, user in USERS.items():
        logins[part] = f"{quote(user, safe='')}:{quote(PASSWORD, safe='')}"
    return logins


def run(arguments, environment):
    """Run a program to its end; what it printed."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        env=clean_environment(environment),
        cwd=PROJECT_DIR,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr
    return ended.stdout


def use(system, *, commands, flower):
    """One event, a command of the operator's, a remote-control command and a look at queues."""
    instance = new_instance()
    system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)
    keys = {"QUEUE_KEY": system.queue_key}
    assert HOST in run(["-m", "cowpoke", "status"], {**commands, **keys})
    found = json.loads(run(["-c", _FLOWER], {**flower, **keys}))
    assert found == {"queues": [f"host.{HOST}"], "pongs": 3}


def system_on(engine, server, folder, *, bridge, worker):
    """A system whose programs have these variables."""
    return FaultySystem(
        engine, redis=server, state_dir=folder, host_uuid=HOST, bridge=bridge, worker=worker
    )


def test_unix_socket_in_both_forms(engine, make_redis, tmp_path):
    """redis-py's form at the worker, kombu's at the bridge; the database is not the first."""
    server = make_redis(unix_socket=True)
    bridge = {"REDIS_URL": f"redis+socket://{server.socket_path}?virtual_host=0"}
    worker = {"REDIS_URL": f"unix://{server.socket_path}?db=0&socket_timeout=5"}
    with system_on(engine, server, tmp_path, bridge=bridge, worker=worker) as system:
        system.wait_lanes()
        use(system, commands=bridge, flower=worker)
        with server.client() as client:
            # The test's own connection alone is TCP.
            tcp = [one for one in client.client_list() if not one["addr"].startswith("/")]
        assert len(tcp) == 1


def test_user_names_and_passwords_of_any_characters(engine, make_redis, tmp_path):
    """Percent-encoded in the url, each part with the least rights."""
    server = make_redis()
    logins = add_users(server)
    urls = {
        part: {"REDIS_URL": server.url.replace("redis://", f"redis://{login}@")}
        for part, login in logins.items()
    }
    with system_on(
        engine, server, tmp_path, bridge=urls["bridge"], worker=urls["worker"]
    ) as system:
        system.wait_lanes()
        use(system, commands=urls["bridge"], flower=urls["flower"])
        with server.client() as client:
            users = {one["user"] for one in client.client_list()}
            assert {USERS["bridge"], USERS["worker"]} <= users
            assert client.acl_log() == []


def test_tls_with_client_certificates(engine, make_redis, tmp_path):
    """A server that asks every client for a certificate."""
    server = make_redis(tls=True, client_certificates=True)
    url = {"REDIS_URL": server.url}
    with system_on(engine, server, tmp_path, bridge=url, worker=url) as system:
        system.wait_lanes()
        use(system, commands=url, flower=url)


def test_sentinels_with_tls_and_users(engine, make_redis, tmp_path):
    """Everything together, before and after another server is the master."""
    make_redis(tls=True)  # says if that cannot be had
    with SentinelRedis(tls=True) as cluster:
        logins = add_users(*cluster.servers)
        urls = {
            part: {**cluster.environment, "REDIS_URL": cluster.url_of(login)}
            for part, login in logins.items()
        }
        with system_on(
            engine, cluster, tmp_path, bridge=urls["bridge"], worker=urls["worker"]
        ) as system:
            system.wait_lanes()
            use(system, commands=urls["bridge"], flower=urls["flower"])
            former = cluster.master()
            former.kill()
            cluster.wait_promoted(former)
            use(system, commands=urls["bridge"], flower=urls["flower"])
            for server in cluster.replicas():
                if server.runs:
                    continue
                server.restart()
            for server in cluster.servers:
                with server.client() as client:
                    assert client.acl_log() == []
