"""Settings of managed networks.

Part of `worker.settings.WorkerSettings`, which sets how the environment is read.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class NetworkSettings(BaseSettings):
    """How long containers and events wait for a managed network."""

    network_wait_limit_s: int = Field(
        default=300,
        gt=0,
        le=86_400,
        validation_alias="WORKER_NETWORK_WAIT_LIMIT_S",
        description="Maximum time a container in a managed network waits for its network before "
        "its program starts; then it exits with code 124. Whole seconds.",
    )
    network_address_wait_s: float = Field(
        default=25,
        ge=0,
        le=40,
        validation_alias="WORKER_NETWORK_ADDRESS_WAIT_S",
        description="Maximum time from the start of such a container to the reply, which contains "
        "its address. cattle waits 30 s before it fails the sidekicks.",
    )
    network_state_dir: Path = Field(
        default=Path("/var/lib/rancher/state/cni"),
        validation_alias="WORKER_NETWORK_STATE_DIR",
        description="Folder in which Rancher's plugin-manager writes addresses and errors of CNI.",
    )
    network_wait_program: Path | None = Field(
        default=None,
        validation_alias="WORKER_NETWORK_WAIT_PROGRAM",
        description="A static program that replaces ours in the volume `rancher-cni`, for machines "
        "other than x86_64 and aarch64; `scripts/wait-program` builds one.",
    )
