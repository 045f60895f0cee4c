"""Two hosts and their bridge on a Redis with one ACL user for each part."""

import json
from pathlib import Path
from typing import Any, Self

import redis

from cowpoke.acl import Rules, bridge_rules, flower_rules, host_rules
from cowpoke.seal import host_key
from simulator import sample
from simulator.client import Call
from simulator.rig.redis_server import RedisServer
from tests.faults.faulty_system import FaultySystem, new_instance
from tests.faults.scripted_engine import ScriptedEngine

#: The name of one is the beginning of the other.
OWN, OTHER = "host-1", "host-10"
AGENTS = {
    host: {"access_key": f"agent-of-{host}", "secret_key": f"secret-of-{host}", "kind": "agent"}
    for host in (OWN, OTHER)
}
PASSWORD = "only-in-this-test"


class Users:
    """The ACL users of a Redis server."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.admin = server.client()
        major, minor, *_ = self.admin.info("server")["redis_version"].split(".")
        self._version = (int(major), int(minor))

    def bridge_url(self) -> str:
        """The url for bridges."""
        return self._url(bridge_rules(redis=self._version))

    def host_url(self, host: str) -> str:
        """The url for the workers of a host."""
        return self._url(host_rules(host, redis=self._version))

    def flower_url(self) -> str:
        """The url for Flower."""
        return self._url(flower_rules(redis=self._version))

    def host_client(self, host: str = OWN) -> redis.Redis:
        """A client with the user of a host, as an attacker has it."""
        return redis.Redis.from_url(self.host_url(host))

    def refused(self) -> list[dict[str, Any]]:
        """What Redis refused since the last call."""
        entries: list[dict[str, Any]] = self.admin.acl_log()
        self.admin.acl_log_reset()
        return entries

    def _url(self, rules: Rules) -> str:
        self.admin.execute_command("ACL", "SETUSER", rules.user, f">{PASSWORD}", *rules.words())
        return self._server.url.replace("redis://", f"redis://{rules.user}:{PASSWORD}@")


class AclCluster(FaultySystem):
    """A `FaultySystem` of the host `OWN`, and beside it a worker of the host `OTHER`.

    One bridge serves both. Each program has its own Redis user, and a worker has the key of its
    host only.
    """

    def __init__(self, scripted: ScriptedEngine, server: RedisServer, folder: Path) -> None:
        self.users = Users(server)
        self._folder = folder
        agents = folder / "agents.toml"
        agents.write_text("\n".join(map(_agent_table, AGENTS)), encoding="utf-8")
        super().__init__(
            scripted,
            redis=server,
            state_dir=folder / OWN,
            host_uuid=OWN,
            agent=AGENTS[OWN],
            simulator={
                "SIMULATOR_AGENTS": json.dumps(list(AGENTS.values())),
                "SIMULATOR_PING_INTERVAL_S": "1",
            },
            bridge={
                "REDIS_URL": self.users.bridge_url(),
                "CATTLE_ACCESS_KEY": "",
                "CATTLE_SECRET_KEY": "",
                "BRIDGE_AGENTS_FILE": str(agents),
            },
        )
        self._worker_extra = self.worker_settings(OWN)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.other_worker = self.start_worker(**self.worker_settings(OTHER))
            # A bridge subscribes for an agent when its host has a worker.
            self.wait_subscribed(len(AGENTS))
            self.wait_lanes()
            self.wait_lanes(self.other_worker)
        except BaseException:
            self.__exit__()
            raise
        return self

    def worker_settings(self, host: str) -> dict[str, str]:
        """The variables in which the worker of a host differs from that of another."""
        return {
            "REDIS_URL": self.users.host_url(host),
            "QUEUE_KEY": "",
            "HOST_KEY": host_key(self.queue_key, host),
            "CATTLE_HOME": str(self._folder / host),
            "CATTLE_DOCKER_UUID": host,
        }

    def start_container(self, host: str = OWN, **more: Any) -> tuple[Call, sample.Instance]:
        """Let a host start a container; the end of the event, and the instance."""
        instance = new_instance()
        event = sample.instance_activate(instance)
        return self.ask(event, agent=AGENTS[host]["access_key"], **more), instance


def _agent_table(host: str) -> str:
    agent = AGENTS[host]
    return (
        f'[[agents]]\naccess_key = "{agent["access_key"]}"\n'
        f'secret_key = "{agent["secret_key"]}"\nhost_uuid = "{host}"\n'
    )
