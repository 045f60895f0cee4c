"""The bridge's settings: the environment, read once, checked whole, secrets never printed."""

import ssl
import tomllib
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import aiohttp
from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict
from requests.utils import should_bypass_proxies

from bridge.web.settings import HttpSettings
from cowpoke.history import HISTORY_EVENTS
from cowpoke.joined import agent_hash

#: An id as cattle shows it, or the number in it.
_AGENT_ID = r"^(1a)?[0-9]+$"


def _api_url(text: object) -> object:
    """The API's root, as python-agent read it: without a slash at the end, without `/schemas`."""
    if not isinstance(text, str):
        return text
    url = text.strip().rstrip("/").removesuffix("/schemas").rstrip("/")
    wanted = "wanted http(s)://host:port/v1 without user, password, query and fragment"
    try:
        parts = TypeAdapter(AnyHttpUrl).validate_python(url)
    except ValidationError:
        raise ValueError(f"{wanted}, found something else (not shown)") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        # The agents' keys go into a header, and paths are put behind the url.
        raise ValueError(f"{wanted}, found one with some of them (not shown)")
    return url


def _proxy_url(given: object) -> object:
    """Return a proxy's url with its scheme; `host:port` is common too, as with curl."""
    if not isinstance(given, str):
        return given
    url = given.strip()
    url = url if "://" in url else f"http://{url}"
    try:
        parts = TypeAdapter(AnyHttpUrl).validate_python(url)
    except ValidationError:
        parts = None
    if (
        parts is None
        or parts.scheme != "http"
        or parts.path not in {None, "", "/"}
        or parts.query
        or parts.fragment
    ):
        raise ValueError(
            "wanted http://[user:password@]host:port of an HTTP proxy, found something else (not "
            "shown, it may hold a password)"
        )
    return url.rstrip("/")


def _authorities(path: Path | None) -> Path | None:
    if path is not None:
        try:
            ssl.create_default_context(cafile=str(path))
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"no certificates can be read from {path}: {error}") from None
    return path


class AgentKeys(BaseModel):
    """One agent at cattle: its keys, and the host whose workers do its work."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    access_key: str = Field(min_length=1)
    secret_key: SecretStr = Field(min_length=1)
    #: None with a single agent: the worker that announces itself is the host.
    host_uuid: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,255}$")
    #: The agent's id at cattle (`1a5`), for keys of a service account, which may speak for any.
    agent_id: str | None = Field(default=None, pattern=_AGENT_ID)

    def topic(self, event_name: str) -> str:
        """The name under which this agent's events are subscribed to.

        Source: A 1.3. An agent's own keys need no suffix: cattle adds it by itself.
        """
        if self.agent_id is None:
            return event_name
        return f"{event_name};agent={self.agent_id.removeprefix('1a')}"

    @property
    def label(self) -> str:
        """Return the agent's name for logs and metrics; holds no secret."""
        return self.access_key if self.agent_id is None else f"{self.access_key}/{self.agent_id}"

    @property
    def hash(self) -> str:
        """Return the agent's name for keys in Redis."""
        return agent_hash(self.access_key, self.agent_id)

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates a request as this agent."""
        secret = self.secret_key.get_secret_value()
        return {"Authorization": aiohttp.encode_basic_auth(self.access_key, secret, "utf-8")}


class BridgeSettings(HttpSettings):
    """All settings of a bridge."""

    # Proxies are given in lower and in upper case, and the lower case wins, as with curl.
    model_config = SettingsConfigDict(case_sensitive=True)

    cattle_url: Annotated[str, BeforeValidator(_api_url)] = Field(
        validation_alias="CATTLE_URL",
        description="The server, `http(s)://host:port/v1`; a trailing `/schemas` is cut.",
    )
    access_key: str | None = Field(
        default=None, validation_alias="CATTLE_ACCESS_KEY", description="Key of the one agent."
    )
    secret_key: SecretStr | None = Field(
        default=None, validation_alias="CATTLE_SECRET_KEY", description="Secret of the one agent."
    )
    agent_id: str | None = Field(
        default=None,
        pattern=_AGENT_ID,
        validation_alias="CATTLE_AGENT_ID",
        description="The one agent's id (`1a5`); only for keys of a service account.",
    )
    agents: Annotated[tuple[AgentKeys, ...], NoDecode] = Field(
        default=(),
        validation_alias="BRIDGE_AGENTS_FILE",
        validate_default=True,
        repr=False,
        description="TOML file with many agents: `[[agents]]` access_key, secret_key, host_uuid. "
        "Hosts that join (`cowpoke join`) need no entry.",
    )
    intake_limit: int = Field(
        default=10_000,
        gt=0,
        validation_alias="BRIDGE_INTAKE_LIMIT",
        description="Events held in memory while Redis is away; then reading waits.",
    )
    intake_memory_mb: int = Field(
        default=64,
        gt=0,
        validation_alias="BRIDGE_INTAKE_MEMORY_MB",
        description="MB of events held in memory; then reading waits for hosts that have some.",
    )
    outbox_memory_mb: int = Field(
        default=16,
        gt=0,
        validation_alias="BRIDGE_OUTBOX_MEMORY_MB",
        description="MB of outcomes read from Redis and not yet taken by cattle; sending them "
        "needs up to six times as much memory.",
    )
    publish_concurrency: int = Field(
        default=32,
        gt=0,
        le=1000,
        validation_alias="BRIDGE_PUBLISH_CONCURRENCY",
        description="Replies on their way to cattle at once.",
    )
    event_read_timeout_s: float = Field(
        default=15,
        gt=0,
        validation_alias="CATTLE_EVENT_READ_TIMEOUT",
        description="Silence on a websocket (heartbeats come every 5 s) before it is opened anew.",
    )
    unasked_timeout_s: float = Field(
        default=60,
        gt=0,
        validation_alias="BRIDGE_UNASKED_TIMEOUT_S",
        description="Resubscribe after this long without a ping from cattle, which pings every "
        "5 s: it may have disconnected the agent.",
    )
    removed_after_s: float = Field(
        default=240,
        gt=0,
        validation_alias="BRIDGE_REMOVED_AFTER_S",
        description="When cattle has refused an agent's keys four times in this time, its host "
        "counts as removed in Rancher, and is tried only every 2.5 times as long.",
    )
    ca_bundle: Annotated[Path | None, AfterValidator(_authorities)] = Field(
        default=None,
        validation_alias="CURL_CA_BUNDLE",
        description="PEM file of the authorities behind cattle's certificate; else the system's.",
    )
    http_proxy: Annotated[SecretStr | None, BeforeValidator(_proxy_url)] = Field(
        default=None,
        validation_alias=AliasChoices("http_proxy", "HTTP_PROXY"),
        description="HTTP proxy on the way to a cattle with an `http://` url, "
        "`http://[user:password@]host:port`; websockets need its `CONNECT`.",
    )
    https_proxy: Annotated[SecretStr | None, BeforeValidator(_proxy_url)] = Field(
        default=None,
        validation_alias=AliasChoices("https_proxy", "HTTPS_PROXY"),
        description="The same for a cattle with an `https://` url.",
    )
    no_proxy: str | None = Field(
        default=None,
        validation_alias=AliasChoices("no_proxy", "NO_PROXY"),
        description="Hosts that are reached without a proxy: names, domains, addresses, networks "
        "(`10.0.0.0/8`), with commas between, or `*`.",
    )
    history_events: int = Field(
        default=HISTORY_EVENTS,
        ge=0,
        le=100_000,
        validation_alias="BRIDGE_HISTORY_EVENTS",
        description="Finished events kept of each host for `cowpoke events`, about 1 KB each; "
        "0 keeps none.",
    )
    drain_timeout_s: float = Field(
        default=10,
        ge=0,
        validation_alias="BRIDGE_DRAIN_TIMEOUT_S",
        description="How long a stopping bridge goes on publishing what is done.",
    )
    debug: bool = Field(default=False, validation_alias="CATTLE_DEBUG", description="Log more.")

    @cached_property
    def proxy(self) -> str | None:
        """Return the url of the proxy to cattle, or None; it may hold a password."""
        is_tls = self.cattle_url.startswith("https")
        proxy = self.https_proxy if is_tls else self.http_proxy
        # An empty list, not None: that would read the environment.
        if proxy is None or should_bypass_proxies(self.cattle_url, self.no_proxy or ""):
            return None
        return proxy.get_secret_value()

    @field_validator("agents", mode="before")
    @classmethod
    def _from_file_or_keys(cls, path: object, info: ValidationInfo) -> tuple[AgentKeys, ...]:
        if path:
            return _read_agents(Path(str(path)))
        access_key, secret_key = info.data.get("access_key"), info.data.get("secret_key")
        if access_key is None and secret_key is None:
            # Hosts that join bring their own agents.
            return ()
        if access_key is None or secret_key is None:
            given = {"CATTLE_ACCESS_KEY": access_key, "CATTLE_SECRET_KEY": secret_key}
            missing = " and ".join(name for name, value in given.items() if value is None)
            raise ValueError(
                f"not set, and {missing} not either: give both keys of one agent, a file with many "
                "agents, or none of them when hosts join by themselves"
            )
        agent_id = info.data.get("agent_id")
        return (AgentKeys(access_key=access_key, secret_key=secret_key, agent_id=agent_id),)


def _read_agents(path: Path) -> tuple[AgentKeys, ...]:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    try:
        agents = TypeAdapter(tuple[AgentKeys, ...]).validate_python(content.get("agents", ()))
    except ValidationError as error:
        faults = "; ".join(
            f"agents.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ValueError(f"{path}: {faults}") from None
    if not agents:
        raise ValueError(f"{path} contains no [[agents]] section")
    nameless = [agent.access_key for agent in agents if agent.host_uuid is None]
    if nameless and len(agents) > 1:
        raise ValueError(
            f"{path}: with many agents each needs a host_uuid; missing for {', '.join(nameless)}"
        )
    times = Counter((agent.access_key, agent.agent_id) for agent in agents)
    repeated = [access_key for (access_key, _), count in times.items() if count > 1]
    if repeated:
        raise ValueError(
            f"{path}: each agent has keys of its own, or an agent_id of its own with the keys of a "
            f"service account; twice: {', '.join(repeated)}"
        )
    return agents
