"""Where a bridge serves HTTP; also read by `cowpoke bridge health`, which needs nothing else."""

from pydantic import Field

from cowpoke.settings import BrokerSettings


class HttpSettings(BrokerSettings):
    """The address of a bridge's status page, health and metrics."""

    http_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        validation_alias="BRIDGE_HTTP_PORT",
        description="Port of the status page, of `/livez`, `/readyz` and of `/metrics` for "
        "Prometheus; 0 takes a free one. Default: none is opened.",
    )
    http_host: str = Field(
        default="127.0.0.1",
        validation_alias="BRIDGE_HTTP_HOST",
        description="Address on which it listens. There is no login: whoever reaches it sees the "
        "names of hosts and containers, and the texts of errors.",
    )
    http_names: str | None = Field(
        default=None,
        validation_alias="BRIDGE_HTTP_NAMES",
        description="Names by which it may be asked, with commas between, besides addresses and "
        "`localhost`: somebody else's web page could point its own name at it. Default: none on "
        "loopback, any on another address.",
    )
    host_series: int = Field(
        default=1000,
        ge=0,
        validation_alias="BRIDGE_HOST_SERIES",
        description="Hosts up to which each has series of its own on `/metrics`. With more hosts, "
        "or 0, there are sums over all hosts only, which are all that the alert rules need.",
    )
