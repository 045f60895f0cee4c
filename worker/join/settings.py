"""The settings of `cowpoke join` and `cowpoke leave`: those of the worker, and the names that
`rancher/agent` read when it registered.
"""  # noqa: D205 -- one sentence

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from worker.host.identity import DETECTED_IP_FILE
from worker.process.hand_over import JOINED_FILE
from worker.settings import WorkerSettings

#: In the state folder, where the old agent has it.
REGISTER_KEY_FILE = ".registration_token"


def _stripped(value: object) -> object:
    return value.strip().rstrip("/") if isinstance(value, str) else value


class JoinSettings(WorkerSettings):
    """What a host needs to join."""

    registration_url: Annotated[SecretStr | None, BeforeValidator(_stripped)] = Field(
        default=None,
        validation_alias="CATTLE_REGISTRATION_URL",
        description="Url that Rancher's page for a new host shows, `.../v1/scripts/TOKEN`.",
    )
    url_override: Annotated[str | None, BeforeValidator(_stripped)] = Field(
        default=None,
        validation_alias="CATTLE_URL_OVERRIDE",
        description="Url of cattle, instead of the one that the server gives at registration.",
    )
    ca_fingerprint: str | None = Field(
        default=None,
        validation_alias="CA_FINGERPRINT",
        description="SHA-1 or SHA-256 fingerprint of the server's authority; lets the host fetch "
        "and keep the certificate.",
    )
    ca_bundle: Path | None = Field(
        default=None,
        validation_alias="CURL_CA_BUNDLE",
        description="PEM file of the authorities behind cattle's certificate. Default: "
        "`etc/ssl/ca.crt` beside the state folder, if it exists.",
    )

    @property
    def register_key_file(self) -> Path:
        """The file with the key of the register object, which names this host at the server."""
        return self.state_dir / REGISTER_KEY_FILE

    @property
    def joined_file(self) -> Path:
        """The file with the sealed keys of this host's agent."""
        return self.state_dir / JOINED_FILE

    @property
    def detected_ip_file(self) -> Path:
        """The file with the address of this host as the server saw it, for the worker."""
        return self.state_dir / DETECTED_IP_FILE

    @property
    def ca_file(self) -> Path:
        """The server's authority, where the old agent kept it."""
        return self.state_dir.parent / "etc" / "ssl" / "ca.crt"
