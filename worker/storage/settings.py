"""Settings of the storage drivers.

Part of `worker.settings.WorkerSettings`, which sets how the environment is read.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class StorageSettings(BaseSettings):
    """Where Rancher's storage drivers listen, and how long they may work."""

    storage_dir: Path = Field(
        default=Path("/var/run/rancher/storage"),
        validation_alias="WORKER_STORAGE_DIR",
        description="Folder with the sockets of Rancher's storage drivers.",
    )
    storage_timeout_s: float = Field(
        default=300,
        gt=0,
        validation_alias="WORKER_STORAGE_TIMEOUT_S",
        description="Maximum time of a call to a storage driver. An event waits within its own "
        "time only; the call goes on, and a later event finds the volume.",
    )
