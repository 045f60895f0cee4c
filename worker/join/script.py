"""The script that an url for registration answers: four lines of `export NAME=value`.

It is read, never run.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from cowpoke.urls import api_url
from worker.errors import JoinError

#: How the old agent recognizes the script.
BEGIN = "#!/bin/sh"
_EXPORT = re.compile(r"^\s*export\s+([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)
_DEFAULT_USER = "registrationToken"


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """What the server says to a host that wants to register."""

    #: cattle's API, `http://server:8080/v1`.
    cattle_url: str
    user: str
    token: str = field(repr=False)
    #: The address of this host as the server saw it; None if it did not say.
    detected_ip: str | None


def parse_script(text: str) -> Registration:
    """Read the variables of a registration script.

    Errors: JoinError naming the variables that are missing; values are not quoted.
    """
    found = _exports(text)
    names = ("CATTLE_URL", "CATTLE_REGISTRATION_SECRET_KEY")
    missing = [name for name in names if not found.get(name)]
    if missing:
        raise JoinError(
            f"the script of the registration url does not export {', '.join(missing)}; is it the "
            "url that Rancher's page for a new host shows?"
        )
    return Registration(
        cattle_url=checked_api_url(found["CATTLE_URL"]),
        user=found.get("CATTLE_REGISTRATION_ACCESS_KEY") or _DEFAULT_USER,
        token=found["CATTLE_REGISTRATION_SECRET_KEY"],
        detected_ip=found.get("DETECTED_CATTLE_AGENT_IP") or None,
    )


def checked_api_url(url: str) -> str:
    """Return an url of cattle in the one spelling that bridges compare.

    Errors: JoinError.
    """
    try:
        return api_url(url)
    except ValueError as error:
        raise JoinError(f"the url of cattle cannot be used: {error}") from None


def _exports(text: str) -> Mapping[str, str]:
    found = {}
    for name, value in _EXPORT.findall(text):
        try:
            words = shlex.split(value, comments=True)
        except ValueError:
            continue
        found[name] = "".join(words[:1])
    return found
