"""What a new host needs of the hub, as one line: `cowpoke hosts add` prints it, `join` stores it.

It is base64url of JSON. It contains the password of the host's Redis user and the key of the host:
whoever has it can be this host, and no other one.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cowpoke.files import replace_file
from cowpoke.keys import is_host_uuid
from cowpoke.redis_url import check_redis_url
from cowpoke.seal import Sealer, key_list
from cowpoke.urls import api_url

_KIND = "cowpoke-host"
_VERSION = 1
_MOST_CHARACTERS = 256 * 1024
_MODE = 0o600
CA_FILE = "redis-ca.crt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """The settings of one host."""

    host_uuid: str
    #: With user and password of the host, as the host reaches Redis.
    redis_url: str = field(repr=False)
    #: One key, or several with commas between.
    host_key: str = field(repr=False)
    #: PEM of the authority behind the certificate of Redis; None for the system's, or without TLS.
    redis_ca: str | None = None
    #: cattle's API, for which the bridges of this Redis work; None if the hub did not say.
    cattle_url: str | None = None


def bundle_text(bundle: Bundle) -> str:
    """Return a bundle as one line.

    Errors: ValueError as for `read_bundle`.
    """
    _check(bundle)
    content = {
        "v": _VERSION,
        "kind": _KIND,
        "host_uuid": bundle.host_uuid,
        "redis_url": bundle.redis_url,
        "redis_ca": bundle.redis_ca,
        "host_key": bundle.host_key,
        "cattle_url": bundle.cattle_url,
    }
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def read_bundle(text: str) -> Bundle:
    """Read a bundle.

    Errors: ValueError; the message contains nothing of the bundle.
    """
    text = "".join(text.split())
    problem = "not a bundle of `cowpoke hosts add` (not shown): copy its one line whole"
    try:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(problem)
        content = json.loads(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
        if content["kind"] != _KIND:
            raise ValueError(problem)
        if content["v"] != _VERSION:
            raise ValueError("the bundle is of a later release; upgrade cowpoke on this host")
        bundle = Bundle(
            host_uuid=str(content["host_uuid"]),
            redis_url=str(content["redis_url"]),
            host_key=str(content["host_key"]),
            redis_ca=content.get("redis_ca"),
            cattle_url=content.get("cattle_url"),
        )
    except (binascii.Error, UnicodeError, json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(problem) from None
    _check(bundle)
    return bundle


def store_bundle(bundle: Bundle, folder: Path) -> list[Path]:
    """Write a bundle as settings, one file per variable (mode 0600); return the changed files.

    COWPOKE_CREDENTIALS_DIR names the folder for the programs of the host.
    Errors: OSError.
    """
    redis_url = bundle.redis_url
    files = {"HOST_KEY": bundle.host_key, "CATTLE_DOCKER_UUID": bundle.host_uuid}
    if bundle.redis_ca is not None:
        files[CA_FILE] = bundle.redis_ca
        mark = "&" if "?" in redis_url else "?"
        redis_url += f"{mark}ssl_ca_certs={quote(str((folder / CA_FILE).absolute()))}"
    files["REDIS_URL"] = redis_url
    if bundle.cattle_url is not None:
        files["CATTLE_URL"] = bundle.cattle_url
    written = []
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            replace_file(path, text, _MODE)
            written.append(path)
    return written


def _check(bundle: Bundle) -> None:
    if not is_host_uuid(bundle.host_uuid):
        raise ValueError("the bundle has no usable host uuid")
    check_redis_url(bundle.redis_url)
    Sealer(*key_list(bundle.host_key))
    if bundle.cattle_url is not None:
        api_url(bundle.cattle_url)
