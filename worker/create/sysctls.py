"""The sysctls of the container, and those of its network interface."""

import re
from collections.abc import Mapping

#: From this API version on the sysctls of an interface belong to its endpoint. Docker 28 and newer
#: refuse them among the container's.
SYSCTLS_PER_ENDPOINT = (1, 46)
#: The driver option of the endpoint: `net.ipv4.conf.IFNAME.NAME=VALUE`, separated by commas.
ENDPOINT_OPTION = "com.docker.network.endpoint.sysctls"

#: Docker calls the interface of a container's first endpoint eth0.
_OF_FIRST_INTERFACE = re.compile(r"(net\.(?:ipv4|ipv6|mpls)\.[^.]+)\.eth0\.(.+)")
_WITHOUT_ITS_NAME = r"\1.IFNAME.\2"


def of_endpoint(sysctls: Mapping[str, str]) -> dict[str, str]:
    """Return the sysctls of the first interface.

    A value with a comma cannot be part of the endpoint's option and is left out.
    """
    return {
        name: value
        for name, value in sysctls.items()
        if _OF_FIRST_INTERFACE.fullmatch(name) and "," not in value
    }


def driver_options(sysctls: Mapping[str, str]) -> dict[str, str]:
    """Return the driver options of the endpoint for the sysctls of its interface."""
    if not sysctls:
        return {}
    written = (
        f"{_OF_FIRST_INTERFACE.sub(_WITHOUT_ITS_NAME, name)}={value}"
        for name, value in sysctls.items()
    )
    return {ENDPOINT_OPTION: ",".join(written)}
