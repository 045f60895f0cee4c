"""`cowpoke join --take-over`: continue as the host of the container `rancher-agent`.

The same agent keys and the same host uuid make it the same host for Rancher. The old container is
the way back, so it is stopped and kept. It is stopped last, and started again when no bridge takes
the host.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from cowpoke.files import replace_file
from cowpoke.joined import JoinedAgent, take_back
from worker.engine.client import Engine
from worker.errors import JoinError, WorkerError
from worker.join.http import Http
from worker.join.joining import Joining, Say
from worker.join.old_agent import NAME, OldAgent, bring_back, put_aside
from worker.join.ready import wait_released
from worker.join.registration import check_keys_live, seen_address
from worker.join.script import checked_api_url
from worker.join.settings import JoinSettings

_STATE_MODE, _KEY_MODE, _AUTHORITY_MODE, _SETTING_MODE = 0o600, 0o400, 0o644, 0o600

#: A bridge that hears of it lets the host go at once.
_RELEASE_S = 10.0

BACK = (
    "to go back: `cowpoke leave --give-back`, or by hand: stop cowpoke on this host, then "
    f"`docker update --restart=always {NAME} && docker start {NAME}`"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file of the old agent, and where it goes."""

    path: Path
    content: bytes
    mode: int


class TakingOver:
    """A take-over of one old agent."""

    def __init__(
        self, settings: JoinSettings, engine: Engine, agent: OldAgent, *, credentials: Path | None
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._agent = agent
        self._credentials = credentials

    def check(self) -> None:
        """Errors: JoinError when this host is another one already, or of another cattle."""
        kept = _text(self._settings.docker_uuid_file).strip() or None
        ours = self._settings.docker_uuid or kept
        if ours is not None and ours != self._agent.host_uuid:
            raise JoinError(
                f"cowpoke on this machine is host {ours}, and {NAME} is host "
                f"{self._agent.host_uuid}: stop the worker, unset CATTLE_DOCKER_UUID, remove "
                f"{self._settings.docker_uuid_file}, and use a bundle of that host, made by "
                f"`cowpoke hosts add --host {self._agent.host_uuid}`"
            )
        wanted = self._settings.cattle_url
        if wanted is not None and checked_api_url(wanted) != self._agent.cattle_url:
            raise JoinError(
                f"the bridges of this host's Redis are of {wanted} (CATTLE_URL), and {NAME} is of "
                f"{self._agent.cattle_url}"
            )

    def plan(self) -> Iterator[str]:
        """Say what would be done."""
        agent = self._agent
        yield f"host {agent.host_uuid} of {agent.cattle_url}, agent {agent.keys.access_key}"
        for file in self._files():
            if _bytes(file.path) != file.content:
                yield f"would write {file.path}"
        if self._lost:
            yield f"would not keep {', '.join(self._lost)}: no folder, see --credentials"
        yield f"would keep the keys in {self._settings.joined_file} and hand them to the bridges"
        if agent.is_running or agent.restart_policy != "no":
            yield f"would stop the container {NAME} and set its restart policy to no; it is kept"
        yield BACK

    def prepare(self, say: Say) -> None:
        """Write the identity and the settings of the old agent, before the worker starts.

        Errors: JoinError.
        """
        for file in self._files():
            if _bytes(file.path) == file.content:
                continue
            try:
                replace_file(file.path, file.content, file.mode)
            except OSError as error:
                raise JoinError(f"cannot write {file.path}: {error.strerror}") from None
            say(f"written: {file.path}")
        if self._lost:
            say(
                f"not kept: {', '.join(self._lost)} of {NAME}; set them for the worker, or give "
                "--credentials a folder"
            )

    @property
    def _lost(self) -> list[str]:
        """The settings of the old agent that the worker does not get."""
        return list(self._agent.settings) if self._credentials is None else []

    def run(self, client: "redis.Redis", joining: Joining, say: Say) -> None:
        """Take over; the worker of this host must run, or start meanwhile.

        Errors: JoinError, EngineError, redis.RedisError; the old agent runs again then.
        """
        agent = self._agent
        joining.wait_ready()
        ca_file = self._settings.ca_bundle or self._settings.ca_file
        with Http(self._settings.proxy_variables, ca_file if ca_file.exists() else None) as http:
            check_keys_live(http, agent.cattle_url, agent.keys)
            address = agent.settings.get("CATTLE_AGENT_IP")
            if address is None:
                # The old agent asks at each start.
                address = seen_address(http, agent.cattle_url)
            # Also one that is given: the worker may not get the setting.
            joining.keep_detected_ip(address)
        try:
            put_aside(self._engine, agent)
            say(f"stopped the container {NAME}; it is kept, with restart policy no")
            joining.finish(
                JoinedAgent(
                    host_uuid=agent.host_uuid,
                    cattle_url=agent.cattle_url,
                    access_key=agent.keys.access_key,
                    secret_key=agent.keys.secret_key,
                    joined_ms=time.time_ns() // 1_000_000,
                    hostname=joining.hostname,
                )
            )
        except (WorkerError, redis.RedisError):
            self._undo(client, joining, say)
            raise
        if self._is_worker_older(joining):
            say("restart the worker of this host: it started before its settings were written")
        say(BACK)

    def _is_worker_older(self, joining: Joining) -> bool:
        """Whether a worker started before a setting of the old agent was written for it."""
        since_ms = joining.workers_since_ms()
        if since_ms is None or self._credentials is None:
            return False
        written = (self._credentials / name for name in self._agent.settings)
        return any(path.stat().st_mtime * 1000 > since_ms for path in written)

    def _undo(self, client: "redis.Redis", joining: Joining, say: Say) -> None:
        if not self._agent.is_running:
            return
        # First: the worker would hand them over again.
        joining.kept.forget()
        try:
            take_back(client, self._agent.host_uuid)
            access_key = self._agent.keys.access_key
            wait_released(client, self._agent.host_uuid, access_key, wait_s=_RELEASE_S)
        except redis.RedisError as error:
            # Two agents of one host get every event twice.
            say(f"{NAME} was not started again, because Redis does not answer ({error}); {BACK}")
            return
        bring_back(self._engine, self._agent.restart_policy)
        say(f"the take-over failed: started the container {NAME} again")

    def _files(self) -> Iterator[_File]:
        settings, agent = self._settings, self._agent
        places = {
            # The old agent does not trim them: a newline would make another host on the way back.
            ".docker_uuid": settings.docker_uuid_file,
            ".physical_host_uuid": settings.physical_host_uuid_file,
        }
        for name, text in agent.state_files.items():
            path = places.get(name, settings.state_dir / name)
            ending = "" if name in places else "\n"
            yield _File(path=path, content=f"{text}{ending}".encode(), mode=_STATE_MODE)
        for name, content in agent.ssl_files.items():
            if name == "host.key":
                yield _File(path=settings.host_key_file, content=content, mode=_KEY_MODE)
            else:
                yield _File(path=settings.ca_file, content=content, mode=_AUTHORITY_MODE)
        if self._credentials is not None:
            for name, value in agent.settings.items():
                path = self._credentials / name
                yield _File(path=path, content=value.encode(), mode=_SETTING_MODE)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _text(path: Path) -> str:
    return (_bytes(path) or b"").decode(errors="replace")
