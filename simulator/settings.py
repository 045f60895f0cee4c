"""Settings of the simulated cattle server; the defaults are those of cattle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

AgentState = Literal[
    "registering",
    "inactive",
    "activating",
    "active",
    "reconnecting",
    "reconnected",
    "finishing-reconnect",
    "disconnecting",
    "disconnected",
    "removed",
]


class AgentSettings(BaseModel):
    """One agent and the keys of its account; agents with the same access key share one account.

    Kinds without an agent: `service` subscribes RAW for any agent; `project` is an API key of the
    environment that hosts join.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_key: str = Field(min_length=1)
    secret_key: SecretStr
    kind: Literal["agent", "service", "project"] = "agent"
    agent_id: int | None = Field(None, gt=0, description="database number; counted up when absent")
    state: AgentState = "active"


FIRST_HEARTBEAT_FACTOR = 1.2
DEFAULT_AGENT = AgentSettings(
    access_key="simulated-agent", secret_key=SecretStr("only-on-loopback")
)


class SimulatorSettings(BaseSettings):
    """Settings from the environment (`SIMULATOR_*`)."""

    model_config = SettingsConfigDict(env_prefix="SIMULATOR_", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(0, ge=0, le=65535, description="0 takes a free port")
    control_from_gateway: bool = Field(
        default=False,
        description="true also serves the control API to the gateway of a container's network: the"
        " machine of the container, by a published port",
    )
    agents: tuple[AgentSettings, ...] = Field((DEFAULT_AGENT,), description="JSON list of agents")
    security_enabled: bool = Field(
        default=True, description="false takes unknown keys for admin's, as a fresh cattle does"
    )
    strict_publish: bool = Field(
        default=False,
        description="true refuses replies that cattle accepts by luck: fractions in integer"
        " fields, a text in place of the list previousIds, unknown words in transitioning."
        " The tests of bridge and worker turn it on, because none of these may leave the bridge",
    )
    heartbeat_s: float = Field(5, gt=0)
    first_heartbeat_s: float = Field(
        default_factory=lambda data: FIRST_HEARTBEAT_FACTOR * data["heartbeat_s"],
        gt=0,
        description="time from the opening of a socket to its first heartbeat; 6 s at cattle,"
        " and 6/5 of heartbeat_s when not given",
    )
    max_heartbeats: int = Field(8640, gt=0, description="then the socket is closed (12 h)")
    frame_limit: int = Field(100, gt=0, description="unflushed frames a socket may have")
    ping_interval_s: float = Field(5, ge=0, description="0 sends no pings")
    ping_timeout_s: float = Field(15, gt=0)
    reconnect_after_misses: int = Field(6, gt=0)
    reconnect_ping_timeout_s: float = Field(2, gt=0)
    reconnect_ping_sends: int = Field(30, gt=0)
    disconnect_after_s: float = Field(180, gt=0)
    clock_offset_ms: int = Field(0, description="added to the `time` of every event")
    api_host: str = Field(
        "", description="address before /v1 that scripts name; empty names the caller's"
    )
    tls_certificate_file: Path | None = Field(None, description="serves https, with the next two")
    tls_key_file: Path | None = None
    ca_file: Path | None = Field(None, description="certificate that /v1/scripts/ca.crt gives")
    required_image: str = Field(
        "rancher/agent:v1.2.11", description="image of the join command and of the bootstrap script"
    )
    registration_delay_s: float = Field(
        0.1, ge=0, description="until a registration token or a register object becomes active"
    )
    registers_outlive_agents: bool = Field(
        default=True,
        description="the register object of a removed agent stays and shows dead keys; false"
        " removes it with its agent, so that the same register key makes another agent",
    )
    report_cache_s: float = Field(
        30, ge=0, description="an agent's report equal to one of this age is skipped"
    )
    agent_cleanup_after_s: float = Field(
        900, ge=0, description="from the start to the first removal of agents without live hosts"
    )
    agent_cleanup_interval_s: float = Field(60, gt=0)
    manage_containers: bool = Field(
        default=True, description="manage.nonrancher.containers: false passes over every event"
    )
    sync_instances: bool = Field(
        default=False,
        description="true acts on the lists of containers in pings as cattle does; false suits"
        " agents with containers that the simulator never heard of",
    )
    container_events_max: int = Field(
        150, gt=0, description="unprocessed container events of a host; more starts are refused"
    )
    container_event_delay_s: float = Field(0, ge=0, description="before an event is processed")
    transition_wait_s: float = Field(
        3, ge=0, description="how long an event waits for the end of its instance's process"
    )
    listed_again_s: float = Field(
        900, ge=0, description="until an equal event of a ping's list is made again"
    )
