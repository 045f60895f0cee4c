"""Settings of the connection to the Docker Engine, and of the work it does.

Part of `worker.settings.WorkerSettings`, which sets how the environment is read.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode


def _words(text: object) -> object:
    return tuple(text.replace(",", " ").split()) if isinstance(text, str) else text


class EngineSettings(BaseSettings):
    """How the worker reaches the Docker Engine, and how long it waits for it."""

    docker_enabled: bool = Field(
        default=True,
        validation_alias="CATTLE_DOCKER_ENABLED",
        description="`false`: container events fail, pings report no resources.",
    )
    docker_required: bool = Field(
        default=False,
        validation_alias="CATTLE_DOCKER_REQUIRED",
        description="`true`: do not start without the Engine. `false`: events wait for the Engine.",
    )
    docker_host: str = Field(
        default="unix:///var/run/docker.sock",
        validation_alias=AliasChoices("CATTLE_DOCKER_URL_BASE", "DOCKER_HOST"),
        description="Address of the Engine, in the format of the docker command.",
    )
    docker_tls_verify: Annotated[bool, BeforeValidator(bool)] = Field(
        default=False,
        validation_alias="DOCKER_TLS_VERIFY",
        description="Any text: verify the certificate of the Engine.",
    )
    docker_cert_path: Path | None = Field(
        default=None,
        validation_alias="DOCKER_CERT_PATH",
        description="Folder with ca.pem, cert.pem and key.pem for the Engine.",
    )
    docker_api_version: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "CATTLE_DOCKER_API_VERSION", "CATTLE_DOCKER_STORAGE_API_VERSION"
        ),
        description="Version of the Engine API. Default: negotiated.",
    )
    engine_timeout_s: float = Field(
        default=60,
        gt=0,
        validation_alias="WORKER_ENGINE_TIMEOUT_S",
        description="Timeout of a call to the Engine, within the time of its event (stops and "
        "pulls have their own).",
    )
    engine_concurrency: int = Field(
        default=0,
        ge=0,
        le=1000,
        validation_alias="WORKER_ENGINE_CONCURRENCY",
        description="Maximum number of creates, starts, stops and removals at once on this "
        "host. 0: no limit, but 1 on devicemapper.",
    )
    ping_engine_timeout_s: float = Field(
        default=2,
        gt=0,
        validation_alias="WORKER_PING_ENGINE_TIMEOUT_S",
        description="Maximum time a ping waits for the Engine's container list; then it replies "
        "without.",
    )
    pull_idle_timeout_s: float = Field(
        default=90,
        gt=0,
        validation_alias="WORKER_PULL_IDLE_TIMEOUT_S",
        description="A pull without progress for this long fails.",
    )
    build_idle_timeout_s: float = Field(
        default=600,
        gt=0,
        validation_alias="WORKER_BUILD_IDLE_TIMEOUT_S",
        description="An image build without output for this long fails.",
    )
    build_most_bytes: int = Field(
        default=512 * 1024 * 1024,
        gt=0,
        validation_alias="WORKER_BUILD_MOST_BYTES",
        description="Maximum size of a tar file that is downloaded for an image build.",
    )
    build_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(),
        validation_alias="WORKER_BUILD_HOSTS",
        description="Hosts to build images from, such as `github.com,*.example.org`. Default: "
        "all but link-local addresses.",
    )
