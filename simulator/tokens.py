"""Registration tokens: what the page "Add host" shows, and what a joining host authenticates with.

A token is `<public value>:<ms>:<signature>`. Its time is the current hour, so that a token object
shows another text every hour; all of them are valid, each for ten years.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.agents import Account
from simulator.wire import epoch_ms

if TYPE_CHECKING:
    from simulator.settings import SimulatorSettings

PROJECT_ACCOUNT_ID = 5
HOUR_MS = 3_600_000
VALID_MS = 10 * 365 * 24 * HOUR_MS
PARTS = 3


@dataclass(slots=True, eq=False)
class RegistrationToken:
    """One token object; it becomes active some time after its creation."""

    token_id: int
    state: str = "registering"
    public_value: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    secret_value: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    def text(self, time_ms: int | None = None) -> str:
        """Return the token of a time, by default of the current hour."""
        if time_ms is None:
            time_ms = int(epoch_ms()) // HOUR_MS * HOUR_MS
        prefix = f"{self.public_value}:{time_ms}"
        digest = hmac.digest(self.secret_value.encode(), prefix.encode(), hashlib.sha1)
        signature = base64.b64encode(digest).decode().translate(str.maketrans("", "", "/=+"))
        return f"{prefix}:{signature}"


class RegistrationTokens:
    """The token objects of the one environment, and their account."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._tokens: list[RegistrationToken] = []
        self.account = Account(PROJECT_ACCOUNT_ID, "project", "", "", role="register")

    def __iter__(self) -> Any:  # noqa: ANN401  an iterator of tokens
        return iter(tuple(self._tokens))

    def create(self) -> RegistrationToken:
        """Return a new token object, not active yet."""
        token = RegistrationToken(len(self._tokens) + 1)
        self._tokens.append(token)
        return token

    def valid(self, text: str) -> Account | None:
        """Return the account of a token; None if it is forged, expired or not active."""
        public_value, _, rest = text.partition(":")
        time_text = rest.partition(":")[0]
        if text.count(":") != PARTS - 1 or not time_text.isdecimal():
            return None
        if epoch_ms() > int(time_text) + VALID_MS:
            return None
        for token in self._tokens:
            if token.public_value == public_value and token.state == "active":
                same = hmac.compare_digest(token.text(int(time_text)).encode(), text.encode())
                return self.account if same else None
        return None

    def to_json(self, token: RegistrationToken, base: str) -> dict[str, Any]:
        """Return a token object as the API shows it; `base` is the address of the API.

        Only an active one has a token, its url, and the command that joins a host.
        """
        own_id = f"1c{token.token_id}"
        shown: dict[str, Any] = {
            "id": own_id,
            "type": "registrationToken",
            "baseType": "credential",
            "kind": "registrationToken",
            "state": token.state,
            "transitioning": "no" if token.state == "active" else "yes",
            "accountId": f"1a{PROJECT_ACCOUNT_ID}",
            "links": {"self": f"{base}/registrationtokens/{own_id}"},
            "actions": {},
        }
        if token.state == "active":
            text = token.text()
            url = f"{base}/scripts/{text}"
            shown["links"]["registrationUrl"] = url
            shown |= {"token": text, "registrationUrl": url, **self._command(url)}
        return shown

    def _command(self, url: str) -> dict[str, str]:
        image, ca_file = self._settings.required_image, self._settings.ca_file
        pinned = (
            "" if ca_file is None else f'-e CA_FINGERPRINT="{fingerprint(ca_file.read_text())}" '
        )
        command = (
            f"sudo docker run --rm --privileged {pinned}"
            "-v /var/run/docker.sock:/var/run/docker.sock -v /var/lib/rancher:/var/lib/rancher"
            f" {image} {url}"
        )
        return {"image": image, "command": command}


def fingerprint(pem: str) -> str:
    """Return the SHA-1 fingerprint of the first certificate of a PEM text, `AB:CD:...`."""
    body = pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
    der = base64.b64decode("".join(body.split()))
    return hashlib.sha1(der, usedforsecurity=False).digest().hex(":").upper()
