"""Check the urls and the address with which a host joins, before anything is asked of a server.

Rules of the old agent (`agent/run.sh`), which Rancher's documentation describes.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from worker.errors import JoinError

_QUAD = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
#: Other loopback addresses are nobody's mistake, and serve tests.
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_VERSION = re.compile(r"/v\d[^/]*(?:/.*)?$")


def is_agent_ip(address: str) -> bool:
    """Return whether other hosts may reach an IPv4 address."""
    try:
        found = ipaddress.IPv4Address(address) if _QUAD.fullmatch(address) else None
    except ValueError:
        found = None
    return found is not None and not (
        found.is_loopback or address in {"0.0.0.0", "255.255.255.255"}  # noqa: S104 -- refused
    )


def check_agent_ip(address: str | None) -> None:
    """Check the address of CATTLE_AGENT_IP; None is allowed: the server detects one then.

    Errors: JoinError.
    """
    if address is not None and not is_agent_ip(address):
        raise JoinError(
            "CATTLE_AGENT_IP: wanted an IPv4 address that other hosts reach, such as 192.0.2.10, "
            f"found {address[:60]!r}"
        )


def check_registration_url(url: str) -> None:
    """Check an url for registration.

    Errors: JoinError; the url is not quoted, because it contains a token.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not host:
        raise JoinError(
            "the registration url is no http(s) url (not shown, it contains a token); copy it "
            "whole from the page for a new host"
        )
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
        raise JoinError(
            f"the registration url names {host}, which is this machine for every host: set the "
            "host registration url in Rancher's settings to an address that hosts reach, and copy "
            "the new url"
        )


def server_of(url: str) -> str:
    """Return the part of an url before the API version, `http://server:8080`."""
    return _VERSION.sub("", url.rstrip("/")).lower()
