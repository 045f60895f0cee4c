"""The container `rancher-agent`: its keys, its settings and the identity of its host.

Its keys are only in its environment. Its files are read through the Engine, so that it does not
matter whether they are on the host or in a volume, or whether the container runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cowpoke.keys import is_host_uuid
from worker.container import Container
from worker.engine import archives, containers
from worker.engine.client import Engine
from worker.errors import JoinError
from worker.join.registration import AgentKeys
from worker.join.script import checked_api_url

NAME = "rancher-agent"
UPGRADE_NAME = "rancher-agent-upgrade"
#: The old agent reports for up to 4 minutes after its stop without being missed.
_STOP_S = 10

#: What is read are keys and uuids.
MOST_FILE_BYTES = 1024 * 1024

#: Where its state is; agents before 1.0 had it in the second folder.
_STATE_FOLDERS = ("/var/lib/rancher/state", "/var/lib/cattle")
_SSL = "/var/lib/rancher/etc/ssl"
#: Settings of the old agent that a worker knows by the same names.
KEPT_SETTINGS = (
    "CATTLE_AGENT_IP",
    "CATTLE_HOST_LABELS",
    "CATTLE_SCHEDULER_IPS",
    "CATTLE_SCHEDULER_REQUIRE_ANY",
    "CATTLE_HOST_API_PROXY",
    "CATTLE_MEMORY_OVERRIDE",
    "CATTLE_MILLI_CPU_OVERRIDE",
    "CATTLE_LOCAL_STORAGE_MB_OVERRIDE",
    "CATTLE_DETECT_CLOUD_PROVIDER",
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OldAgent:
    """The old agent of this host, running or stopped."""

    container_id: str
    is_running: bool
    restart_policy: str
    cattle_url: str
    keys: AgentKeys
    host_uuid: str
    #: File name in the state folder -> content; the uuids and the register key.
    state_files: Mapping[str, str] = field(repr=False)
    #: File name in the folder of keys -> content; the host's key and the server's authority.
    ssl_files: Mapping[str, bytes] = field(repr=False)
    #: Variable -> value, without empty ones.
    settings: Mapping[str, str] = field(repr=False)


def read_old_agent(engine: Engine) -> OldAgent:
    """Read all of the old agent.

    Errors: JoinError when there is none, or when it lacks what a take-over needs; EngineError.
    """
    found = _found(engine)
    upgrade = containers.inspect(engine, UPGRADE_NAME)
    if upgrade is not None and upgrade.is_running:
        raise JoinError(
            f"the container {UPGRADE_NAME} is replacing {NAME} just now; try again when it is gone"
        )
    variables = _variables(found)
    names = ("CATTLE_URL", "CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY")
    missing = [name for name in names if not variables.get(name)]
    if missing:
        raise JoinError(
            f"the container {NAME} has no {', '.join(missing)} in its environment; is it an agent "
            "of Rancher 1.x that was registered by its command?"
        )
    files = {
        name: text
        for name in (".docker_uuid", ".physical_host_uuid", ".registration_token")
        if (text := _state_file(engine, found.id, name)) is not None
    }
    for variable, name in (
        ("CATTLE_DOCKER_UUID", ".docker_uuid"),
        ("CATTLE_PHYSICAL_HOST_UUID", ".physical_host_uuid"),
    ):
        if variables.get(variable):
            files[name] = variables[variable]
    host_uuid = files.get(".docker_uuid", "")
    if not is_host_uuid(host_uuid):
        raise JoinError(
            f"the container {NAME} has no usable host uuid in {_STATE_FOLDERS[0]}/.docker_uuid; "
            "has it ever been connected?"
        )
    return OldAgent(
        container_id=found.id,
        is_running=found.is_running,
        restart_policy=_restart_policy(found),
        cattle_url=checked_api_url(variables["CATTLE_URL"]),
        keys=AgentKeys(
            access_key=variables["CATTLE_ACCESS_KEY"], secret_key=variables["CATTLE_SECRET_KEY"]
        ),
        host_uuid=host_uuid,
        state_files=files,
        ssl_files={
            name: content
            for name in ("host.key", "ca.crt")
            if (content := _file(engine, found.id, f"{_SSL}/{name}"))
        },
        settings={name: variables[name] for name in KEPT_SETTINGS if variables.get(name)},
    )


def put_aside(engine: Engine, agent: OldAgent) -> None:
    """Stop the old agent, so that neither Docker nor a restart of the machine starts it again.

    Errors: EngineError.
    """
    containers.set_restart_policy(engine, agent.container_id, "no")
    containers.stop(engine, agent.container_id, timeout_s=_STOP_S)


def bring_back(engine: Engine, policy: str = "always") -> None:
    """Start the old agent again.

    Errors: JoinError when there is none; EngineError.
    """
    found = _found(engine)
    containers.set_restart_policy(engine, found.id, policy)
    containers.start(engine, found.id)


def check_old_agent_stopped(engine: Engine) -> None:
    """Errors: JoinError while the old agent runs: with its register key it has the same keys."""
    found = containers.inspect(engine, NAME)
    if found is not None and found.is_running:
        raise JoinError(
            f"the container {NAME} runs on this host, and both would get every event: use "
            "`cowpoke join --take-over` to continue as its host, or stop it first"
        )


def has_old_agent(engine: Engine) -> bool:
    """Return whether the container exists."""
    return containers.inspect(engine, NAME) is not None


def _found(engine: Engine) -> Container:
    found = containers.inspect(engine, NAME)
    if found is None:
        raise JoinError(
            f"this host has no container {NAME}; run the command of Rancher's page for a new host "
            "again: the state folder has the identity of the host"
        )
    return found


def _variables(found: Container) -> dict[str, str]:
    lines: Any = (found.inspect or {}).get("Config", {}).get("Env") or []
    return {name: value for name, _, value in (str(line).partition("=") for line in lines)}


def _restart_policy(found: Container) -> str:
    policy: Any = (found.inspect or {}).get("HostConfig", {}).get("RestartPolicy") or {}
    return str(policy.get("Name") or "no")


def _state_file(engine: Engine, container_id: str, name: str) -> str | None:
    for folder in _STATE_FOLDERS:
        content = _file(engine, container_id, f"{folder}/{name}")
        if content and (text := content.decode(errors="replace").strip()):
            return text
    return None


def _file(engine: Engine, container_id: str, path: str) -> bytes | None:
    found = archives.read(engine, container_id, path, at_most_bytes=MOST_FILE_BYTES)
    return None if found is None else found.content
