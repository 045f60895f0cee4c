"""`cowpoke join`: register this host, keep its keys and hand them to the bridges.

Each step may be repeated: a join that failed or was killed continues with the same identity. The
keys are kept before they are handed over, and the register key before anything is registered.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

from cowpoke.files import replace_file
from cowpoke.joined import JoinedAgent, hand_over, take_back
from cowpoke.liveness import Leases
from cowpoke.seal import Sealer
from worker.engine.client import Engine
from worker.errors import JoinError
from worker.host.identity import Identity
from worker.join.addresses import check_agent_ip, check_registration_url, is_agent_ip, server_of
from worker.join.authority import trust_server
from worker.join.http import Http
from worker.join.kept import KeptKeys
from worker.join.old_agent import check_old_agent_stopped
from worker.join.ready import PingPath, wait_reported, wait_served
from worker.join.register_key import forget_register_key, register_key
from worker.join.registration import AgentKeys, check_keys_live, register, resolve
from worker.join.script import Registration, checked_api_url
from worker.join.settings import JoinSettings

Say = Callable[[str], None]
_MODE = 0o600


@dataclass(frozen=True, kw_only=True, slots=True)
class Waits:
    """Maximum times, each for one thing that may still be starting."""

    ready_s: float = 120.0
    url_s: float = 600.0
    keys_s: float = 300.0
    served_s: float = 60.0
    #: cattle asks each host for its resources once a minute.
    reported_s: float = 90.0

    @classmethod
    def of(cls, most_s: float | None) -> "Waits":
        """Each wait bounded by `most_s`."""
        given = cls()
        if most_s is None:
            return given
        names = ("ready_s", "url_s", "keys_s", "served_s", "reported_s")
        return cls(**{name: min(most_s, getattr(given, name)) for name in names})


class Joining:
    """One run of `cowpoke join` on this host."""

    def __init__(
        self,
        settings: JoinSettings,
        identity: Identity,
        client: "redis.Redis",
        *,
        say: Say,
        waits: Waits | None = None,
    ) -> None:
        self._settings = settings
        self._redis = client
        self._say = say
        self._waits = waits or Waits()
        self.host_uuid, self.hostname = identity.host_uuid, identity.hostname
        self._sealer: Sealer = settings.keyring().host(identity.host_uuid)
        self.kept = KeptKeys(
            path=settings.joined_file, sealer=self._sealer, host_uuid=identity.host_uuid
        )

    def run(self, url: str | None, *, with_new_key: bool = False) -> None:
        """Join with the url of the page for a new host; without one, use the keys that are kept.

        Errors: JoinError; redis.RedisError.
        """
        check_agent_ip(self._settings.agent_ip)
        if url is not None:
            check_registration_url(url)
        with self._http() as http:
            agent = None if with_new_key else self._kept_agent(http, url)
            if agent is not None:
                # It may be served for long: a report of the last minutes is as good as a new one.
                self.finish(agent, reported_since_s=time.time() - self._waits.reported_s)
                return
            agent = self._registered(http, url, with_new_key=with_new_key)
        self.finish(agent)

    def finish(self, agent: JoinedAgent, *, reported_since_s: float | None = None) -> None:
        """Keep an agent, hand it to the bridges and see that cattle is told of the host.

        A report of the host's resources counts from `reported_since_s` on (Unix time), else from
        now.

        Errors: JoinError; redis.RedisError.
        """
        since_s = time.time() if reported_since_s is None else reported_since_s
        self.kept.write(agent)
        hand_over(self._redis, self._sealer, agent)
        self._say(f"handed the keys of agent {agent.access_key} to the bridges")
        problem = wait_served(
            self._redis, self.host_uuid, agent.access_key, wait_s=self._waits.served_s
        )
        if problem is None:
            self._say("a bridge serves this host; waiting until the server asks for its resources")
            state_dir, wait_s = self._settings.state_dir, self._waits.reported_s
            problem = wait_reported(state_dir, since_s, wait_s=wait_s)
        if problem is not None:
            raise JoinError(
                f"the keys of agent {agent.access_key} of {agent.cattle_url} are kept, but "
                f"{problem}; run `cowpoke join` again then"
            )
        self._say(f"host {self.host_uuid} has joined {agent.cattle_url} and reported its resources")

    def wait_ready(self) -> None:
        """Wait until the ping path works.

        Errors: JoinError.
        """
        path = PingPath(self._settings, self._redis, self._sealer, self.host_uuid)
        path.wait(self._waits.ready_s, self._say)
        self._say("Redis, the Docker Engine, a worker of this host and a bridge answer")

    def _wait_until_it_may_join(self) -> None:
        self.wait_ready()
        engine = Engine(self._settings)
        try:
            check_old_agent_stopped(engine)
        finally:
            engine.close()

    def workers_since_ms(self) -> int | None:
        """Return when the oldest live worker of this host started (Unix time); None without any.

        Errors: redis.RedisError.
        """
        live = Leases(self._redis).of_host(self.host_uuid, self._sealer)
        return min((one.started_ms for one in live.values()), default=None)

    def hand_over_kept(self) -> None:
        """Hand the kept keys over again, because Redis may have lost them.

        Errors: JoinError when there are none that can be read.
        """
        agent = self.kept.read()
        if agent is None:
            raise JoinError(
                f"{self.kept.path} has no keys that this host's key opens; run `cowpoke join URL`, "
                "which gets the same keys again"
            )
        # Sealed with the key that seals now: after a rotation the file has an older one.
        hand_over(self._redis, self._sealer, agent)
        if not self.kept.exist:
            # The host left meanwhile.
            take_back(self._redis, self.host_uuid)

    def _http(self) -> Http:
        settings = self._settings
        ca_file = settings.ca_bundle or (settings.ca_file if settings.ca_file.exists() else None)
        return Http(settings.proxy_variables, ca_file)

    def _kept_agent(self, http: Http, url: str | None) -> JoinedAgent | None:
        agent = self.kept.read()
        if agent is None:
            if self.kept.exist:
                self._say(f"{self.kept.path} was sealed with another key; getting the keys again")
            return None
        self._check_cattle(agent.cattle_url)
        if url is not None and self._settings.url_override is None:
            self._check_same_server(url, agent)
        self._say(f"host {self.host_uuid} joined before; using the keys that are kept")
        check_keys_live(http, agent.cattle_url, _keys_of(agent))
        self._wait_until_it_may_join()
        return agent

    def _registered(self, http: Http, url: str | None, *, with_new_key: bool) -> JoinedAgent:
        if url is None:
            raise JoinError(
                "no registration url: give the url that Rancher's page for a new host shows, "
                "`cowpoke join http://SERVER:8080/v1/scripts/TOKEN`, or set CATTLE_REGISTRATION_URL"
            )
        settings = self._settings
        trust_server(
            http,
            url,
            fingerprint=settings.ca_fingerprint,
            ca_file=settings.ca_file,
            say=self._say,
        )
        registration = resolve(
            http,
            url,
            wait_s=self._waits.url_s,
            say=self._say,
            override=self._override(),
        )
        self._check_cattle(registration.cattle_url)
        self.keep_detected_ip(registration.detected_ip)
        # Not earlier: a wrong url must not wait for a worker.
        self._wait_until_it_may_join()
        keys = self._keys_from_environment() or self._keys_of_register(
            http, registration, with_new_key=with_new_key
        )
        return JoinedAgent(
            host_uuid=self.host_uuid,
            cattle_url=registration.cattle_url,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            joined_ms=time.time_ns() // 1_000_000,
            hostname=self.hostname,
        )

    def keep_detected_ip(self, address: str | None) -> None:
        """Store the address that the server saw, or that the old agent had.

        Pings report it if no other one is set.

        Errors: JoinError.
        """
        if address is None or not is_agent_ip(address):
            return
        path = self._settings.detected_ip_file
        try:
            replace_file(path, address, _MODE)
        except OSError as error:
            raise JoinError(f"cannot write {path}: {error.strerror}") from None
        if self._settings.agent_ip is None:
            self._say(f"the address of this host is {address}; CATTLE_AGENT_IP sets another one")

    def _keys_of_register(
        self, http: Http, registration: Registration, *, with_new_key: bool
    ) -> AgentKeys:
        path = self._settings.register_key_file
        if with_new_key:
            # Only now: everything that could fail without the server has passed.
            forget_register_key(path)
            self.kept.forget()
        return register(
            http,
            registration,
            register_key(path),
            wait_s=self._waits.keys_s,
            say=self._say,
            # Its agent exists, or was removed: a new one would be another host.
            may_create=not self.kept.exist,
        )

    def _keys_from_environment(self) -> AgentKeys | None:
        secret, access_key = self._settings.secret_key, self._settings.access_key
        if secret is None or access_key is None:
            return None
        self._say("using CATTLE_ACCESS_KEY and CATTLE_SECRET_KEY instead of a registration")
        return AgentKeys(access_key=access_key, secret_key=secret.get_secret_value())

    def _override(self) -> str | None:
        override = self._settings.url_override
        return None if override is None else checked_api_url(override)

    def _check_cattle(self, cattle_url: str) -> None:
        """Errors: JoinError when this host's settings name another cattle."""
        wanted = self._settings.cattle_url
        if wanted is not None and checked_api_url(wanted) != cattle_url:
            raise JoinError(
                f"the bridges of this host's Redis are of {wanted} (CATTLE_URL), and the host "
                f"would join {cattle_url}: use the url of that server, or set CATTLE_URL_OVERRIDE "
                "if both are the same server"
            )

    def _check_same_server(self, url: str, agent: JoinedAgent) -> None:
        if server_of(url) != server_of(agent.cattle_url):
            raise JoinError(
                f"this host has joined {agent.cattle_url}, which is another server than that of "
                "the url: run `cowpoke leave` first"
            )


def _keys_of(agent: JoinedAgent) -> AgentKeys:
    return AgentKeys(access_key=agent.access_key, secret_key=agent.secret_key)
