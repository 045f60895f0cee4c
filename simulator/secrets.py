"""Rancher secrets: a volume whose driver fetches them, encrypted for one host.

    control API -> secrets of a host, a token -> the volume in an activate event
    POST /secrets with the token -> each secret, wrapped anew with the host's own key

The key is exactly what the host reported as `info.hostKey.data`: PKIX under any PEM label. Without
it, or with another host's, the driver cannot read anything. A wrapped secret is base64 of a JSON
object: the text under a fresh AES key, and that key under RSA-OAEP with SHA-256.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from simulator.volumes import DataVolume
from simulator.wire import CattleRefusalError

if TYPE_CHECKING:
    from simulator.agents import Agents
    from simulator.hosts import Host

CONTENT_TYPE = "application/x-api-secrets-token"
DRIVER = "rancher-secrets"
TOKEN_OPTION = "io.rancher.secrets.token"  # noqa: S105  the name of an option
MOUNT_PATH = "/run/secrets"
FIRST_VOLUME_ID = 9000
KEY_BYTES = 32
NONCE_BYTES = 12
_PEM = re.compile(r"-----BEGIN [^-]+-----(.+?)-----END [^-]+-----", re.DOTALL)
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


@dataclass(slots=True)
class _Bundle:
    """The secrets of one volume."""

    host: Host
    entries: list[dict[str, str]]


class Secrets:
    """All secrets volumes, and the handler of /secrets."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._bundles: dict[str, _Bundle] = {}

    def volume(self, host: Host, entries: list[dict[str, str]]) -> DataVolume:
        """Return the volume that gives an instance on a host secrets.

        Each entry has `name` and `value`, and may have `uid`, `gid` and `mode`.
        """
        number = len(self._bundles)
        token = ".".join(secrets.token_urlsafe(24) for _ in range(3))
        self._bundles[token] = _Bundle(host, entries)
        return DataVolume(
            id=FIRST_VOLUME_ID + number,
            name=hashlib.sha256(token.encode()).hexdigest(),
            driver=DRIVER,
            driver_opts={TOKEN_OPTION: json.dumps({"value": token})},
            path=MOUNT_PATH,
        )

    async def post(self, request: web.Request) -> web.Response:
        """Return the secrets of a token, wrapped with the key of their host.

        Errors: 401; 403 for an unknown token; 404 for another content type or another agent's
        host; 500 while the host has no key that can be used.
        """
        account = self._agents.authenticate(request, "secret")
        if request.content_type.lower() != CONTENT_TYPE:
            raise CattleRefusalError("Not Found", 404, "NotFound")
        bundle = self._bundles.get(_token_of(await request.read()))
        if bundle is None:
            raise CattleRefusalError("Access Denied", 403, "Forbidden")
        if bundle.host.agent not in account.agents or bundle.host.state == "removed":
            raise CattleRefusalError("Not Found", 404, "NotFound")
        try:
            key = public_key(bundle.host.host_key)
        except ValueError as error:
            raise CattleRefusalError(
                f"Failed to rewrap secret: {error}", 500, "ServerError"
            ) from None
        defaults = {"uid": None, "gid": None, "mode": None}
        return web.json_response(
            [
                {
                    **defaults,
                    **{name: value for name, value in entry.items() if name != "value"},
                    "rewrapText": wrap(key, entry["value"]),
                }
                for entry in bundle.entries
            ]
        )


def public_key(pem: str | None) -> rsa.RSAPublicKey:
    """Return the key of a reported `hostKey.data`, whatever its PEM label says.

    Errors: ValueError if it is missing, no PEM, or no PKIX key for RSA.
    """
    match = _PEM.search(pem or "")
    if match is None:
        raise ValueError("the host has reported no key in PEM")
    try:
        der = base64.b64decode("".join(match[1].split()), validate=True)
        key = load_der_public_key(der)
    except (ValueError, binascii.Error) as error:
        raise ValueError("the reported key cannot be read") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the reported key is not for RSA")  # noqa: TRY004  the key's own fault
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise ValueError("the reported key is not in PKIX form")  # cattle reads no PKCS#1
    return key


def wrap(key: rsa.RSAPublicKey, text: str) -> str:
    """Return a text encrypted for the holder of a key, as the driver reads it."""
    aes_key, nonce = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    sealed = {
        "Nonce": base64.b64encode(nonce).decode(),
        "Algorithm": "aes256-gcm",
        "CipherText": base64.b64encode(
            AESGCM(aes_key).encrypt(nonce, text.encode(), None)
        ).decode(),
    }
    envelope = {
        "encryptionAlgorithm": "aes256-gcm96",
        "encryptedText": json.dumps(sealed),
        "hashAlgorithm": "",
        "encryptedKey": {
            "encryptionAlgorithm": "PKCS1_OAEP",
            "encryptedText": base64.b64encode(key.encrypt(aes_key, _OAEP)).decode(),
            "hashAlgorithm": "sha256",
        },
    }
    return base64.b64encode(json.dumps(envelope).encode()).decode()


def unwrap(key: rsa.RSAPrivateKey, wrapped: str) -> str:
    """Return the text that was wrapped for a key: the driver's side, for tests and stand-ins.

    Errors: ValueError if it was wrapped for another key.
    """
    envelope: Any = json.loads(base64.b64decode(wrapped))
    aes_key = key.decrypt(base64.b64decode(envelope["encryptedKey"]["encryptedText"]), _OAEP)
    sealed = json.loads(envelope["encryptedText"])
    nonce, text = (base64.b64decode(sealed[name]) for name in ("Nonce", "CipherText"))
    return AESGCM(aes_key).decrypt(nonce, text, None).decode()


def _token_of(raw: bytes) -> str:
    """Return the token of a body `{"value": token}`, or an empty text."""
    try:
        body: Any = json.loads(raw)
    except ValueError:
        return ""
    return str(body.get("value", "")) if isinstance(body, dict) else ""
